use leptos::prelude::*;
use protocol::{LrSchedulerType, Method, PrecisionChoice};

use super::modules_field::ModulesField;
use super::start_from::StartFrom;
use crate::shared::choice::Choice;
use crate::shared::field::FormField;
use crate::shared::switch::Switch;
use crate::state::form::{Field, Form};
use crate::store::Store;

/// All settings of a run, besides the model and the data.
#[component]
pub fn TrainSettings() -> impl IntoView {
    let form = Store::get().form;
    let is_new = move || form.with(|form| form.initial_adapter.is_none());
    let can_save = move || form.with(Form::goes_with_saved_modules);
    let can_pack = move || form.with(Form::goes_with_packing);
    view! {
        <div class="settings">
            <fieldset>
                <legend>"Adapter"</legend>
                <div class="fields">
                    <StartFrom />
                    <Show when=is_new>
                        <Choice label="Method" options=methods hint=|form| form.method.facts().advice
                            get=|form| form.method set=Form::choose />
                    </Show>
                    {[Field::Rank, Field::Alpha, Field::LrRatio, Field::VirtualTokens, Field::Dropout].map(method_field).collect_view()}
                    <Show when=has(Field::TargetModules)><ModulesField /></Show>
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
                    <Choice label="Scheduler" options=schedulers hint=|_| "How the learning rate falls after warm-up"
                        get=|form| form.scheduler set=|form, scheduler| form.scheduler = scheduler />
                    {[Field::WarmUp, Field::WeightDecay, Field::Clipping, Field::EvaluateEvery]
                        .map(form_field)
                        .collect_view()}
                    <Choice label="Precision" options=precisions
                        hint=|_| "Automatic uses 16-bit where the GPU is accurate and faster"
                        get=|form| form.precision set=|form, precision| form.precision = precision />
                    {[Field::Layers, Field::RankPattern, Field::AlphaPattern].map(method_field).collect_view()}
                </div>
                <div class="switches">
                    <Show when=can_save>
                        <Switch label="Train norms" hint="Also trains the norms' weights: a few thousand more parameters"
                            get=|form| form.train_norms set=|form, on| form.train_norms = on />
                        <Switch label="Train head" hint="Also trains the whole output layer: for new words or another language; takes much more memory"
                            get=|form| form.train_head set=|form, on| form.train_head = on />
                    </Show>
                    <Show when=can_pack>
                        <Switch label="Packing" hint="Combines short rows into one sequence; they can't see each other. Faster"
                            get=|form| form.packing set=|form, on| form.packing = on />
                    </Show>
                    <Switch label="Group by length" hint="Batches rows of similar length, to waste less padding"
                        get=|form| form.group_by_length set=|form, on| form.group_by_length = on />
                </div>
            </details>
        </div>
    }
}

fn methods() -> Vec<(Method, String)> {
    Method::ALL
        .map(|method| (method, method.facts().name.to_owned()))
        .into()
}

fn schedulers() -> Vec<(LrSchedulerType, String)> {
    vec![
        (LrSchedulerType::Cosine, "Cosine".to_owned()),
        (LrSchedulerType::Linear, "Linear".to_owned()),
        (LrSchedulerType::Constant, "Constant".to_owned()),
    ]
}

fn precisions() -> Vec<(PrecisionChoice, String)> {
    vec![
        (PrecisionChoice::Automatic, "Automatic".to_owned()),
        (PrecisionChoice::Single, "32-bit".to_owned()),
    ]
}

/// Whether the chosen method has a use for the field.
fn has(field: Field) -> impl Fn() -> bool + Copy + Send + Sync {
    let form = Store::get().form;
    let has = Memo::new(move |_| form.with(|form| form.has(field)));
    move || has.get()
}

fn method_field(field: Field) -> impl IntoView {
    view! { <Show when=has(field)><FormField field /></Show> }
}

fn form_field(field: Field) -> impl IntoView {
    view! { <FormField field /> }
}
