use leptos::html::Textarea;
use leptos::prelude::*;
use protocol::Part;

use super::mapping_fields::{columns, part_id};
use crate::state::mapping::part_label;
use crate::store::Store;

/// A text with fields of the row in it.
#[component]
pub fn TemplateField(part: Part, is_optional: bool) -> impl IntoView {
    let store = Store::get();
    let form = store.read_form;
    let columns = columns(store);
    let (id, note) = (part_id(part), format!("{}-note", part_id(part)));
    let area = NodeRef::<Textarea>::new();
    let insert = move |path: String| {
        if let Some(area) = area.get_untracked() {
            // Where the cursor is.
            if area.set_range_text(&format!("{{{path}}}")).is_ok() {
                form.update(|form| form.set(part, area.value()));
            }
        }
    };
    let chips = move || {
        let chips = columns.get().into_iter().map(|column| {
            let path = column.path.clone();
            view! {
                <button type="button" class="chip mono" on:click=move |_| insert(path.clone())>
                    {format!("{{{}}}", column.path)}
                </button>
            }
        });
        chips.collect_view()
    };
    let hint = if is_optional {
        "Column names in braces. Left empty, the prompt template is trained as plain text."
    } else {
        "Column names in braces; write {{ and }} for literal braces."
    };
    view! {
        <div class="field field-wide">
            <label for=id.clone()>{part_label(part)}</label>
            <textarea id=id class="mono" rows="3" spellcheck="false" node_ref=area aria-describedby=note.clone()
                prop:value=move || form.with(|form| form.part(part).to_owned())
                on:input=move |event| form.update(|form| form.set(part, event_target_value(&event)))></textarea>
            <p class="field-note" id=note>{hint}</p>
            <div class="chips" role="group" aria-label=format!("Columns for the {}", part_label(part).to_lowercase())>{chips}</div>
        </div>
    }
}
