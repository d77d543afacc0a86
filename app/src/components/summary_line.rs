use leptos::prelude::*;

use crate::state::summary::summary;
use crate::store::Store;

/// The dataset in one line.
#[component]
pub fn SummaryLine() -> impl IntoView {
    let line = Store::get().select(summary);
    view! {
        <p class="summary-line" hidden=move || line.with(Option::is_none)>
            <output aria-label="Dataset summary">{move || line.get()}</output>
        </p>
    }
}
