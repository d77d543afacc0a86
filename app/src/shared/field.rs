use leptos::prelude::*;

use super::control::help;
use crate::state::form::Field;
use crate::store::{Store, field_id};

/// A setting of the form, with what it does or what is wrong with it. Names are wider than numbers, and in a fixed-width font.
#[component]
pub fn FormField(
    field: Field,
    #[prop(default = false)] is_name: bool,
    /// Other ways to set it, below.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    let form = Store::get().form;
    let id = field_id(field);
    let note = format!("{id}-note");
    let error = Memo::new(move |_| form.with(|form| form.error(field)));
    view! {
        <div class="field" class:field-wide=is_name class:is-wrong=move || error.with(Option::is_some)
            title=help(field)>
            <label for=id.clone()>{field.label()}</label>
            <input
                id=id
                type="text"
                class:mono=is_name
                inputmode=if is_name { "text" } else { "decimal" }
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                aria-describedby=note.clone()
                aria-invalid=move || error.with(Option::is_some).to_string()
                prop:value=move || form.with(|form| form.text(field).to_owned())
                on:input=move |event| form.update(|form| form.set(field, event_target_value(&event)))
            />
            <p class="field-note" id=note>{move || error.get().unwrap_or_else(|| field.setting().hint.to_owned())}</p>
            {children.map(|children| children())}
        </div>
    }
}
