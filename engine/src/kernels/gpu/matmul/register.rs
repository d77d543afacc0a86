//! Products in registers alone: a unit sums a tile of the result, reading both sides straight from storage.
//!
//! For software adapters, where a load costs as much as a dozen multiplications whatever its pattern, and barriers
//! cost more still: large tiles, no workgroup memory, workgroups of one SIMD group.

use cubecl::prelude::*;

use super::super::operand::{
    Along, Four, edges_per_group, four, load_dense, load_packed_along_edges, load_packed_along_k,
    places,
};
use crate::weights::packed::PackedKind;

/// Units of a workgroup, along columns: the lanes of a SIMD group on a software adapter.
pub const UNITS: u32 = 4;

/// Rows and columns of the result that one unit sums. Columns are a multiple of four, rows too where the left side is
/// contiguous along them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    pub rows: usize,
    pub columns: usize,
}

/// `out[z] = lhs[z] rhs[z]` in vectors of four; `steps` is `k / 4`, pitches and batches count vectors.
#[cube(launch_unchecked)]
pub fn dense_kernel(
    lhs: &Tensor<Vector<f32, Four>>,
    rhs: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<Vector<f32, Four>>,
    m: usize,
    n: usize,
    steps: usize,
    lhs_pitch: usize,
    lhs_batch: usize,
    rhs_pitch: usize,
    rhs_batch: usize,
    #[comptime] tile: Tile,
    #[comptime] lhs_along: Along,
    #[comptime] rhs_along: Along,
) {
    let row = CUBE_POS_Y as usize * comptime!(tile.rows);
    let column = ABSOLUTE_POS_X as usize * comptime!(tile.columns);
    let batch = CUBE_POS_Z as usize;
    let mut sums = zeros(comptime!(tile.rows * tile.columns));
    let rows = places(row, m, lhs_along, comptime!(tile.rows), 4usize);
    let columns = places(column, n, rhs_along, comptime!(tile.columns), 4usize);
    for step in 0..steps {
        let x = load_dense(lhs, batch * lhs_batch, &rows, step, lhs_pitch, lhs_along);
        let y = load_dense(rhs, batch * rhs_batch, &columns, step, rhs_pitch, rhs_along);
        multiply_add(&mut sums, &x, &y);
    }
    store(out, &sums, batch * m * (n / 4), row, column, m, n, tile);
}

/// `x W^T` (along `k`) or `x W` (along the edges) for a packed `W`; see [`dense_kernel`].
#[cube(launch_unchecked)]
pub fn packed_kernel<N: Size>(
    x: &Tensor<Vector<f32, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    out: &mut Tensor<Vector<f32, Four>>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] tile: Tile,
    #[comptime] kind: PackedKind,
    #[comptime] along: Along,
) {
    let row = CUBE_POS_Y as usize * comptime!(tile.rows);
    let column = ABSOLUTE_POS_X as usize * comptime!(tile.columns);
    let mut sums = zeros(comptime!(tile.rows * tile.columns));
    add_packed(
        &mut sums,
        x,
        words,
        scales,
        row,
        column,
        m,
        n,
        steps,
        word_pitch,
        scale_pitch,
        tile,
        kind,
        along,
    );
    store(out, &sums, 0usize, row, column, m, n, tile);
}

/// As [`packed_kernel`], plus the product of `low` `[m, r]`, scaled, and `adapter`: `[n, r]` along `k`, `[r, n]` along
/// the edges.
#[cube(launch_unchecked)]
pub fn packed_low_rank_kernel<N: Size>(
    x: &Tensor<Vector<f32, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    low: &Tensor<Vector<f32, Four>>,
    adapter: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<Vector<f32, Four>>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    rank_steps: usize,
    scaling: f32,
    #[comptime] tile: Tile,
    #[comptime] kind: PackedKind,
    #[comptime] along: Along,
) {
    let row = CUBE_POS_Y as usize * comptime!(tile.rows);
    let column = ABSOLUTE_POS_X as usize * comptime!(tile.columns);
    let mut sums = zeros(comptime!(tile.rows * tile.columns));
    // The small product first, so that one scaling of its sums does.
    let rows = places(row, m, Along::K, comptime!(tile.rows), 4usize);
    let columns = places(column, n, along, comptime!(tile.columns), 4usize);
    let pitch = if comptime!(along == Along::K) {
        rank_steps
    } else {
        n / 4
    };
    for step in 0..rank_steps {
        let x = load_dense(low, 0usize, &rows, step, rank_steps, Along::K);
        let y = load_dense(adapter, 0usize, &columns, step, pitch, along);
        multiply_add(&mut sums, &x, &y);
    }
    #[unroll]
    for i in 0..comptime!(tile.rows * tile.columns) {
        sums[i] = sums[i] * scaling;
    }
    add_packed(
        &mut sums,
        x,
        words,
        scales,
        row,
        column,
        m,
        n,
        steps,
        word_pitch,
        scale_pitch,
        tile,
        kind,
        along,
    );
    store(out, &sums, 0usize, row, column, m, n, tile);
}

#[cube]
fn add_packed<N: Size>(
    sums: &mut Array<f32>,
    x: &Tensor<Vector<f32, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    row: usize,
    column: usize,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] tile: Tile,
    #[comptime] kind: PackedKind,
    #[comptime] along: Along,
) {
    let rows = places(row, m, Along::K, comptime!(tile.rows), 4usize);
    let columns = places(
        column,
        n,
        along,
        comptime!(tile.columns),
        comptime!(edges_per_group(kind)),
    );
    for step in 0..steps {
        let x = load_dense(x, 0usize, &rows, step, steps, Along::K);
        if comptime!(along == Along::K) {
            let y =
                load_packed_along_k(words, scales, &columns, step, word_pitch, scale_pitch, kind);
            multiply_add(sums, &x, &y);
        } else {
            let y = load_packed_along_edges(
                words,
                scales,
                &columns,
                step,
                word_pitch,
                scale_pitch,
                kind,
            );
            multiply_add(sums, &x, &y);
        }
    }
}

#[cube]
fn zeros(#[comptime] len: usize) -> Array<f32> {
    let mut sums = Array::<f32>::new(len);
    #[unroll]
    for i in 0..len {
        sums[i] = 0.0;
    }
    sums
}

/// Adds the products of rows and columns at one step of `k`.
#[cube]
fn multiply_add(
    sums: &mut Array<f32>,
    rows: &Sequence<Vector<f32, Four>>,
    columns: &Sequence<Vector<f32, Four>>,
) {
    #[unroll]
    for c in 0..comptime!(columns.len()) {
        #[unroll]
        for r in 0..comptime!(rows.len()) {
            sums[comptime!(r * columns.len() + c)] += rows[r].dot(columns[c]);
        }
    }
}

/// Writes the part of the tile that lies within `[m, n]`.
#[cube]
fn store(
    out: &mut Tensor<Vector<f32, Four>>,
    sums: &Array<f32>,
    base: usize,
    row: usize,
    column: usize,
    m: usize,
    n: usize,
    #[comptime] tile: Tile,
) {
    #[unroll]
    for r in 0..comptime!(tile.rows) {
        if row + r < m {
            #[unroll]
            for c in 0..comptime!(tile.columns / 4) {
                if column + c * 4 < n {
                    let at = comptime!(r * tile.columns + c * 4);
                    out[base + ((row + r) * n + column) / 4 + c] =
                        four(sums[at], sums[at + 1], sums[at + 2], sums[at + 3]);
                }
            }
        }
    }
}
