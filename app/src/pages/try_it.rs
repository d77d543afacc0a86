use engine::protocol::Variant;
use leptos::ev::KeyboardEvent;
use leptos::prelude::*;

use crate::components::adapters::Adapters;
use crate::components::answer::AnswerCard;
use crate::components::field::FormField;
use crate::components::scores::Scores;
use crate::components::step_section::StepSection;
use crate::state::form::Field;
use crate::state::{State, Step};
use crate::store::Store;

/// Step 4: the same question to the base and to the tuned model.
#[component]
pub fn TryPage() -> impl IntoView {
    let store = Store::get();
    let form = store.form;
    let is_active = store.select(|state| {
        state
            .generation
            .as_ref()
            .is_some_and(|generation| generation.is_active())
    });
    let obstacle = store.select(obstacle);
    let is_blank = Memo::new(move |_| form.with(|form| form.prompt.trim().is_empty()));
    let can_ask = move || !is_active.get() && !is_blank.get() && obstacle.with(Option::is_none);
    let ask = move || {
        if can_ask() {
            store.generate();
        }
    };
    let note = move || {
        obstacle
            .get()
            .or_else(|| is_blank.get().then_some("Write a prompt first."))
    };
    let typed = move |event: KeyboardEvent| {
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            ask();
        }
    };
    view! {
        <StepSection step=Step::Try lead="One prompt, two answers: before and after training.">
            <Adapters />
            <div class="field field-wide">
                <label for="prompt">"Prompt"</label>
                <textarea id="prompt" rows="3" aria-describedby="generate-note"
                    prop:value=move || form.with(|form| form.prompt.clone())
                    on:input=move |event| form.update(|form| form.prompt = event_target_value(&event))
                    on:keydown=typed></textarea>
            </div>
            <div class="fields">
                <FormField field=Field::MaxNewTokens />
            </div>
            <details class="disclosure">
                <summary>"Sampling settings"</summary>
                <div class="fields">
                    {[Field::Temperature, Field::TopK, Field::TopP, Field::RepetitionPenalty, Field::Variation]
                        .map(|field| view! { <FormField field /> })
                        .collect_view()}
                </div>
            </details>
            <div class="run-controls">
                <button type="button" class="button button-primary button-large"
                    aria-disabled=move || (!can_ask()).to_string() aria-describedby="generate-note" on:click=move |_| ask()>
                    "Generate"
                </button>
                <button type="button" class="button button-large" hidden=move || !is_active.get()
                    on:click=move |_| store.stop_generation()>
                    "Stop generating"
                </button>
                <p id="generate-note" class="run-note">{note}</p>
            </div>
            <div class="answers">
                <AnswerCard variant=Variant::Base />
                <AnswerCard variant=Variant::Tuned />
            </div>
            <Scores />
        </StepSection>
    }
}

/// Why nothing can be asked now.
fn obstacle(state: &State) -> Option<&'static str> {
    if state.model.loaded.is_none() {
        Some("Load a model first, in step 1.")
    } else if state.is_busy() {
        Some("The model is busy; ask again when it is done.")
    } else {
        None
    }
}
