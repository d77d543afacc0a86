use leptos::prelude::*;
use protocol::{AdapterId, Speaker};

use super::answer::AnswerCard;
use crate::state::State;
use crate::store::Store;

/// The last prompt and the answers of all models, side by side.
#[component]
pub fn Answers() -> impl IntoView {
    let store = Store::get();
    let prompt = store.select(|state| state.chat.turns.last().map(|turn| turn.prompt.clone()));
    let tuned = store.select(|state| state.adapters.active.map(Speaker::Adapter));
    let tuned_title = store.select(|state| {
        let active = state.active_adapter();
        active.map_or_else(
            || "Tuned".to_owned(),
            |adapter| format!("Tuned: {}", adapter.name),
        )
    });
    let compared = store.select(State::compared_adapters);
    let other = move |id: AdapterId| {
        let name = store.state.with_untracked(|state| name_of(state, id));
        let label = format!("Output of {name}");
        view! { <AnswerCard label title=name speaker=Some(Speaker::Adapter(id)) /> }
    };
    view! {
        {move || prompt.get().map(|prompt| view! { <p class="said">{prompt}</p> })}
        <div class="answers">
            <AnswerCard label="Base output" title="Base".to_owned() speaker=Some(Speaker::Base) />
            <AnswerCard label="Tuned output" title=tuned_title speaker=tuned />
            <For each=move || compared.get() key=|id| *id children=other />
        </div>
    }
}

fn name_of(state: &State, id: AdapterId) -> String {
    let mut adapters = state.adapters.adapters.iter();
    let adapter = adapters.find(|adapter| adapter.id == id);
    adapter
        .map(|adapter| adapter.name.clone())
        .unwrap_or_default()
}
