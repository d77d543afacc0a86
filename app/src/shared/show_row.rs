use leptos::prelude::*;
use protocol::RowFilter;

use crate::state::format::count;
use crate::store::Store;

/// A link to a row in the table of rows, which also shows its tokens. `place` is the index of the row among those of
/// `filter`.
#[component]
pub fn ShowRow(row: usize, place: usize, filter: RowFilter) -> impl IntoView {
    let store = Store::get();
    let number = count(row as u64 + 1);
    let go = move |_| {
        store.filter_rows(filter);
        store.jump.set(Some(place));
        store.preview_row(row);
    };
    view! {
        <button type="button" class="link" aria-label=format!("Show row {number} in the table") on:click=go>
            {format!("Row {number}")}
        </button>
    }
}
