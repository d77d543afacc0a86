use leptos::prelude::*;

use crate::shared::icon::{Glyph, Icon};
use crate::state::State;
use crate::state::verdict::{Mood, Verdict, verdict};
use crate::store::Store;

/// What the numbers of the last run mean, and what to do about it.
#[component]
pub fn VerdictCard() -> impl IntoView {
    let store = Store::get();
    let present = store.select(|state| state.run.as_ref().and_then(verdict));
    let is_busy = store.select(State::is_busy);
    move || present.get().map(|verdict| card(store, verdict, is_busy))
}

fn card(store: Store, verdict: Verdict, is_busy: Memo<bool>) -> impl IntoView {
    let (mood, glyph) = match verdict.mood() {
        Mood::Good => ("good", Glyph::Check),
        Mood::Fair => ("fair", Glyph::Alert),
        Mood::Bad => ("bad", Glyph::Alert),
    };
    let button = verdict.lower_rate.map(|rate| {
        let lower = move |_| {
            if !is_busy.get_untracked() {
                store.set_learning_rate(rate);
            }
        };
        view! {
            <button type="button" class="button" aria-disabled=move || is_busy.get().to_string() on:click=lower>
                {format!("Lower the learning rate to {rate}")}
            </button>
        }
    });
    view! {
        <section class="card verdict" data-mood=mood aria-label="Verdict">
            <Icon glyph=glyph />
            <div class="verdict-body">
                <h3>{verdict.headline}</h3>
                <p>{verdict.detail}</p>
                {button}
            </div>
        </section>
    }
}
