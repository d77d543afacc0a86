use leptos::prelude::*;

use crate::state::State;
use crate::state::mapping::SplitBy;
use crate::store::Store;

/// What plain text is split by; shown where there is any.
#[component]
pub fn TextSplitFields() -> impl IntoView {
    let store = Store::get();
    let form = store.read_form;
    let has_text = store.select(has_plain_text);
    let changed = move |event| {
        let label = event_target_value(&event);
        if let Some(by) = SplitBy::ALL.into_iter().find(|by| by.label() == label) {
            form.update(|form| form.split_by = by);
        }
    };
    let options = SplitBy::ALL.map(|by| {
        let is_chosen = move || form.with(|form| form.split_by == by);
        view! { <option value=by.label() prop:selected=is_chosen>{by.label()}</option> }
    });
    let is_by_length = move || form.with(|form| form.split_by == SplitBy::Length);
    view! {
        <div class="field" hidden=move || !has_text.get()>
            <label for="split-text-by">"Split text by"</label>
            <select id="split-text-by" aria-describedby="split-text-by-note" on:change=changed>{options.collect_view()}</select>
            <p class="field-note" id="split-text-by-note">"Automatic: by paragraph for one file, by file for several"</p>
        </div>
        <div class="field" hidden=move || !has_text.get() || !is_by_length()>
            <label for="characters">"Characters"</label>
            <input id="characters" type="text" inputmode="numeric" autocomplete="off" aria-describedby="characters-note"
                prop:value=move || form.with(|form| form.characters.clone())
                on:input=move |event| form.update(|form| form.characters = event_target_value(&event)) />
            <p class="field-note" id="characters-note">"Whole paragraphs up to this length"</p>
        </div>
    }
}

fn has_plain_text(state: &State) -> bool {
    let files = state
        .mapped_dataset()
        .map(|dataset| dataset.files.as_slice());
    let is_text = |format: &str| format.starts_with("plain text") || format.starts_with("Markdown");
    files.is_some_and(|files| files.iter().any(|file| is_text(&file.format)))
}
