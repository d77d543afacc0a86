//! Products through workgroup memory, for real GPUs: a workgroup sums a tile of 64 by 64, loads each operand once for
//! all its units, and unpacks weights on the way.
//!
//! Both operands lie in workgroup memory as vectors along `k`, edge by edge, so that neighbouring units read
//! neighbouring vectors. A unit sums eight rows by four columns; its columns lie sixteen apart.

mod stage;

use cubecl::prelude::*;

use self::stage::{stage_dense, stage_packed};
use super::super::operand::{Along, Four};
use crate::weights::packed::PackedKind;

/// Rows and columns of a workgroup's tile.
pub const TILE: usize = 64;
/// Units of a workgroup. One half loads the left side, the other the right.
pub const UNITS: u32 = 128;
const HALF: usize = 64;
/// Vectors along `k` that are loaded at a time.
const DEPTH: usize = 4;
/// Units along the columns of a tile.
const UNITS_X: usize = 16;
const UNIT_ROWS: usize = 8;
const UNIT_COLUMNS: usize = 4;

/// As [`super::register::dense_kernel`].
#[cube(launch_unchecked)]
pub fn dense_kernel(
    lhs: &Tensor<Vector<f32, Four>>,
    rhs: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<f32>,
    m: usize,
    n: usize,
    steps: usize,
    lhs_pitch: usize,
    lhs_batch: usize,
    rhs_pitch: usize,
    rhs_batch: usize,
    #[comptime] lhs_along: Along,
    #[comptime] rhs_along: Along,
) {
    let mut tiles = Shared::<[Vector<f32, Four>]>::new_slice(comptime!(2 * TILE * DEPTH));
    let mut sums = zeros();
    let batch = CUBE_POS_Z as usize;
    let row = CUBE_POS_Y as usize * TILE;
    let column = CUBE_POS_X as usize * TILE;
    for block in 0..steps.div_ceil(DEPTH) {
        if UNIT_POS < HALF as u32 {
            let unit = UNIT_POS as usize;
            stage_dense(
                &mut tiles,
                0usize,
                lhs,
                batch * lhs_batch,
                unit,
                block,
                row,
                m,
                steps,
                lhs_pitch,
                lhs_along,
            );
        } else {
            let unit = UNIT_POS as usize - HALF;
            let base = TILE * DEPTH;
            stage_dense(
                &mut tiles,
                base,
                rhs,
                batch * rhs_batch,
                unit,
                block,
                column,
                n,
                steps,
                rhs_pitch,
                rhs_along,
            );
        }
        sync_cube();
        multiply_add(&mut sums, &mut tiles);
        sync_cube();
    }
    store(out, &sums, batch * m * n, row, column, m, n);
}

/// As [`super::register::packed_kernel`].
#[cube(launch_unchecked)]
pub fn packed_kernel<N: Size>(
    x: &Tensor<Vector<f32, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    out: &mut Tensor<f32>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] kind: PackedKind,
    #[comptime] along: Along,
) {
    let mut tiles = Shared::<[Vector<f32, Four>]>::new_slice(comptime!(2 * TILE * DEPTH));
    let mut sums = zeros();
    let row = CUBE_POS_Y as usize * TILE;
    let column = CUBE_POS_X as usize * TILE;
    add_packed(
        &mut sums,
        &mut tiles,
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
        kind,
        along,
    );
    store(out, &sums, 0usize, row, column, m, n);
}

