use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::browser::page;

/// Code to copy.
#[component]
pub fn Snippet(title: &'static str, #[prop(into)] code: Signal<String>) -> impl IntoView {
    let note = RwSignal::new("");
    let copy = move |_| {
        spawn_local(async move {
            let is_copied = page::copy(code.get_untracked()).await;
            note.set(if is_copied {
                "Copied"
            } else {
                "Select the text and copy it yourself"
            });
        });
    };
    view! {
        <div class="snippet">
            <div class="snippet-head">
                <h3>{title}</h3>
                <span class="quiet" aria-live="polite">{move || note.get()}</span>
                <button type="button" class="button button-small" on:click=copy>"Copy the code"</button>
            </div>
            <pre tabindex="0" role="region" aria-label=title><code>{move || code.get()}</code></pre>
        </div>
    }
}
