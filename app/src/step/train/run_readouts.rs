use leptos::prelude::*;

use super::readout::Readout;
use crate::shared::progress::Progress;
use crate::state::format::{NONE, bytes, duration, loss, rate, small};
use crate::state::run::Run;
use crate::state::{State, slot};
use crate::store::Store;

/// The run in numbers, as of its last step.
#[component]
pub fn RunReadouts() -> impl IntoView {
    let store = Store::get();
    let number = move |part: fn(&Run) -> Option<f64>, text: fn(f64) -> String| {
        store.select(move |state| {
            state
                .run
                .as_ref()
                .and_then(part)
                .map_or(NONE.to_owned(), text)
        })
    };
    let kept = store.select(|state| {
        let summary = state.run.as_ref().and_then(|run| run.summary.as_ref());
        let best = summary
            .filter(|summary| summary.has_adapter)
            .map(|summary| summary.best_step);
        best.map(|step| format!("best checkpoint: step {step}"))
            .unwrap_or_default()
    });
    let on_average = store.select(|state| {
        let is_over = state.run.as_ref().is_some_and(|run| !run.is_active());
        if is_over { "on average" } else { "" }.to_owned()
    });
    let ratio = store.select(progress_ratio);
    let is_active = store.select(State::is_training);
    view! {
        <div class="readouts">
            <Readout label="Training loss" class="of-training" value=number(Run::training_loss, loss) />
            <Readout label="Validation loss" class="of-validation" value=number(Run::validation_loss, loss) unit=kept />
            <Readout label="Base validation loss" class="of-base" value=number(Run::base_validation_loss, loss) />
            <Readout label="Tokens per second" value=number(Run::tokens_per_sec, rate) unit=on_average />
        </div>
        <div class="readouts readouts-small">
            <Readout label="Time left" value=number(Run::remaining_secs, duration) />
            <Readout label="Gradient norm" value=number(|run| run.steps.latest().map(|step| step.grad_norm), rate) />
            <Readout label="Learning rate now" value=number(Run::present_rate, small) />
            <Readout label="Memory in use" value=number(memory, |value| bytes(value as u64)) />
        </div>
        <div class="run-progress" class:is-idle=move || !is_active.get()>
            <Progress label="Progress of the run" ratio />
        </div>
    }
}

fn memory(run: &Run) -> Option<f64> {
    run.steps
        .latest()?
        .device_memory_bytes
        .map(|bytes| bytes as f64)
}

/// The run's share done; of an evaluation before the first step, that one's.
fn progress_ratio(state: &State) -> Option<f64> {
    let run = state.run.as_ref()?;
    match (run.ratio(), run.evaluating) {
        (None, Some((done, total))) => slot::ratio(done, total),
        (ratio, _) if run.is_active() => ratio,
        (ratio, _) => ratio.or(Some(0.0)),
    }
}
