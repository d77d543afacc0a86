use leptos::prelude::*;

use crate::store::Store;

/// Rows typed or pasted instead of dropped, in any of the formats that are text.
#[component]
pub fn PasteBox() -> impl IntoView {
    let store = Store::get();
    let text = RwSignal::new(String::new());
    let is_empty = move || text.with(|text| text.trim().is_empty());
    let read = move |_| {
        if !is_empty() {
            store.load_dataset_text("pasted text", text.get());
        }
    };
    view! {
        <details class="disclosure">
            <summary>"Paste rows instead"</summary>
            <div class="field">
                <label for="pasted-rows">"Rows as JSON lines"</label>
                <p class="field-note" id="pasted-rows-note">"JSON, CSV with a header line, and plain text work too."</p>
                <textarea id="pasted-rows" class="mono" rows="5" spellcheck="false" aria-describedby="pasted-rows-note"
                    placeholder=r#"{"prompt": "What is an inlay?", "completion": "A piece set flush into another."}"#
                    prop:value=move || text.get()
                    on:input=move |event| text.set(event_target_value(&event))></textarea>
            </div>
            <button type="button" class="button" aria-disabled=move || is_empty().to_string() on:click=read>
                "Read the rows"
            </button>
        </details>
    }
}
