use engine::protocol::TrainOn;
use leptos::prelude::*;

use crate::store::Store;

const CHOICES: [(TrainOn, &str, &str); 3] = [
    (TrainOn::AssistantTurns, "assistant_turns", "All answers"),
    (TrainOn::LastTurn, "last_turn", "The last answer"),
    (TrainOn::Everything, "everything", "Everything"),
];

/// What of a row is learnt.
#[component]
pub fn TrainOnField() -> impl IntoView {
    let form = Store::get().form;
    let changed = move |event| {
        let value = event_target_value(&event);
        if let Some((chosen, ..)) = CHOICES.into_iter().find(|(_, known, _)| *known == value) {
            form.update(|form| form.train_on = chosen);
        }
    };
    let options = CHOICES.map(|(choice, value, label)| {
        let is_chosen = move || form.with(|form| form.train_on == choice);
        view! { <option value=value selected=is_chosen>{label}</option> }
    });
    view! {
        <div class="field">
            <label for="train-on">"Train on"</label>
            <select id="train-on" aria-describedby="train-on-note" on:change=changed>{options.collect_view()}</select>
            <p class="field-note" id="train-on-note">"What the model learns to say; plain text is always learnt whole"</p>
        </div>
    }
}
