use engine::protocol::RowSummary;
use leptos::prelude::*;

use super::pager::Pager;
use crate::state::format::count;
use crate::store::{ROWS_PER_PAGE, Store};

/// The dataset's rows, a page at a time; a row can be looked at as the model sees it.
#[component]
pub fn RowsTable() -> impl IntoView {
    let store = Store::get();
    let page = store.select(|state| state.rows.clone());
    let total = store.select(|state| {
        state
            .data
            .loaded
            .as_ref()
            .map_or(0, |data| data.num_usable_rows)
    });
    let previewed = store.select(|state| state.preview.as_ref().map(|preview| preview.row));
    let rows = move || {
        let rows = page.with(|page| {
            page.rows
                .iter()
                .take(ROWS_PER_PAGE)
                .cloned()
                .collect::<Vec<_>>()
        });
        rows.into_iter()
            .map(|row| table_row(store, previewed, row))
            .collect_view()
    };
    view! {
        <div class="rows" hidden=move || total.get() == 0>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Rows of the dataset">
                <table class="rows-table">
                    <thead>
                        <tr>
                            <th scope="col" class="num">"Row"</th>
                            <th scope="col">"Asked"</th>
                            <th scope="col">"Answered"</th>
                            <th scope="col"><span class="sr-only">"Look closer"</span></th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <Pager noun="rows" start=Signal::derive(move || page.with(|page| page.start)) page_len=ROWS_PER_PAGE
                total on_start=move |start| store.list_rows(start) />
        </div>
    }
}

fn table_row(store: Store, previewed: Memo<Option<usize>>, row: RowSummary) -> impl IntoView {
    let number = row.row;
    let label = format!("Look at row {} as tokens", count(number as u64 + 1));
    let is_shown = move || previewed.get() == Some(number);
    let turns = (row.num_turns > 2).then(|| format!(" ({} turns)", row.num_turns));
    view! {
        <tr class:is-shown=is_shown>
            <td class="num">{count(number as u64 + 1)}</td>
            <td><span class="clamp">{row.prompt}{turns}</span></td>
            <td><span class="clamp">{row.completion}</span></td>
            <td>
                <button type="button" class="button button-small" aria-label=label
                    aria-pressed=move || is_shown().to_string() on:click=move |_| store.preview_row(number)>
                    "Tokens"
                </button>
            </td>
        </tr>
    }
}