/// As [`super::register::packed_low_rank_kernel`].
#[cube(launch_unchecked)]
pub fn packed_low_rank_kernel<N: Size>(
    x: &Tensor<Vector<f32, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    low: &Tensor<Vector<f32, Four>>,
    adapter: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<f32>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    rank_steps: usize,
    scaling: f32,
    #[comptime] kind: PackedKind,
    #[comptime] along: Along,
) {
    let mut tiles = Shared::<[Vector<f32, Four>]>::new_slice(comptime!(2 * TILE * DEPTH));
    let mut sums = zeros();
    let row = CUBE_POS_Y as usize * TILE;
    let column = CUBE_POS_X as usize * TILE;
    let pitch = if comptime!(along == Along::K) {
        rank_steps
    } else {
        n / 4
    };
    for block in 0..rank_steps.div_ceil(DEPTH) {
        if UNIT_POS < HALF as u32 {
            let unit = UNIT_POS as usize;
            stage_dense(
                &mut tiles,
                0usize,
                low,
                0usize,
                unit,
                block,
                row,
                m,
                rank_steps,
                rank_steps,
                Along::K,
            );
        } else {
            let unit = UNIT_POS as usize - HALF;
            let base = TILE * DEPTH;
            stage_dense(
                &mut tiles, base, adapter, 0usize, unit, block, column, n, rank_steps, pitch, along,
            );
        }
        sync_cube();
        multiply_add(&mut sums, &mut tiles);
        sync_cube();
    }
    #[unroll]
    for i in 0..comptime!(UNIT_ROWS * UNIT_COLUMNS) {
        sums[i] = sums[i] * scaling;
    }
    add_packed(
        &mut sums,
        &mut tiles,
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
        kind,
        along,
    );
    store(out, &sums, 0usize, row, column, m, n);
}

/// Adds the product of `x` and a packed weight.
#[cube]
fn add_packed<N: Size>(
    sums: &mut Array<f32>,
    tiles: &mut Shared<[Vector<f32, Four>]>,
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
    #[comptime] kind: PackedKind,
    #[comptime] along: Along,
) {
    for block in 0..steps.div_ceil(DEPTH) {
        if UNIT_POS < HALF as u32 {
            let unit = UNIT_POS as usize;
            stage_dense(
                tiles,
                0usize,
                x,
                0usize,
                unit,
                block,
                row,
                m,
                steps,
                steps,
                Along::K,
            );
        } else {
            let unit = UNIT_POS as usize - HALF;
            stage_packed(
                tiles,
                words,
                scales,
                unit,
                block,
                column,
                n,
                steps,
                word_pitch,
                scale_pitch,
                kind,
                along,
            );
        }
        sync_cube();
        multiply_add(sums, tiles);
        sync_cube();
    }
}

#[cube]
fn zeros() -> Array<f32> {
    let mut sums = Array::<f32>::new(comptime!(UNIT_ROWS * UNIT_COLUMNS));
    #[unroll]
    for i in 0..comptime!(UNIT_ROWS * UNIT_COLUMNS) {
        sums[i] = 0.0;
    }
    sums
}

/// Adds a block's products to a unit's sums.
#[cube]
fn multiply_add(sums: &mut Array<f32>, tiles: &mut Shared<[Vector<f32, Four>]>) {
    let first_row = UNIT_POS as usize / UNITS_X * UNIT_ROWS;
    let first_column = UNIT_POS as usize % UNITS_X;
    #[unroll]
    for depth in 0..DEPTH {
        let mut rows = Sequence::<Vector<f32, Four>>::new();
        #[unroll]
        for r in 0..UNIT_ROWS {
            rows.push(tiles[first_row + comptime!(depth * TILE + r)]);
        }
        #[unroll]
        for c in 0..UNIT_COLUMNS {
            let column = tiles[first_column + comptime!((DEPTH + depth) * TILE + c * UNITS_X)];
            #[unroll]
            for r in 0..UNIT_ROWS {
                sums[r * UNIT_COLUMNS + c] += rows[r].dot(column);
            }
        }
    }
}

/// Writes the part of the tile that lies within `[m, n]`.
#[cube]
fn store(
    out: &mut Tensor<f32>,
    sums: &Array<f32>,
    base: usize,
    row: usize,
    column: usize,
    m: usize,
    n: usize,
) {
    let first_row = row + UNIT_POS as usize / UNITS_X * UNIT_ROWS;
    let first_column = column + UNIT_POS as usize % UNITS_X;
    #[unroll]
    for r in 0..UNIT_ROWS {
        if first_row + r < m {
            #[unroll]
            for c in 0..UNIT_COLUMNS {
                if first_column + c * UNITS_X < n {
                    out[base + (first_row + r) * n + first_column + c * UNITS_X] =
                        sums[r * UNIT_COLUMNS + c];
                }
            }
        }
    }
}
