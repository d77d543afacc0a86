//! Loads from storage into workgroup memory: each unit loads some edges of one side at one step, in the number type of
//! the tiles.

use cubecl::prelude::*;

use super::{
    super::super::operand::{
        Along, Four, block_of, edges_per_group, load_dense, load_quantized_along_edges,
        load_quantized_along_k, places,
    },
    DEPTH, TILE,
};
use crate::quantized::WeightKind;

/// Loads four edges at one step: neighboring units take neighbors in memory. Steps past the end are zeros.
#[cube]
pub fn stage_dense<E: Float, C: Float>(
    tiles: &mut Shared<[Vector<C, Four>]>,
    base: usize,
    matrix: &Tensor<Vector<E, Four>>,
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
    let places = places(first + edge, limit, pitch, along, 4usize, 4usize);
    let edges = load_dense(matrix, batch, &places, min(step, steps - 1), pitch, along);
    put(tiles, base + depth * TILE + edge, &edges, step < steps);
}

/// Like [`stage_dense`], for the right side from quantized words, with as many edges as are stored together.
#[cube]
pub fn stage_quantized<C: Float, N: Size>(
    tiles: &mut Shared<[Vector<C, Four>]>,
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    unit: usize,
    block: usize,
    first: usize,
    limit: usize,
    steps: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] kind: WeightKind,
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
        let scale_places = places(first + edge, limit, scale_pitch, along, together, together);
        let places = places(first + edge, limit, word_pitch, along, together, together);
        let to = TILE * DEPTH + depth * TILE + edge;
        if comptime!(along == Along::K) {
            let edges = load_quantized_along_k(words, scales, &places, &scale_places, at, kind);
            put(tiles, to, &edges, step < steps);
        } else {
            let block = block_of(places[0], kind);
            let edges = load_quantized_along_edges(
                words,
                scales,
                &places,
                block,
                at,
                word_pitch,
                scale_pitch,
                kind,
            );
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

/// Zeros where there is no data.
#[cube]
fn put<C: Float>(
    tiles: &mut Shared<[Vector<C, Four>]>,
    at: usize,
    edges: &Sequence<Vector<f32, Four>>,
    exists: bool,
) {
    #[unroll]
    for i in 0..comptime!(edges.len()) {
        let edge = select(exists, edges[i], Vector::new(0.0f32));
        tiles[at + i] = Vector::cast_from(edge);
    }
}
