use leptos::prelude::*;
use web_sys::File;

use super::icon::{Glyph, Icon};
use crate::browser::files::files_of;

/// A place to choose files; the whole card opens the browser's dialog.
#[component]
pub fn FileInput(
    id: &'static str,
    /// The input's accessible name.
    label: &'static str,
    hint: &'static str,
    #[prop(into)] on_files: Callback<Vec<File>>,
) -> impl IntoView {
    let note = format!("{id}-note");
    let input = NodeRef::<leptos::html::Input>::new();
    let changed = move |_| {
        if let Some(input) = input.get_untracked() {
            let files = files_of(input.files());
            // Allows choosing the same file again after it was changed.
            input.set_value("");
            on_files.run(files);
        }
    };
    view! {
        <div class="file-input">
            <input node_ref=input id=id class="sr-only" type="file" multiple=true aria-describedby=note.clone()
                on:change=changed />
            <Icon glyph=Glyph::Upload />
            <div>
                <label for=id>{label}</label>
                <p id=note>{hint}</p>
            </div>
        </div>
    }
}
