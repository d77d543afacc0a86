use leptos::prelude::*;

use super::problems::PROBLEMS;
use crate::browser::page;
use crate::state::summary::{row_counts, summary};
use crate::store::Store;

/// The dataset in one line, with a way to the rows that cannot be used.
#[component]
pub fn SummaryLine() -> impl IntoView {
    let store = Store::get();
    let line = store.select(summary);
    let has_problems =
        store.select(|state| row_counts(state).is_some_and(|rows| rows.unusable > 0));
    // The message and the rows on show below are of a file that was refused since.
    let is_of_earlier = store.select(|state| state.readings.unusable.is_some());
    view! {
        <p class="summary-line" hidden=move || line.with(Option::is_none)>
            {move || is_of_earlier.get().then_some("Still in use: ")}
            <output aria-label="Dataset summary">{move || line.get()}</output>
            {move || has_problems.get().then(|| view! {
                " "
                <button type="button" class="link" aria-label="Show rows that cannot be used"
                    on:click=move |_| page::open(PROBLEMS)>
                    "Show"
                </button>
            })}
        </p>
    }
}
