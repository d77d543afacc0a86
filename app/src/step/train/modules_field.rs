use engine::protocol::TargetModule;
use leptos::prelude::*;

use crate::state::form::Field;
use crate::store::{Store, field_id};

/// Common choices of modules.
const PRESETS: [(&str, &[TargetModule]); 3] = [
    ("Light", &[TargetModule::QProj, TargetModule::VProj]),
    (
        "Attention",
        &[
            TargetModule::QProj,
            TargetModule::KProj,
            TargetModule::VProj,
            TargetModule::OProj,
        ],
    ),
    ("All linear", &TargetModule::ALL),
];

/// The layers to train: as text, as seven switches and as presets, all kept in sync.
#[component]
pub fn ModulesField() -> impl IntoView {
    let form = Store::get().form;
    let field = Field::TargetModules;
    let id = field_id(field);
    let note = format!("{id}-note");
    let error = Memo::new(move |_| form.with(|form| form.error(field)));
    let chosen = Memo::new(move |_| form.with(|form| form.target_modules()));
    view! {
        <div class="field field-wide" class:is-wrong=move || error.with(Option::is_some)>
            <label for=id.clone()>{field.label()}</label>
            <input
                id=id
                type="text"
                class="mono"
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                aria-describedby=note.clone()
                aria-invalid=move || error.with(Option::is_some).to_string()
                prop:value=move || form.with(|form| form.text(field).to_owned())
                on:input=move |event| form.update(|form| form.set(field, event_target_value(&event)))
            />
            <p class="field-note" id=note>{move || error.get().unwrap_or_else(|| field.hint().to_owned())}</p>
            <div class="chips" role="group" aria-label="Layers">
                {TargetModule::ALL.map(|module| chip(form, chosen, module)).collect_view()}
            </div>
            <div class="chips presets" role="group" aria-label="Layer presets">
                {PRESETS.map(|(name, modules)| preset(form, chosen, name, modules)).collect_view()}
            </div>
        </div>
    }
}

type FormSignal = RwSignal<crate::state::form::Form>;

fn chip(form: FormSignal, chosen: Memo<Vec<TargetModule>>, module: TargetModule) -> impl IntoView {
    let is_on = move || chosen.with(|chosen| chosen.contains(&module));
    view! {
        <button type="button" class="chip mono" aria-pressed=move || is_on().to_string()
            on:click=move |_| form.update(|form| form.toggle_module(module))>
            {module.name()}
        </button>
    }
}

fn preset(
    form: FormSignal,
    chosen: Memo<Vec<TargetModule>>,
    name: &'static str,
    modules: &'static [TargetModule],
) -> impl IntoView {
    let is_on = move || chosen.with(|chosen| chosen == modules);
    view! {
        <button type="button" class="chip" aria-pressed=move || is_on().to_string()
            on:click=move |_| form.update(|form| form.set_modules(modules))>
            {name}
        </button>
    }
}
