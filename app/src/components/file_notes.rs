use leptos::prelude::*;

use crate::state::format::count;
use crate::store::Store;

/// Notes shown; an archive may pass many entries over.
const MAX_SHOWN: usize = 5;

/// What concerns a file and no row: entries of an archive that were passed over, characters that were lost.
#[component]
pub fn FileNotes() -> impl IntoView {
    let notes = Store::get().select(|state| {
        let dataset = state.shown_dataset();
        dataset.map(|data| data.notes.clone()).unwrap_or_default()
    });
    let shown = move || {
        let notes = notes.get().into_iter().take(MAX_SHOWN);
        notes.map(|note| view! { <li>{note}</li> }).collect_view()
    };
    let more = move || {
        let more = notes.with(Vec::len).saturating_sub(MAX_SHOWN);
        (more > 0)
            .then(|| view! { <li class="quiet">{format!("and {} more", count(more as u64))}</li> })
    };
    view! {
        <ul class="plan-warnings" aria-label="About the files" hidden=move || notes.with(Vec::is_empty)>
            {shown}
            {more}
        </ul>
    }
}
