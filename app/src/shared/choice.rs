use leptos::prelude::*;

use crate::state::form::Form;
use crate::store::Store;

/// A setting with a few possible values and their labels.
#[component]
pub fn Choice<T: Copy + PartialEq + Send + Sync + 'static>(
    label: &'static str,
    options: impl Fn() -> Vec<(T, String)> + Copy + Send + Sync + 'static,
    hint: fn(&Form) -> &'static str,
    get: fn(&Form) -> T,
    set: fn(&mut Form, T),
) -> impl IntoView {
    let form = Store::get().form;
    let id = label.to_ascii_lowercase().replace(' ', "-");
    let note = format!("{id}-note");
    let changed = move |event| {
        let index = event_target_value(&event).parse::<usize>().ok();
        let chosen = index.and_then(|index| untrack(options).into_iter().nth(index));
        if let Some((value, _)) = chosen {
            form.update(|form| set(form, value));
        }
    };
    let options = move || {
        let options = options().into_iter().enumerate().map(|(index, (value, label))| {
            view! { <option value=index.to_string() prop:selected=move || form.with(|form| get(form) == value)>{label}</option> }
        });
        options.collect_view()
    };
    view! {
        <div class="field">
            <label for=id.clone()>{label}</label>
            <select id=id aria-describedby=note.clone() on:change=changed>{options}</select>
            <p class="field-note" id=note>{move || form.with(hint)}</p>
        </div>
    }
}
