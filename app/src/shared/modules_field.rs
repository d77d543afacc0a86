use leptos::prelude::*;
use protocol::TargetModule;

use super::field::FormField;
use crate::state::form::Field;
use crate::store::Store;

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
pub fn ModulesField(field: Field) -> impl IntoView {
    let form = Store::get().form;
    let chosen = Memo::new(move |_| form.with(|form| form.target_modules()));
    view! {
        <FormField field is_name=true>
            <div class="chips" role="group" aria-label="Layers">
                {TargetModule::ALL.map(|module| chip(form, chosen, module)).collect_view()}
            </div>
            <div class="chips presets" role="group" aria-label="Layer presets">
                {PRESETS.map(|(name, modules)| preset(form, chosen, name, modules)).collect_view()}
            </div>
        </FormField>
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
