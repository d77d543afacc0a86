use leptos::html::Div;
use leptos::prelude::*;

use super::rows_bar::RowsBar;
use crate::browser::page::rem_px;
use crate::shared::table_row::TableRow;
use crate::state::findings::of_rows;
use crate::state::window::{Table, Window};
use crate::store::Store;

/// Height of a row: two lines of text. The style sheet gives the same.
const ROW_REM: f64 = 3.5;
/// Rows in sight at most.
const MAX_SEEN: usize = 8;

/// The dataset's rows. Only those in sight are drawn, and asked of the reader; each can be looked at as the model
/// sees it.
#[component]
pub fn RowsTable() -> impl IntoView {
    let store = Store::get();
    let total = store.select(|state| state.rows.total);
    let has_data = store.select(|state| state.shown_dataset().is_some());
    let has_findings = store.select(|state| {
        let dataset = state.shown_dataset();
        dataset.is_some_and(|dataset| of_rows(dataset).next().is_some())
    });
    let row_px = ROW_REM * rem_px();
    let table = Memo::new(move |_| Table {
        num_rows: total.get(),
        row_px,
        view_px: total.get().clamp(1, MAX_SEEN) as f64 * row_px,
    });
    let frame = NodeRef::<Div>::new();
    let scroll_top = RwSignal::new(0.0);
    let window = Memo::new(move |_| table.get().window(scroll_top.get()));
    let scrolled = move |_| {
        if let Some(frame) = frame.get_untracked() {
            scroll_top.set(f64::from(frame.scroll_top()));
        }
    };
    ask_for_missing(store, window);
    follow_jumps(store, table, frame);
    let row_count = move || (total.get() + 1).to_string();
    let indices = move || {
        let window = window.get();
        window.first..window.first + window.count
    };
    view! {
        <div class="rows" hidden=move || !has_data.get()>
            <RowsBar window total />
            <div class="table-scroll rows-scroll" node_ref=frame tabindex="0" role="region"
                aria-label="Rows of the dataset" on:scroll=scrolled>
                <table class="rows-table" class:has-findings=move || has_findings.get() aria-rowcount=row_count>
                    <thead>
                        <tr aria-rowindex="1">
                            <th scope="col" class="num rows-number">"Row"</th>
                            <th scope="col">"Prompt"</th>
                            <th scope="col">"Answer"</th>
                            {move || has_findings.get().then(|| view! { <th scope="col" class="rows-found">"Findings"</th> })}
                            <th scope="col" class="rows-look"><span class="sr-only">"Tokens"</span></th>
                        </tr>
                    </thead>
                    <tbody aria-hidden="true" class="rows-space">{move || space(window.get().above_px)}</tbody>
                    <tbody>
                        <For each=indices key=|index| *index let:index>
                            <TableRow index has_findings />
                        </For>
                    </tbody>
                    <tbody aria-hidden="true" class="rows-space">{move || space(window.get().below_px)}</tbody>
                </table>
            </div>
        </div>
    }
}

/// A placeholder for rows that are not drawn. It spans the columns that always exist, so that it does not add one.
fn space(px: f64) -> Option<impl IntoView> {
    (px > 0.0).then(|| view! { <tr><td colspan="4" style:height=format!("{px:.1}px")></td></tr> })
}

fn ask_for_missing(store: Store, window: Memo<Window>) {
    let missing = Memo::new(move |_| {
        let window = window.get();
        let wanted = store
            .state
            .with(|state| state.rows.wanted(window.first, window.count));
        wanted.map(|start| (start, window.first, window.count))
    });
    Effect::new(move |_| {
        if let Some((_, first, count)) = missing.get() {
            store.list_rows(first, count);
        }
    });
}

/// Scrolls to the place that is asked for, once the table has its height.
fn follow_jumps(store: Store, table: Memo<Table>, frame: NodeRef<Div>) {
    Effect::new(move |_| {
        if let Some(index) = store.jump.get() {
            store.jump.set(None);
            request_animation_frame(move || {
                if let Some(frame) = frame.get_untracked() {
                    frame.set_scroll_top(table.get_untracked().scroll_top(index).ceil() as i32);
                }
            });
        }
    });
}
