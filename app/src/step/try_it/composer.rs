use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use protocol::Group;

use crate::shared::control::Controls;
use crate::state::State;
use crate::store::Store;

/// The place where the next turn is written and sent.
#[component]
pub fn Composer() -> impl IntoView {
    let store = Store::get();
    let form = store.form;
    let is_active = store.select(|state| state.chat.is_active());
    let num_turns = store.select(|state| state.chat.turns.len());
    let obstacle = store.select(obstacle);
    let is_blank = Memo::new(move |_| form.with(|form| form.prompt.trim().is_empty()));
    let has_turns = move || num_turns.get() > 0;
    let is_idle = move || !is_active.get() && obstacle.with(Option::is_none);
    let can_ask = move || is_idle() && (!is_blank.get() || has_turns());
    let can_take_back = move || is_idle() && has_turns();
    let ask = move || {
        if untrack(can_ask) {
            store.generate();
        }
    };
    let take_back = move |act: fn(Store)| {
        if untrack(can_take_back) {
            act(store);
        }
    };
    let note = move || {
        obstacle
            .get()
            .or_else(|| match (is_blank.get(), has_turns()) {
                (true, false) => Some("Write a prompt first."),
                (true, true) => Some("Write the next turn, or generate the last answers again."),
                (false, _) => None,
            })
    };
    let typed = move |event: KeyboardEvent| {
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            ask();
        }
    };
    view! {
        <div class="field field-wide">
            <label for="prompt">"Prompt"</label>
            <textarea id="prompt" rows="3" aria-describedby="generate-note"
                prop:value=move || form.with(|form| form.prompt.clone())
                on:input=move |event| form.update(|form| form.prompt = event_target_value(&event))
                on:keydown=typed></textarea>
        </div>
        <div class="fields">
            <Controls group=Group::Answer />
        </div>
        <div class="run-controls">
            <button type="button" class="button button-primary button-large"
                aria-disabled=move || (!can_ask()).to_string() aria-describedby="generate-note" on:click=move |_| ask()>
                "Generate"
            </button>
            <button type="button" class="button button-large" hidden=move || !is_active.get()
                on:click=move |_| store.stop_generation()>
                "Stop generating"
            </button>
            <button type="button" class="button button-large" hidden=move || !has_turns()
                aria-disabled=move || (!can_take_back()).to_string() on:click=move |_| take_back(Store::regenerate)>
                "Regenerate"
            </button>
            <button type="button" class="button button-large" hidden=move || !has_turns()
                aria-disabled=move || (!can_take_back()).to_string() on:click=move |_| take_back(Store::edit_last)>
                "Edit last prompt"
            </button>
            <button type="button" class="button button-large" hidden=move || !has_turns()
                aria-disabled=move || (!can_take_back()).to_string() on:click=move |_| take_back(Store::new_chat)>
                "New chat"
            </button>
            <p id="generate-note" class="run-note">{note}</p>
        </div>
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
