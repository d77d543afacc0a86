use leptos::html::Details;
use leptos::prelude::*;
use protocol::{DatasetSummary, Mapping};

use super::data_facts::shape_name;
use super::group_field::GroupField;
use super::mapping_fields::PartField;
use super::read_again::ReadAgain;
use super::text_split::TextSplitFields;
use crate::state::mapping::{Shape, in_words};
use crate::store::Store;

/// How rows are read: what was recognized, and a way to correct it by hand.
#[component]
pub fn MappingPanel() -> impl IntoView {
    let store = Store::get();
    let form = store.read_form;
    let has_data = store.select(|state| state.mapped_dataset().is_some());
    let is_unusable = store.select(|state| state.readings.unusable.is_some());
    let recognized = store.select(|state| state.mapped_dataset().map(recognized));
    let panel = NodeRef::<Details>::new();
    // It opens where it is needed; only the user closes it.
    Effect::new(move |_| {
        if is_unusable.get()
            && let Some(panel) = panel.get()
        {
            panel.set_open(true);
        }
    });
    let shape = Memo::new(move |_| form.with(|form| form.shape));
    let parts = move || {
        let parts = shape.get().parts().iter();
        parts
            .map(|&(part, is_optional)| view! { <PartField part is_optional /> })
            .collect_view()
    };
    view! {
        <details class="disclosure mapping" hidden=move || !has_data.get() node_ref=panel>
            <summary>"Columns and format"</summary>
            <p class="mapping-recognized">{move || recognized.get()}</p>
            <div class="fields">
                <ShapeField />
                {parts}
                <TextSplitFields />
                <GroupField />
            </div>
            <ReadAgain />
        </details>
    }
}

/// What was recognized, as a sentence.
fn recognized(dataset: &DatasetSummary) -> String {
    let files: Vec<String> = dataset
        .files
        .iter()
        .take(3)
        .map(|file| match file.encoding.as_str() {
            "" | "UTF-8" => format!("{} ({})", file.name, file.format),
            encoding => format!("{} ({}, {encoding})", file.name, file.format),
        })
        .collect();
    let more = dataset.files.len().saturating_sub(3);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let read = match &dataset.mapping {
        Some(mapping) => {
            let shape = mapping.shape().map(shape_name).unwrap_or("several formats");
            let parts = in_words(mapping);
            if parts == shape.replace(" and ", ", ") || parts.is_empty() {
                format!("Rows are read as {shape}.")
            } else {
                format!("Rows are read as {shape}: {parts}.")
            }
        }
        None if dataset.spec.mapping == Mapping::Automatic => {
            "No row could be read yet: choose the columns here.".to_owned()
        }
        None => "No row could be read this way.".to_owned(),
    };
    let kept = match &dataset.mapping {
        Some(Mapping::Preference { .. }) => {
            " Training uses the chosen answers and ignores the rejected ones."
        }
        _ => "",
    };
    match files.is_empty() {
        true => format!("{read}{kept}"),
        false => format!("{read}{kept} From {}{more}.", files.join(", ")),
    }
}

#[component]
fn ShapeField() -> impl IntoView {
    let form = Store::get().read_form;
    let changed = move |event| {
        let label = event_target_value(&event);
        if let Some(shape) = Shape::ALL.into_iter().find(|shape| shape.label() == label) {
            form.update(|form| form.shape = shape);
        }
    };
    let options = Shape::ALL.map(|shape| {
        let is_chosen = move || form.with(|form| form.shape == shape);
        view! { <option value=shape.label() prop:selected=is_chosen>{shape.label()}</option> }
    });
    view! {
        <div class="field">
            <label for="row-format">"Row format"</label>
            <select id="row-format" aria-describedby="row-format-note" on:change=changed>{options.collect_view()}</select>
            <p class="field-note" id="row-format-note">{move || form.with(|form| form.shape.hint())}</p>
        </div>
    }
}
