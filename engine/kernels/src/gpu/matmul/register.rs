//! Products in registers only: a unit sums a tile of the result, reading both sides straight from storage.
//!
//! For software GPUs, where a load costs as much as a dozen multiplications whatever its pattern, and barriers cost
//! more still: large tiles, no workgroup memory, workgroups of one SIMD group.

use cubecl::{ir::ElemType, prelude::*};

use super::super::operand::{
    Along, Four, block_of, edges_per_group, four, load_dense, load_quantized_along_edges,
    load_quantized_along_k, only, places,
};
use crate::quantized::WeightKind;

/// Units of a workgroup, along columns: the lanes of a SIMD group on a software GPU.
pub const UNITS: u32 = 4;

/// Rows and columns of the result that one unit sums. Columns are a multiple of four; so are rows if the left side is
/// contiguous along them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    pub rows: usize,
    pub columns: usize,
}

/// `out[z] = lhs[z] rhs[z]` in vectors of four; `steps` is `k / 4`, pitches and batches count vectors.
#[cube(launch_unchecked)]
pub fn dense_kernel<L: Float, R: Float>(
    lhs: &Tensor<Vector<L, Four>>,
    rhs: &Tensor<Vector<R, Four>>,
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
    #[define(L, R)] _elements: [ElemType; 2],
) {
    let batch = CUBE_POS_Z as usize;
    let mut sums = zeros(comptime!(tile.rows * tile.columns));
    add_dense(
        &mut sums,
        lhs,
        rhs,
        batch * lhs_batch,
        batch * rhs_batch,
        m,
        n,
        steps,
        lhs_pitch,
        rhs_pitch,
        tile,
        lhs_along,
        rhs_along,
    );
    store(out, &sums, batch * m * (n / 4), m, n, tile);
}

/// `x W^T` (along `k`) or `x W` (along the edges) for a quantized `W`; see [`dense_kernel`].
#[cube(launch_unchecked)]
pub fn quantized_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    out: &mut Tensor<Vector<E, Four>>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] tile: Tile,
    #[comptime] kind: WeightKind,
    #[comptime] along: Along,
    #[define(E)] _element: ElemType,
) {
    let mut sums = zeros(comptime!(tile.rows * tile.columns));
    add_quantized(
        &mut sums,
        x,
        words,
        scales,
        m,
        n,
        steps,
        word_pitch,
        scale_pitch,
        tile,
        kind,
        along,
    );
    store(out, &sums, 0usize, m, n, tile);
}

/// Like [`quantized_kernel`], plus the product of `low` `[m, r]`, scaled, and `adapter`: `[n, r]` along `k`, `[r, n]`
/// along the edges.
#[cube(launch_unchecked)]
pub fn quantized_low_rank_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    low: &Tensor<Vector<f32, Four>>,
    adapter: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<Vector<E, Four>>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    rank_steps: usize,
    scaling: f32,
    #[comptime] tile: Tile,
    #[comptime] kind: WeightKind,
    #[comptime] along: Along,
    #[define(E)] _element: ElemType,
) {
    let mut sums = zeros(comptime!(tile.rows * tile.columns));
    // The small product comes first, so that its sums are scaled only once.
    let pitch = if comptime!(along == Along::K) {
        rank_steps
    } else {
        n / 4
    };
    add_dense(
        &mut sums,
        low,
        adapter,
        0usize,
        0usize,
        m,
        n,
        rank_steps,
        rank_steps,
        pitch,
        tile,
        Along::K,
        along,
    );
    #[unroll]
    for i in 0..comptime!(tile.rows * tile.columns) {
        sums[i] = sums[i] * scaling;
    }
    add_quantized(
        &mut sums,
        x,
        words,
        scales,
        m,
        n,
        steps,
        word_pitch,
        scale_pitch,
        tile,
        kind,
        along,
    );
    store(out, &sums, 0usize, m, n, tile);
}

/// The first row of the unit's tile.
#[cube]
fn tile_row(#[comptime] tile: Tile) -> usize {
    CUBE_POS_Y as usize * comptime!(tile.rows)
}

/// The first column of the unit's tile.
#[cube]
fn tile_column(#[comptime] tile: Tile) -> usize {
    ABSOLUTE_POS_X as usize * comptime!(tile.columns)
}

