use leptos::prelude::*;

use crate::state::chat::{Answer, Turn};
use crate::store::Store;

/// The turns before the last one.
#[component]
pub fn ChatLog() -> impl IntoView {
    let store = Store::get();
    let earlier = store.select(|state| {
        let turns = state.chat.turns.split_last();
        turns
            .map(|(_, earlier)| earlier.to_vec())
            .unwrap_or_default()
    });
    view! {
        <Show when=move || earlier.with(|turns| !turns.is_empty())>
            <ol class="chat-log" aria-label="Earlier turns">
                <For each=move || earlier.get() key=|turn| turn.id children=turn />
            </ol>
        </Show>
    }
}

fn turn(turn: Turn) -> impl IntoView {
    let answers = turn.answers.into_iter().map(answer).collect_view();
    view! {
        <li>
            <p class="said">{turn.prompt}</p>
            <dl class="answers">{answers}</dl>
        </li>
    }
}

fn answer(answer: Answer) -> impl IntoView {
    view! {
        <div class="earlier-answer">
            <dt class="quiet">{answer.name}</dt>
            <dd class="answer-text">{answer.text}</dd>
        </div>
    }
}
