//! Products through workgroup memory, for real GPUs: a workgroup sums a tile of 64 by 64, loads each operand once for
//! all its units, and unpacks weights on the way.
//!
//! Both operands lie in workgroup memory as vectors along `k`, edge by edge, so that neighbouring units read
//! neighbouring vectors. A unit sums eight rows by four columns; its columns lie sixteen apart.

use cubecl::prelude::*;

use super::super::operand::{
    Along, Four, edges_per_group, load_dense, load_packed_along_edges, load_packed_along_k, places,
};
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
        multiply_add(&mut sums, &tiles);
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
    for block in 0..steps.div_ceil(DEPTH) {
        if UNIT_POS < HALF as u32 {
            let unit = UNIT_POS as usize;
            stage_dense(
                &mut tiles,
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
                &mut tiles,
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
        multiply_add(&mut sums, &tiles);
        sync_cube();
    }
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
        multiply_add(&mut sums, &tiles);
        sync_cube();
    }
    #[unroll]
    for i in 0..comptime!(UNIT_ROWS * UNIT_COLUMNS) {
        sums[i] = sums[i] * scaling;
    }
    for block in 0..steps.div_ceil(DEPTH) {
        if UNIT_POS < HALF as u32 {
            let unit = UNIT_POS as usize;
            stage_dense(
                &mut tiles,
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
                &mut tiles,
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
        multiply_add(&mut sums, &tiles);
        sync_cube();
    }
    store(out, &sums, 0usize, row, column, m, n);
}

/// Loads four edges at one step: neighbouring units take neighbours in memory. Steps past the end are zeros.
#[cube]
fn stage_dense(
    tiles: &mut Shared<[Vector<f32, Four>]>,
    base: usize,
    matrix: &Tensor<Vector<f32, Four>>,
    batch: usize,
    unit: usize,
    block: usize,
    first: usize,
    limit: usize,
    steps: usize,
    pitch: usize,
    #[comptime] along: Along,
) {
    let depth = depth_of(unit, along, 4usize);
    let edge = edge_of(unit, along, 4usize);
    let step = block * DEPTH + depth;
    let places = places(first + edge, limit, along, 4usize, 4usize);
    let edges = load_dense(matrix, batch, &places, min(step, steps - 1), pitch, along);
    put(tiles, base + depth * TILE + edge, &edges, step < steps);
}

/// As [`stage_dense`], for the right side from packed words, as many edges as lie together.
#[cube]
fn stage_packed<N: Size>(
    tiles: &mut Shared<[Vector<f32, Four>]>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    unit: usize,
    block: usize,
    first: usize,
    limit: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] kind: PackedKind,
    #[comptime] along: Along,
) {
    let together = comptime!(if along == Along::K {
        4
    } else {
        edges_per_group(kind)
    });
    let depth = depth_of(unit, along, together);
    let edge = edge_of(unit, along, together);
    let step = block * DEPTH + depth;
    let at = min(step, steps - 1);
    if edge < TILE && depth < DEPTH {
        let places = places(first + edge, limit, along, together, together);
        let to = TILE * DEPTH + depth * TILE + edge;
        if comptime!(along == Along::K) {
            let edges =
                load_packed_along_k(words, scales, &places, at, word_pitch, scale_pitch, kind);
            put(tiles, to, &edges, step < steps);
        } else {
            let edges =
                load_packed_along_edges(words, scales, &places, at, word_pitch, scale_pitch, kind);
            put(tiles, to, &edges, step < steps);
        }
    }
}

/// The step within a block that a unit loads.
#[cube]
fn depth_of(unit: usize, #[comptime] along: Along, #[comptime] together: usize) -> usize {
    if comptime!(along == Along::K) {
        unit % DEPTH
    } else {
        unit / comptime!(TILE / together)
    }
}

/// The first edge of a tile that a unit loads.
#[cube]
fn edge_of(unit: usize, #[comptime] along: Along, #[comptime] together: usize) -> usize {
    if comptime!(along == Along::K) {
        unit / DEPTH * together
    } else {
        unit % comptime!(TILE / together) * together
    }
}

#[cube]
fn put(
    tiles: &mut Shared<[Vector<f32, Four>]>,
    at: usize,
    edges: &Sequence<Vector<f32, Four>>,
    exists: bool,
) {
    #[unroll]
    for i in 0..comptime!(edges.len()) {
        tiles[at + i] = select(exists, edges[i], Vector::new(0.0f32));
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
fn multiply_add(sums: &mut Array<f32>, tiles: &Shared<[Vector<f32, Four>]>) {
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
