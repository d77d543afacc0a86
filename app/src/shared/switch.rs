use leptos::prelude::*;

use crate::state::form::Form;
use crate::store::Store;

/// A setting that is on or off.
#[component]
pub fn Switch(
    label: &'static str,
    hint: &'static str,
    get: fn(&Form) -> bool,
    set: fn(&mut Form, bool),
) -> impl IntoView {
    let form = Store::get().form;
    let id = label.to_ascii_lowercase().replace(' ', "-");
    let note = format!("{id}-note");
    view! {
        <div class="switch">
            <input type="checkbox" id=id.clone() aria-describedby=note.clone()
                prop:checked=move || form.with(get)
                on:change=move |event| form.update(|form| set(form, event_target_checked(&event))) />
            <label for=id>{label}</label>
            <p class="field-note" id=note>{hint}</p>
        </div>
    }
}
