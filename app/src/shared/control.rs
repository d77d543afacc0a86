//! Draws settings as the table describes them.

use leptos::prelude::*;
use protocol::{Access, Choice, Group};

use super::field::FormField;
use super::modules_field::ModulesField;
use crate::state::form::Field;
use crate::store::Store;

/// The settings of a part of the page that are typed or chosen, as far as the method has a use for them.
#[component]
pub fn Controls(group: Group) -> impl IntoView {
    Field::of(group).map(control).collect_view()
}

/// Those that are on or off.
#[component]
pub fn Switches(group: Group) -> impl IntoView {
    let switches = Field::of(group).filter(|field| is_switch(*field));
    view! { <div class="switches">{switches.map(switch).collect_view()}</div> }
}

fn is_switch(field: Field) -> bool {
    matches!(field.setting().access, Access::Switch(_))
}

fn control(field: Field) -> AnyView {
    let draw = move || match &field.setting().access {
        Access::Modules(_) => view! { <ModulesField field /> }.into_any(),
        Access::Choice(choice) => select(field, *choice),
        _ => view! { <FormField field /> }.into_any(),
    };
    if is_switch(field) {
        return ().into_any();
    }
    while_used(field, draw)
}

/// Draws the field while it means anything.
fn while_used(field: Field, draw: impl Fn() -> AnyView + Copy + Send + Sync + 'static) -> AnyView {
    let form = Store::get().form;
    let has = Memo::new(move |_| form.with(|form| form.has(field)));
    view! { <Show when=move || has.get()>{draw()}</Show> }.into_any()
}

/// What a field may be, what it is at first, and its name in recipes.
pub fn help(field: Field) -> String {
    let setting = field.setting();
    let (allowed, first) = (setting.allowed(), setting.first());
    let help = format!("May be {allowed}. At first: {first}.");
    match setting.group.is_of_run() {
        true => format!("{help} In recipes: {}.", setting.name),
        false => help,
    }
}

fn id(field: Field) -> String {
    field.label().to_ascii_lowercase().replace(' ', "-")
}

fn select(field: Field, choice: &'static dyn Choice) -> AnyView {
    let form = Store::get().form;
    let id = id(field);
    let note = format!("{id}-note");
    let chosen = Memo::new(move |_| form.with(|form| form.chosen(field)));
    let options = (0..choice.count()).map(move |index| {
        view! { <option value=index.to_string() prop:selected=move || chosen.get() == index>{choice.label(index)}</option> }
    });
    let hint = move || choice.advice(chosen.get()).unwrap_or(field.setting().hint);
    let changed = move |event| {
        if let Ok(index) = event_target_value(&event).parse() {
            form.update(|form| form.choose(field, index));
        }
    };
    view! {
        <div class="field" title=help(field)>
            <label for=id.clone()>{field.label()}</label>
            <select id=id aria-describedby=note.clone() on:change=changed>{options.collect_view()}</select>
            <p class="field-note" id=note>{hint}</p>
        </div>
    }
    .into_any()
}

fn switch(field: Field) -> AnyView {
    let draw = move || {
        let form = Store::get().form;
        let id = id(field);
        let note = format!("{id}-note");
        view! {
            <div class="switch" title=help(field)>
                <input type="checkbox" id=id.clone() aria-describedby=note.clone()
                    prop:checked=move || form.with(|form| form.is_on(field))
                    on:change=move |event| form.update(|form| form.switch(field, event_target_checked(&event))) />
                <label for=id>{field.label()}</label>
                <p class="field-note" id=note>{field.setting().hint}</p>
            </div>
        }
        .into_any()
    };
    while_used(field, draw)
}
