use leptos::prelude::*;

use crate::state::format::count;
use crate::store::Store;

/// The number of labels shown; rarer ones are counted.
const MAX_SHOWN: usize = 12;

/// The number of rows with each label, if rows are texts with labels.
#[component]
pub fn Labels() -> impl IntoView {
    let labels = Store::get().select(|state| {
        let dataset = state.shown_dataset();
        dataset.map(|data| data.labels.clone()).unwrap_or_default()
    });
    move || {
        let labels = labels.get();
        let most = labels.first().map(|(_, rows)| *rows)?;
        let more = labels.len().saturating_sub(MAX_SHOWN);
        let bars = labels.into_iter().take(MAX_SHOWN).map(|(label, rows)| {
            let share = 100.0 * rows as f64 / most.max(1) as f64;
            view! {
                <li>
                    <span class="label-name">{label}</span>
                    <span class="label-bar" aria-hidden="true"><span style:width=format!("{share:.1}%")></span></span>
                    <span class="label-count">{count(rows as u64)}</span>
                </li>
            }
        });
        Some(view! {
            <div class="card labels">
                <h3>"Labels"</h3>
                <ul aria-label="Rows by label">{bars.collect_view()}</ul>
                {(more > 0).then(|| view! { <p class="quiet">{format!("and {} more", count(more as u64))}</p> })}
            </div>
        })
    }
}
