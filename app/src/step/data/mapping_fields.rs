use leptos::prelude::*;
use protocol::{ColumnSummary, Part};

use super::template_field::TemplateField;
use crate::state::mapping::part_label;
use crate::store::Store;

/// The number of characters of an example next to a field's name.
const MAX_EXAMPLE: usize = 40;

/// Where a part of the example comes from: a field of the row, or a template.
#[component]
pub fn PartField(part: Part, is_optional: bool) -> impl IntoView {
    if part.is_template() {
        view! { <TemplateField part is_optional /> }.into_any()
    } else {
        view! { <ColumnField part is_optional /> }.into_any()
    }
}

/// The fields to choose from.
pub fn columns(store: Store) -> Memo<Vec<ColumnSummary>> {
    store.select(|state| {
        let dataset = state.mapped_dataset();
        dataset.map(|data| data.columns.clone()).unwrap_or_default()
    })
}

/// The `id` of a part's control.
pub fn part_id(part: Part) -> String {
    part_label(part).to_ascii_lowercase().replace(' ', "-")
}

#[component]
fn ColumnField(part: Part, is_optional: bool) -> impl IntoView {
    let store = Store::get();
    let form = store.read_form;
    let columns = columns(store);
    let chosen = Memo::new(move |_| form.with(|form| form.part(part).to_owned()));
    let (id, note) = (part_id(part), format!("{}-note", part_id(part)));
    let options = move || {
        let columns = columns.get();
        // A field that only later rows have.
        let is_known = |path: &String| columns.iter().any(|column| column.path == *path);
        let unknown = Some(chosen.get()).filter(|path| !path.is_empty() && !is_known(path));
        let known = columns.iter().map(|column| {
            let label = format!("{} ({})", column.path, column.kind);
            (column.path.clone(), label)
        });
        let all = unknown
            .into_iter()
            .map(|path| (path.clone(), path))
            .chain(known);
        all.map(|(path, label)| {
            let value = path.clone();
            view! { <option value=value prop:selected=move || chosen.get() == path>{label}</option> }
        })
        .collect_view()
    };
    let example = move || {
        let path = chosen.get();
        let example = columns.with(|columns| {
            let column = columns.iter().find(|column| column.path == path)?;
            Some(shortened(&column.example))
        });
        example.unwrap_or_default()
    };
    let none = if is_optional {
        "None"
    } else {
        "Choose a column"
    };
    view! {
        <div class="field">
            <label for=id.clone()>{part_label(part)}</label>
            <select id=id aria-describedby=note.clone()
                on:change=move |event| form.update(|form| form.set(part, event_target_value(&event)))>
                <option value="" prop:selected=move || chosen.with(String::is_empty)>{none}</option>
                {options}
            </select>
            <p class="field-note" id=note>{example}</p>
        </div>
    }
}

fn shortened(text: &str) -> String {
    let short: String = text.chars().take(MAX_EXAMPLE).collect();
    let ending = if short.len() < text.len() {
        "\u{2026}"
    } else {
        ""
    };
    if short.is_empty() {
        String::new()
    } else {
        format!(
            "For example \u{201c}{}{ending}\u{201d}",
            short.replace('\n', " ")
        )
    }
}
