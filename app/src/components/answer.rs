use engine::protocol::{GenerationSummary, StopReason, Variant};
use leptos::prelude::*;

use crate::state::format::{counted, rate};
use crate::store::Store;

/// What one of the two models says. The output holds its text alone.
#[component]
pub fn AnswerCard(variant: Variant) -> impl IntoView {
    let store = Store::get();
    let answer = store.select(move |state| {
        state
            .generation
            .as_ref()
            .and_then(|all| all.answer(variant))
            .cloned()
    });
    let is_speaking = store.select(move |state| {
        state.generation.as_ref().and_then(|all| all.speaking()) == Some(variant)
    });
    let has_adapter = store.select(|state| state.active_adapter().is_some());
    let (title, label, class) = match variant {
        Variant::Base => ("Base", "Base output", "answer of-base"),
        Variant::Tuned => ("Tuned", "Tuned output", "answer of-tuned"),
    };
    let note = move || match answer
        .with(|answer| answer.as_ref().and_then(|answer| answer.summary.clone()))
    {
        Some(summary) => in_words(&summary),
        None if is_speaking.get() => "answering".to_owned(),
        None if variant == Variant::Tuned && !has_adapter.get() => {
            "your fine-tuned model answers here after a run".to_owned()
        }
        None => String::new(),
    };
    let output_id = format!("{}-output", title.to_ascii_lowercase());
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
        </div>
    }
}

fn in_words(summary: &GenerationSummary) -> String {
    let tokens = counted(summary.new_tokens as u64, "token");
    let speed = summary.new_tokens as f64 * 1000.0 / summary.elapsed_millis.max(1.0);
    let end = match summary.stop_reason {
        StopReason::EndOfTurn => "finished",
        StopReason::Length => "hit the length limit",
        StopReason::Stopped => "stopped",
    };
    format!("{tokens}, {} per second, {end}", rate(speed))
}