/// Adds the product of two dense matrices that begin at these vectors.
#[cube]
fn add_dense<L: Float, R: Float>(
    sums: &mut Array<f32>,
    lhs: &Tensor<Vector<L, Four>>,
    rhs: &Tensor<Vector<R, Four>>,
    lhs_base: usize,
    rhs_base: usize,
    m: usize,
    n: usize,
    steps: usize,
    lhs_pitch: usize,
    rhs_pitch: usize,
    #[comptime] tile: Tile,
    #[comptime] lhs_along: Along,
    #[comptime] rhs_along: Along,
) {
    let row = tile_row(tile);
    let column = tile_column(tile);
    let rows = places(row, m, lhs_pitch, lhs_along, comptime!(tile.rows), 4usize);
    let columns = places(
        column,
        n,
        rhs_pitch,
        rhs_along,
        comptime!(tile.columns),
        4usize,
    );
    for step in 0..steps {
        let x = load_dense(lhs, lhs_base, &rows, step, lhs_pitch, lhs_along);
        #[unroll]
        for i in 0..comptime!(columns.len()) {
            let place = only(&columns, i);
            let y = load_dense(rhs, rhs_base, &place, step, rhs_pitch, rhs_along);
            multiply_add(sums, &x, &y, i, tile);
        }
    }
}

/// Adds the product of `x` and a quantized weight.
#[cube]
fn add_quantized<E: Float, N: Size>(
    sums: &mut Array<f32>,
    x: &Tensor<Vector<E, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] tile: Tile,
    #[comptime] kind: WeightKind,
    #[comptime] along: Along,
) {
    let row = tile_row(tile);
    let column = tile_column(tile);
    let rows = places(row, m, steps, Along::K, comptime!(tile.rows), 4usize);
    let per_group = comptime!(edges_per_group(kind));
    let columns = places(
        column,
        n,
        word_pitch,
        along,
        comptime!(tile.columns),
        per_group,
    );
    let scale_columns = places(
        column,
        n,
        scale_pitch,
        along,
        comptime!(tile.columns),
        per_group,
    );
    for step in 0..steps {
        let x = load_dense(x, 0usize, &rows, step, steps, Along::K);
        // Column by column: what is loaded stays in registers and is used up before the next load.
        #[unroll]
        for i in 0..comptime!(columns.len()) {
            let place = only(&columns, i);
            if comptime!(along == Along::K) {
                let scale = only(&scale_columns, i);
                let y = load_quantized_along_k(words, scales, &place, &scale, step, kind);
                multiply_add(sums, &x, &y, i, tile);
            } else {
                let block = block_of(columns[0], kind);
                let y = load_quantized_along_edges(
                    words,
                    scales,
                    &place,
                    block,
                    step,
                    word_pitch,
                    scale_pitch,
                    kind,
                );
                multiply_add(sums, &x, &y, i, tile);
            }
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

/// Adds the products of rows and some columns at one step of `k`: the `group`th columns that were loaded together.
#[cube]
fn multiply_add(
    sums: &mut Array<f32>,
    rows: &Sequence<Vector<f32, Four>>,
    columns: &Sequence<Vector<f32, Four>>,
    #[comptime] group: usize,
    #[comptime] tile: Tile,
) {
    #[unroll]
    for c in 0..comptime!(columns.len()) {
        #[unroll]
        for r in 0..comptime!(rows.len()) {
            let at = comptime!(r * tile.columns + group * columns.len() + c);
            sums[at] += rows[r].dot(columns[c]);
        }
    }
}

/// Writes the part of the tile that lies within `[m, n]`.
#[cube]
fn store<E: Float>(
    out: &mut Tensor<Vector<E, Four>>,
    sums: &Array<f32>,
    base: usize,
    m: usize,
    n: usize,
    #[comptime] tile: Tile,
) {
    let row = tile_row(tile);
    let column = tile_column(tile);
    #[unroll]
    for r in 0..comptime!(tile.rows) {
        if row + r < m {
            #[unroll]
            for c in 0..comptime!(tile.columns / 4) {
                if column + c * 4 < n {
                    let at = comptime!(r * tile.columns + c * 4);
                    let vector = four(sums[at], sums[at + 1], sums[at + 2], sums[at + 3]);
                    out[base + ((row + r) * n + column) / 4 + c] = Vector::cast_from(vector);
                }
            }
        }
    }
}
