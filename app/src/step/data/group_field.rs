use leptos::prelude::*;

use crate::store::Store;

/// Which rows stay on one side of every split.
#[component]
pub fn GroupField() -> impl IntoView {
    let store = Store::get();
    let form = store.read_form;
    let columns = store.select(|state| {
        let dataset = state.mapped_dataset();
        dataset.map(|data| data.columns.clone()).unwrap_or_default()
    });
    let options = move || {
        let options = columns.get().into_iter().map(|column| {
            let (path, value) = (column.path.clone(), column.path.clone());
            let is_chosen = move || form.with(|form| form.group_by == path);
            view! { <option value=value prop:selected=is_chosen>{column.path}</option> }
        });
        options.collect_view()
    };
    let changed = move |event| form.update(|form| form.group_by = event_target_value(&event));
    view! {
        <div class="field">
            <label for="keep-together">"Keep together"</label>
            <select id="keep-together" aria-describedby="keep-together-note" on:change=changed>
                <option value="" prop:selected=move || form.with(|form| form.group_by.is_empty())>"Treat every row separately"</option>
                {options}
            </select>
            <p class="field-note" id="keep-together-note">"Rows with the same value stay on the same side of the split"</p>
        </div>
    }
}
