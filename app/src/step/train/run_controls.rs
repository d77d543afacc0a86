use leptos::prelude::*;

use crate::browser::notification;
use crate::state::run::{Asked, Run};
use crate::store::{START_ID, Store};

/// Start, pause, resume and stop. Buttons keep their place and the keyboard's focus whatever the run does.
#[component]
pub fn RunControls() -> impl IntoView {
    let store = Store::get();
    let is_training = store.select(|state| state.is_training());
    let is_paused = store.select(|state| state.run.as_ref().is_some_and(Run::is_paused));
    let asked = store.select(|state| state.run.as_ref().and_then(|run| run.asked));
    let trial = store.select(|state| state.trials.present);
    let is_busy = move || is_training.get() || trial.get().is_some();
    let is_stopping = move || trial.get().is_some_and(|trial| trial.is_stopping);
    let is_waiting = store.select(|state| state.start_when_loaded);
    let can_ask = move || is_training.get() && asked.get().is_none();
    let note = move || match (is_waiting.get(), asked.get()) {
        (true, _) => "Starts as soon as the model and the data are ready.".to_owned(),
        (_, Some(Asked::Pause)) => "Pausing after the current layer.".to_owned(),
        (_, Some(Asked::Resume)) => "Resuming.".to_owned(),
        (_, Some(Asked::Stop)) => "Stopping; the best adapter is kept.".to_owned(),
        _ => store.start_problem.get().unwrap_or_default(),
    };
    let pause = move |_| {
        if can_ask() {
            store.ask_run(if is_paused.get() {
                Asked::Resume
            } else {
                Asked::Pause
            });
        }
    };
    let stop = move |_| {
        if trial.get().is_some() {
            store.stop_trial();
        } else if is_training.get() && asked.get() != Some(Asked::Stop) {
            store.ask_run(Asked::Stop);
        }
    };
    view! {
        <div class="run-controls">
            <button type="button" id=START_ID class="button button-primary button-large"
                aria-disabled=move || is_busy().to_string() aria-describedby="start-note"
                on:click=move |_| store.start_training()>
                "Start training"
            </button>
            <button type="button" class="button button-large" aria-disabled=move || (!can_ask()).to_string() on:click=pause>
                {move || if is_paused.get() { "Resume" } else { "Pause" }}
            </button>
            <button type="button" class="button button-large" aria-disabled=move || (!is_busy() || is_stopping()).to_string()
                on:click=stop>
                "Stop"
            </button>
            <button type="button" class="button button-large" aria-disabled=move || is_busy().to_string()
                aria-describedby="start-note" on:click=move |_| store.step_one_batch()>
                "Step one batch"
            </button>
            {notification::is_there().then(|| view! {
                <label class="toggle notify">
                    <input type="checkbox" prop:checked=move || store.notifies.get()
                        on:change=move |event| store.ask_to_notify(event_target_checked(&event)) />
                    <span>"Notify me when it ends"</span>
                </label>
            })}
            <p id="start-note" class="run-note" aria-live="polite">{note}</p>
        </div>
    }
}
