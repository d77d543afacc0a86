//! Products through workgroup memory, for real GPUs: a workgroup sums a tile of 64 by 64, loads each operand once for
//! all its units, and unpacks weights on the way.
//!
//! Both operands are in workgroup memory as vectors along `k`, edge by edge, so that neighboring units read neighboring
//! vectors. A unit sums eight rows by four columns; its columns lie sixteen apart.

mod stage;

use cubecl::{ir::ElemType, prelude::*};
use half::f16;

use self::stage::{stage_dense, stage_quantized};
use super::super::operand::{Along, Four};
use crate::quantized::WeightKind;

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

/// Like [`super::register::dense_kernel`].
#[cube(launch_unchecked)]
pub fn dense_kernel<L: Float, R: Float>(
    lhs: &Tensor<Vector<L, Four>>,
    rhs: &Tensor<Vector<R, Four>>,
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
    #[define(L, R)] _elements: [ElemType; 2],
) {
    let mut tiles = Shared::<[Vector<f32, Four>]>::new_slice(comptime!(2 * TILE * DEPTH));
    let mut sums = zeros();
    let batch = CUBE_POS_Z as usize;
    add_dense(
        &mut sums,
        &mut tiles,
        lhs,
        rhs,
        batch * lhs_batch,
        batch * rhs_batch,
        m,
        n,
        steps,
        lhs_pitch,
        rhs_pitch,
        lhs_along,
        rhs_along,
    );
    store(out, &sums, batch * m * n, m, n);
}

/// Like [`super::register::quantized_kernel`], but halves are multiplied as halves; their sums are still f32.
#[cube(launch_unchecked)]
pub fn quantized_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    out: &mut Tensor<E>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] kind: WeightKind,
    #[comptime] along: Along,
    #[define(E)] _element: ElemType,
) {
    let mut tiles = Shared::<[Vector<E, Four>]>::new_slice(comptime!(2 * TILE * DEPTH));
    let mut sums = zeros();
    add_quantized(
        &mut sums,
        &mut tiles,
        x,
        words,
        scales,
        m,
        n,
        steps,
        word_pitch,
        scale_pitch,
        kind,
        along,
    );
    store(out, &sums, 0usize, m, n);
}

/// Like [`super::register::quantized_low_rank_kernel`]. The low-rank product is in f32: its factors start near zero, where
/// halves are coarse.
#[cube(launch_unchecked)]
pub fn quantized_low_rank_kernel<E: Float, N: Size>(
    x: &Tensor<Vector<E, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    low: &Tensor<Vector<f32, Four>>,
    adapter: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<E>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    rank_steps: usize,
    scaling: f32,
    #[comptime] kind: WeightKind,
    #[comptime] along: Along,
    #[comptime] is_half: bool,
    #[define(E)] _element: ElemType,
) {
    let mut tiles = Shared::<[Vector<f32, Four>]>::new_slice(comptime!(2 * TILE * DEPTH));
    let mut sums = zeros();
    let pitch = if comptime!(along == Along::K) {
        rank_steps
    } else {
        n / 4
    };
    add_dense(
        &mut sums,
        &mut tiles,
        low,
        adapter,
        0usize,
        0usize,
        m,
        n,
        rank_steps,
        rank_steps,
        pitch,
        Along::K,
        along,
    );
    #[unroll]
    for i in 0..comptime!(UNIT_ROWS * UNIT_COLUMNS) {
        sums[i] = sums[i] * scaling;
    }
    if comptime!(is_half) {
        let mut halves = Shared::<[Vector<f16, Four>]>::new_slice(comptime!(2 * TILE * DEPTH));
        add_quantized(
            &mut sums,
            &mut halves,
            x,
            words,
            scales,
            m,
            n,
            steps,
            word_pitch,
            scale_pitch,
            kind,
            along,
        );
    } else {
        add_quantized(
            &mut sums,
            &mut tiles,
            x,
            words,
            scales,
            m,
            n,
            steps,
            word_pitch,
            scale_pitch,
            kind,
            along,
        );
    }
    store(out, &sums, 0usize, m, n);
}

/// The first row of the workgroup's tile.
#[cube]
fn tile_row() -> usize {
    CUBE_POS_Y as usize * TILE
}

