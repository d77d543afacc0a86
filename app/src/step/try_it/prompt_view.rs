use leptos::prelude::*;
use protocol::{Failure, PromptPreview, Speaker};

use crate::shared::token_view::token;
use crate::state::State;
use crate::state::format::{count, counted};
use crate::store::Store;

/// The number of tokens shown per prompt; of a longer prompt, the last ones, which the answer follows.
const MAX_SHOWN: usize = 1500;

/// The prompts exactly as the models read them, special tokens included, on demand.
#[component]
pub fn PromptView() -> impl IntoView {
    let store = Store::get();
    let prompts = store.select(|state| state.chat.prompts.clone());
    let names = store.select(State::speakers);
    let has_turns = store.select(|state| !state.chat.turns.is_empty());
    let has_next = Memo::new(move |_| {
        has_turns.get() || store.form.with(|form| !form.prompt.trim().is_empty())
    });
    let content = move || match (has_next.get(), prompts.get()) {
        (false, _) => quiet("Write a prompt to see it as the model reads it.".to_owned()),
        (true, None) => quiet("It is shown once the model is free.".to_owned()),
        (true, Some(Err(Failure { what, .. }))) => quiet(what),
        (true, Some(Ok(prompts))) => {
            let name_of = |speaker| {
                let names = names.get();
                let found = names.into_iter().find(|(known, _)| *known == speaker);
                found.map(|(_, name)| name)
            };
            let prompts = prompts.into_iter().filter_map(|prompt| {
                let name = name_of(prompt.speaker)?;
                Some(shown(prompt, name))
            });
            view! { <div class="answers">{prompts.collect_view()}</div> }.into_any()
        }
    };
    view! {
        <details class="disclosure" on:toggle=move |_| store.shows_prompts.update(|is_open| *is_open = !*is_open)>
            <summary>"The prompt as the model reads it"</summary>
            {move || store.shows_prompts.get().then(content)}
        </details>
    }
}

fn quiet(text: String) -> AnyView {
    view! { <p class="quiet">{text}</p> }.into_any()
}

fn shown(prompt: PromptPreview, name: String) -> impl IntoView {
    let used = prompt.tokens.len() as u64;
    let mut about = vec![format!(
        "{} of {} context tokens",
        count(used),
        count(prompt.context_length as u64)
    )];
    if prompt.virtual_tokens > 0 {
        let learned = counted(prompt.virtual_tokens as u64, "learned token");
        about.push(format!("{learned} of the adapter before them"));
    }
    let left_out = prompt.tokens.len().saturating_sub(MAX_SHOWN);
    if left_out > 0 {
        about.push(format!(
            "the first {} are not shown",
            count(left_out as u64)
        ));
    }
    let label = match prompt.speaker {
        Speaker::Base => "Prompt of the base".to_owned(),
        Speaker::Adapter(_) => format!("Prompt of {name}"),
    };
    let tokens = prompt.tokens.into_iter().skip(left_out).map(token);
    view! {
        <div class="prompt-shown">
            <div class="answer-head">
                <h3>{name}</h3>
                <p class="quiet">{about.join(", ")}</p>
            </div>
            <div class="tokens" tabindex="0" role="region" aria-label=label>{tokens.collect_view()}</div>
        </div>
    }
}
