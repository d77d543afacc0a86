use engine::protocol::{LrSchedulerType, PrecisionChoice};
use leptos::prelude::*;

use super::field::FormField;
use super::modules_field::ModulesField;
use super::switch::Switch;
use crate::state::form::Field;
use crate::store::Store;

const SCHEDULERS: [(LrSchedulerType, &str, &str); 3] = [
    (LrSchedulerType::Cosine, "cosine", "Cosine"),
    (LrSchedulerType::Linear, "linear", "Linear"),
    (LrSchedulerType::Constant, "constant", "Constant"),
];

const PRECISIONS: [(PrecisionChoice, &str, &str); 2] = [
    (PrecisionChoice::Automatic, "automatic", "Automatic"),
    (PrecisionChoice::Single, "single", "32-bit"),
];

/// Everything that determines a run besides model and data.
#[component]
pub fn TrainSettings() -> impl IntoView {
    view! {
        <div class="settings">
            <fieldset>
                <legend>"Adapter"</legend>
                <div class="fields">
                    {[Field::Rank, Field::Alpha, Field::Dropout].map(form_field).collect_view()}
                    <ModulesField />
                </div>
            </fieldset>
            <fieldset>
                <legend>"Schedule"</legend>
                <div class="fields">
                    {[
                        Field::LearningRate,
                        Field::Epochs,
                        Field::MaxSteps,
                        Field::BatchSize,
                        Field::GradientAccumulation,
                        Field::Seed,
                    ].map(form_field).collect_view()}
                </div>
            </fieldset>
            <details class="disclosure">
                <summary>"More settings"</summary>
                <div class="fields">
                    <Scheduler />
                    {[Field::WarmUp, Field::WeightDecay, Field::Clipping, Field::EvaluateEvery]
                        .map(form_field)
                        .collect_view()}
                    <Precision />
                </div>
                <div class="switches">
                    <Switch label="Packing" hint="Short rows share a row of the sequence length, unseen by each other: faster"
                        get=|form| form.packing set=|form, on| form.packing = on />
                    <Switch label="Group by length" hint="Rows of like length share a batch, so that little is padding"
                        get=|form| form.group_by_length set=|form, on| form.group_by_length = on />
                </div>
            </details>
        </div>
    }
}

fn form_field(field: Field) -> impl IntoView {
    view! { <FormField field /> }
}

#[component]
fn Scheduler() -> impl IntoView {
    let form = Store::get().form;
    let changed = move |event| {
        let value = event_target_value(&event);
        if let Some((scheduler, ..)) = SCHEDULERS.into_iter().find(|(_, known, _)| *known == value)
        {
            form.update(|form| form.scheduler = scheduler);
        }
    };
    let options = SCHEDULERS.map(|(scheduler, value, label)| {
        view! { <option value=value selected=move || form.with(|form| form.scheduler == scheduler)>{label}</option> }
    });
    view! {
        <div class="field">
            <label for="scheduler">"Scheduler"</label>
            <select id="scheduler" aria-describedby="scheduler-note" on:change=changed>{options.collect_view()}</select>
            <p class="field-note" id="scheduler-note">"How the rate falls after the warm-up"</p>
        </div>
    }
}

#[component]
fn Precision() -> impl IntoView {
    let form = Store::get().form;
    let changed = move |event| {
        let value = event_target_value(&event);
        if let Some((precision, ..)) = PRECISIONS.into_iter().find(|(_, known, _)| *known == value)
        {
            form.update(|form| form.precision = precision);
        }
    };
    let options = PRECISIONS.map(|(precision, value, label)| {
        view! { <option value=value selected=move || form.with(|form| form.precision == precision)>{label}</option> }
    });
    view! {
        <div class="field">
            <label for="precision">"Precision"</label>
            <select id="precision" aria-describedby="precision-note" on:change=changed>{options.collect_view()}</select>
            <p class="field-note" id="precision-note">"Automatic is 16-bit where the GPU is right and faster in it"</p>
        </div>
    }
}