/// The first column of the workgroup's tile.
#[cube]
fn tile_column() -> usize {
    CUBE_POS_X as usize * TILE
}

/// Adds the product of two dense matrices that begin at these vectors.
#[cube]
fn add_dense<L: Float, R: Float>(
    sums: &mut Array<f32>,
    tiles: &mut Shared<[Vector<f32, Four>]>,
    lhs: &Tensor<Vector<L, Four>>,
    rhs: &Tensor<Vector<R, Four>>,
    lhs_base: usize,
    rhs_base: usize,
    m: usize,
    n: usize,
    steps: usize,
    lhs_pitch: usize,
    rhs_pitch: usize,
    #[comptime] lhs_along: Along,
    #[comptime] rhs_along: Along,
) {
    for block in 0..steps.div_ceil(DEPTH) {
        if UNIT_POS < HALF as u32 {
            stage_dense(
                tiles,
                0usize,
                lhs,
                lhs_base,
                UNIT_POS as usize,
                block,
                tile_row(),
                m,
                steps,
                lhs_pitch,
                lhs_along,
            );
        } else {
            stage_dense(
                tiles,
                TILE * DEPTH,
                rhs,
                rhs_base,
                UNIT_POS as usize - HALF,
                block,
                tile_column(),
                n,
                steps,
                rhs_pitch,
                rhs_along,
            );
        }
        multiply_add(sums, tiles);
    }
}

/// Adds the product of `x` and a quantized weight, in the number type of the tiles.
#[cube]
fn add_quantized<E: Float, C: Float, N: Size>(
    sums: &mut Array<f32>,
    tiles: &mut Shared<[Vector<C, Four>]>,
    x: &Tensor<Vector<E, Four>>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    m: usize,
    n: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] kind: WeightKind,
    #[comptime] along: Along,
) {
    for block in 0..steps.div_ceil(DEPTH) {
        if UNIT_POS < HALF as u32 {
            stage_dense(
                tiles,
                0usize,
                x,
                0usize,
                UNIT_POS as usize,
                block,
                tile_row(),
                m,
                steps,
                steps,
                Along::K,
            );
        } else {
            stage_quantized(
                tiles,
                words,
                scales,
                UNIT_POS as usize - HALF,
                block,
                tile_column(),
                n,
                steps,
                word_pitch,
                scale_pitch,
                kind,
                along,
            );
        }
        multiply_add(sums, tiles);
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

/// Adds a staged block's products to a unit's sums, once all units have staged theirs; no unit stages the next block
/// before all are done.
#[cube]
fn multiply_add<C: Float>(sums: &mut Array<f32>, tiles: &mut Shared<[Vector<C, Four>]>) {
    sync_cube();
    let first_row = UNIT_POS as usize / UNITS_X * UNIT_ROWS;
    let first_column = UNIT_POS as usize % UNITS_X;
    #[unroll]
    for depth in 0..DEPTH {
        let mut rows = Sequence::<Vector<C, Four>>::new();
        #[unroll]
        for r in 0..UNIT_ROWS {
            rows.push(tiles[first_row + comptime!(depth * TILE + r)]);
        }
        #[unroll]
        for c in 0..UNIT_COLUMNS {
            let column = tiles[first_column + comptime!((DEPTH + depth) * TILE + c * UNITS_X)];
            #[unroll]
            for r in 0..UNIT_ROWS {
                sums[r * UNIT_COLUMNS + c] += f32::cast_from(rows[r].dot(column));
            }
        }
    }
    sync_cube();
}

/// Writes the part of the tile that lies within `[m, n]`.
#[cube]
fn store<E: Float>(out: &mut Tensor<E>, sums: &Array<f32>, base: usize, m: usize, n: usize) {
    let first_row = tile_row() + UNIT_POS as usize / UNITS_X * UNIT_ROWS;
    let first_column = tile_column() + UNIT_POS as usize % UNITS_X;
    #[unroll]
    for r in 0..UNIT_ROWS {
        if first_row + r < m {
            #[unroll]
            for c in 0..UNIT_COLUMNS {
                if first_column + c * UNITS_X < n {
                    out[base + (first_row + r) * n + first_column + c * UNITS_X] =
                        E::cast_from(sums[r * UNIT_COLUMNS + c]);
                }
            }
        }
    }
}
