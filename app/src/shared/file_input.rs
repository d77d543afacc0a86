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
    /// The accessible name of the input for a whole folder.
    folder_label: &'static str,
    hint: &'static str,
    #[prop(into)] on_files: Callback<Vec<File>>,
) -> impl IntoView {
    let note = format!("{id}-note");
    let folder_id = format!("{id}-folder");
    let [input, folder] = [(); 2].map(|()| NodeRef::<leptos::html::Input>::new());
    let changed = move |input: NodeRef<leptos::html::Input>| {
        if let Some(input) = input.get_untracked() {
            let files = files_of(input.files());
            // So that the same file can be chosen again after it was changed.
            input.set_value("");
            on_files.run(files);
        }
    };
    Effect::new(move |_| {
        if let Some(folder) = folder.get() {
            folder.set_webkitdirectory(true);
        }
    });
    view! {
        <div class="file-input">
            <input node_ref=input id=id class="sr-only" type="file" multiple=true aria-describedby=note.clone()
                on:change=move |_| changed(input) />
            <input node_ref=folder id=folder_id.clone() class="sr-only" type="file" multiple=true
                on:change=move |_| changed(folder) />
            <Icon glyph=Glyph::Upload />
            <div>
                <label for=id>{label}</label>
                <p id=note>{hint}</p>
            </div>
            <label class="file-input-folder" for=folder_id>{folder_label}</label>
        </div>
    }
}
