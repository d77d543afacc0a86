use leptos::prelude::*;
use protocol::{DatasetSummary, RowFilter};

use crate::state::findings::{of_rows, words};
use crate::state::format::{capitalised, count};
use crate::state::window::Window;
use crate::store::Store;

/// Above the table: which rows it shows, where it is, and a way to go on by a screenful.
#[component]
pub fn RowsBar(window: Memo<Window>, total: Memo<usize>) -> impl IntoView {
    let store = Store::get();
    let is_first = move || window.get().seen_first == 0;
    let is_last = move || window.get().seen_first + window.get().seen_count >= total.get();
    let range = move || {
        let window = window.get();
        if total.get() == 0 {
            return "No rows".to_owned();
        }
        format!(
            "{} to {} of {}",
            count(window.seen_first as u64 + 1),
            count((window.seen_first + window.seen_count) as u64),
            count(total.get() as u64)
        )
    };
    let back = move |_| {
        if !is_first() {
            let window = window.get_untracked();
            let first = window.seen_first.saturating_sub(window.seen_count);
            store.jump.set(Some(first));
        }
    };
    let forth = move |_| {
        if !is_last() {
            let window = window.get_untracked();
            store.jump.set(Some(window.seen_first + window.seen_count));
        }
    };
    view! {
        <div class="rows-bar">
            <RowsShown />
            <div class="pager">
                <button type="button" class="button button-small" aria-disabled=move || is_first().to_string() on:click=back>
                    "Previous rows"
                </button>
                <span class="rows-range">{range}</span>
                <button type="button" class="button button-small" aria-disabled=move || is_last().to_string() on:click=forth>
                    "Next rows"
                </button>
            </div>
        </div>
    }
}

/// All rows, or those that something was found about.
#[component]
fn RowsShown() -> impl IntoView {
    let store = Store::get();
    let choices = store.select(
        |state| match (state.shown_reader(), state.shown_dataset()) {
            (Some(_), Some(dataset)) => choices(dataset),
            _ => Vec::new(),
        },
    );
    let filter = store.select(|state| state.rows.filter);
    let changed = move |event| {
        let index = event_target_value(&event).parse::<usize>().ok();
        let chosen = index.and_then(|index| choices.with_untracked(|all| all.get(index).cloned()));
        if let Some((filter, _)) = chosen {
            store.filter_rows(filter);
        }
    };
    let options = move || {
        let options = choices.get().into_iter().enumerate();
        let option = |(index, (known, label)): (usize, (RowFilter, String))| {
            let is_shown = move || filter.get() == known;
            view! { <option value=index.to_string() prop:selected=is_shown>{label}</option> }
        };
        options.map(option).collect_view()
    };
    view! {
        <div class="field field-inline" hidden=move || choices.with(|choices| choices.len() < 2)>
            <label for="rows-shown">"Rows shown"</label>
            <select id="rows-shown" on:change=changed>{options}</select>
        </div>
    }
}

fn choices(dataset: &DatasetSummary) -> Vec<(RowFilter, String)> {
    let all = format!("All ({})", count(dataset.num_usable_rows as u64));
    let named = of_rows(dataset).map(|finding| {
        let label = format!(
            "{} ({})",
            words(finding.kind).what,
            count(finding.num_rows as u64)
        );
        (RowFilter::Finding(finding.kind), capitalised(&label))
    });
    std::iter::once((RowFilter::All, all))
        .chain(named)
        .collect()
}
