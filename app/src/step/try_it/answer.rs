use leptos::prelude::*;
use protocol::{GenerationSummary, Speaker, StopReason};

use crate::state::State;
use crate::state::format::{count, counted, rate};
use crate::store::Store;

/// What one model answers to the last prompt. The output contains only its text.
#[component]
pub fn AnswerCard(
    /// The output's accessible name.
    #[prop(into)]
    label: String,
    #[prop(into)] title: Signal<String>,
    /// The model is missing as long as nothing was trained.
    #[prop(into)]
    speaker: Signal<Option<Speaker>>,
) -> impl IntoView {
    let store = Store::get();
    let answer = Memo::new(move |_| {
        let speaker = speaker.get()?;
        store.state.with(|state| {
            let turn = state.chat.turns.last()?;
            turn.answer(speaker).cloned()
        })
    });
    let is_speaking = Memo::new(move |_| {
        let turn = |state: &State| state.chat.turns.last().and_then(|turn| turn.speaking());
        let speaking = store.state.with(turn);
        speaking.is_some() && speaking == speaker.get()
    });
    let missed = Memo::new(move |_| {
        let speaker = speaker.get()?;
        store.state.with(|state| missed_turns(state, speaker))
    });
    let note = move || match answer
        .with(|answer| answer.as_ref().and_then(|answer| answer.summary.clone()))
    {
        Some(summary) => in_words(&summary),
        None if is_speaking.get() => "answering".to_owned(),
        None if speaker.get().is_none() => {
            "your fine-tuned model answers here after a run".to_owned()
        }
        None => String::new(),
    };
    let class = move || match speaker.get() {
        Some(Speaker::Base) => "answer of-base",
        _ => "answer of-tuned",
    };
    let output_id = label.to_ascii_lowercase().replace([' ', ':'], "-");
    view! {
        <div class=class>
            <div class="answer-head">
                <h3>{title}</h3>
                <p class="quiet">{note}</p>
            </div>
            <output id=output_id class="answer-text" for="prompt" aria-label=label
                aria-live="polite" aria-busy=move || is_speaking.get().to_string()>
                {move || answer.with(|answer| answer.as_ref().map(|answer| answer.text.clone()))}
            </output>
            {move || missed.get().map(|text| view! { <p class="quiet answer-missed">{text}</p> })}
        </div>
    }
}

/// A note about earlier turns that the model did not answer, and so does not know.
fn missed_turns(state: &State, speaker: Speaker) -> Option<String> {
    let (last, earlier) = state.chat.turns.split_last()?;
    last.answer(speaker)?;
    let has_missed = |turn: &&crate::state::chat::Turn| {
        let answer = turn.answer(speaker);
        answer.is_none_or(|answer| answer.text.is_empty())
    };
    let missed = earlier.iter().filter(has_missed).count() as u64;
    (missed > 0).then(|| {
        format!(
            "It joined later and has not seen {}.",
            counted(missed, "turn")
        )
    })
}

fn in_words(summary: &GenerationSummary) -> String {
    let tokens = counted(summary.new_tokens as u64, "token");
    let speed = summary.new_tokens as f64 * 1000.0 / summary.elapsed_millis.max(1.0);
    let end = match summary.stop_reason {
        StopReason::EndOfTurn => "finished",
        StopReason::Length => "hit the length limit",
        StopReason::ContextFull => "the context is full",
        StopReason::Stopped => "stopped",
    };
    let used = summary.prompt_tokens + summary.new_tokens;
    format!(
        "{tokens}, {} per second, {end} \u{b7} {} of {} context tokens used",
        rate(speed),
        count(used as u64),
        count(summary.context_length as u64),
    )
}
