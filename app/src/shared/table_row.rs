use leptos::prelude::*;
use protocol::{FindingKind, RowSummary};

use crate::state::findings::words;
use crate::state::format::count;
use crate::store::Store;

/// Tags on a row; more are counted.
const MAX_TAGS: usize = 2;

/// A row of the table, empty until the reader has given it.
#[component]
pub fn TableRow(index: usize, #[prop(into)] has_findings: Signal<bool>) -> impl IntoView {
    let store = Store::get();
    let row = store.select(move |state| state.rows.get(index).cloned());
    let previewed = store.select(|state| state.preview.as_ref().map(|preview| preview.row));
    let is_shown = move || row.with(|row| row.as_ref().map(|row| row.row)) == previewed.get();
    view! {
        <tr class:is-shown=move || row.with(Option::is_some) && is_shown()
            aria-rowindex=(index + 2).to_string() aria-busy=move || row.with(Option::is_none).to_string()>
            {move || match row.get() {
                Some(row) => cells(store, previewed, row, has_findings.get()).into_any(),
                None => waiting(has_findings.get()).into_any(),
            }}
        </tr>
    }
}

fn waiting(has_findings: bool) -> impl IntoView {
    let cells = if has_findings { 5 } else { 4 };
    (0..cells)
        .map(|_| view! { <td><span class="rows-waiting"></span></td> })
        .collect_view()
}

fn cells(
    store: Store,
    previewed: Memo<Option<usize>>,
    row: RowSummary,
    has_findings: bool,
) -> impl IntoView {
    let number = row.row;
    let label = format!("Look at row {} as tokens", count(number as u64 + 1));
    let turns = (row.num_turns > 2).then(|| format!(" ({} turns)", row.num_turns));
    let is_pressed = move || (previewed.get() == Some(number)).to_string();
    view! {
        <td class="num">{count(number as u64 + 1)}</td>
        <td><span class="clamp">{row.prompt}{turns}</span></td>
        <td><span class="clamp">{row.completion}</span></td>
        {has_findings.then(|| view! { <td><Tags findings=row.findings most=MAX_TAGS /></td> })}
        <td class="rows-look">
            <button type="button" class="button button-small" aria-label=label aria-pressed=is_pressed
                on:click=move |_| store.preview_row(number)>
                "Tokens"
            </button>
        </td>
    }
}

/// What was found about a row, as small tags.
#[component]
pub fn Tags(findings: Vec<FindingKind>, most: usize) -> impl IntoView {
    let surplus = findings.len().saturating_sub(most);
    let tags = findings
        .into_iter()
        .take(most)
        .map(|kind| view! { <span class="tag">{words(kind).tag}</span> })
        .collect_view();
    view! {
        <span class="tags">
            {tags}
            {(surplus > 0).then(|| view! { <span class="tag">{format!("+{surplus}")}</span> })}
        </span>
    }
}
