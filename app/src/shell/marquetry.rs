use leptos::prelude::*;

use crate::state::State;
use crate::store::Store;

const COLUMNS: usize = 7;
const ROWS: usize = 6;
/// Coprime to the number of tiles, so that steps of this size visit each tile once.
const STRIDE: usize = 17;
/// Puts the first one in the middle.
const OFFSET: usize = 12;
/// Side of a tile's hexagon.
const SIDE: f64 = 24.0;

/// Tumbling blocks, the oldest pattern of inlaid wood. The run inlays brass tile by tile.
#[component]
pub fn Marquetry() -> impl IntoView {
    let num_laid = Store::get().select(num_laid);
    let half_width = SIDE * 3_f64.sqrt() / 2.0;
    let tiles = (0..ROWS * COLUMNS).map(|index| {
        let (row, column) = (index / COLUMNS, index % COLUMNS);
        let shift = if row.is_multiple_of(2) { 1.0 } else { 2.0 };
        let x = half_width * (2.0 * column as f64 + shift);
        let y = SIDE * (1.5 * row as f64 + 1.0);
        let rank = (index * STRIDE + OFFSET) % (ROWS * COLUMNS);
        let (left, right, half) = (x - half_width, x + half_width, SIDE / 2.0);
        let (upper, lower, top, bottom) = (y - half, y + half, y - SIDE, y + SIDE);
        view! {
            <g class="tile" class:is-laid=move || rank < num_laid.get()>
                <path class="tile-top" d=format!("M{x:.1},{top:.1}L{right:.1},{upper:.1}L{x:.1},{y:.1}L{left:.1},{upper:.1}Z") />
                <path class="tile-left" d=format!("M{left:.1},{upper:.1}L{x:.1},{y:.1}L{x:.1},{bottom:.1}L{left:.1},{lower:.1}Z") />
                <path class="tile-right" d=format!("M{right:.1},{upper:.1}L{right:.1},{lower:.1}L{x:.1},{bottom:.1}L{x:.1},{y:.1}Z") />
            </g>
        }
    });
    let (width, height) = (
        half_width * (2.0 * COLUMNS as f64 + 1.0),
        SIDE * (1.5 * ROWS as f64 + 0.5),
    );
    view! {
        <svg class="marquetry" viewBox=format!("-1 -1 {:.0} {:.0}", width + 2.0, height + 2.0) aria-hidden="true" focusable="false">
            {tiles.collect_view()}
        </svg>
    }
}

/// One tile before any run, all of them after a finished one.
fn num_laid(state: &State) -> usize {
    let ratio = state
        .run
        .as_ref()
        .and_then(|run| run.ratio())
        .unwrap_or_default();
    1 + (ratio * (ROWS * COLUMNS - 1) as f64) as usize
}
