use leptos::prelude::*;

use super::icon::{Glyph, Icon};
use crate::state::Step;
use crate::state::failure::Notice;
use crate::store::Store;

/// What went wrong in a step, where, and what to do about it.
#[component]
pub fn Notices(step: Step) -> impl IntoView {
    let store = Store::get();
    let notices = store.select(move |state| {
        state
            .notices
            .iter()
            .filter(|notice| notice.step == step)
            .cloned()
            .collect::<Vec<_>>()
    });
    view! {
        <div class="notices" role="alert">
            {move || notices.get().into_iter().map(|notice| card(store, notice)).collect_view()}
        </div>
    }
}

fn card(store: Store, Notice { step, failure }: Notice) -> impl IntoView {
    let label = format!("Dismiss the message in {}", step.title());
    view! {
        <div class="notice">
            <Icon glyph=Glyph::Alert />
            <div class="notice-body">
                <p class="notice-what">{sentence(&failure.what)}</p>
                {failure.place.map(|place| view! { <p class="notice-place">{place}</p> })}
                {failure.remedy.map(|remedy| view! { <p class="notice-remedy">{sentence(&remedy)}</p> })}
            </div>
            <button type="button" class="icon-button" aria-label=label on:click=move |_| store.dismiss(step)>
                <Icon glyph=Glyph::Close />
            </button>
        </div>
    }
}

/// Messages come as clauses; on their own they start with a capital and end with a stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let mut sentence: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect();
    if !sentence.ends_with(['.', '!', '?', '\u{2026}']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn clauses_become_sentences() {
        assert_eq!(sentence("the loss became NaN"), "The loss became NaN.");
        assert_eq!(sentence("Choose a decoder."), "Choose a decoder.");
        assert_eq!(sentence(""), ".");
    }
}
