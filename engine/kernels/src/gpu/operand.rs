//! How a kernel reads the matrices it multiplies, whatever their storage.
//!
//! Every product sums over `k`, four steps at a time: for each row of the left side and each column of the right side
//! (its *edges*), a unit holds the four neighbors along `k` as a vector, and multiplies such vectors with `dot`. The
//! functions here make them from dense matrices that are contiguous along `k`, from dense ones that are contiguous
//! along their edges (so a transposed view costs nothing), and from quantized words, which are unpacked in registers.
//!
//! Edges past the end read the last edge again; their results are not written. Vectors are f32, whatever the elements
//! of a matrix.

use cubecl::prelude::*;

use super::unpack::{factor, offset, unpack_four, unpack_halves};
use crate::quantized::{BLOCK, FloatKind, WeightKind};

/// Four neighboring numbers.
pub type Four = Const<4>;

/// Four numbers of a tensor in f32, whatever its elements.
#[cube]
pub fn load<E: Float>(tensor: &Tensor<Vector<E, Four>>, at: usize) -> Vector<f32, Four> {
    Vector::cast_from(tensor[at])
}

/// The direction in which a matrix is contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Along {
    K,
    Edges,
}

/// The places of `count` edges from `first` on, of `limit` in total: along `k`, where each begins, `pitch` apart;
/// otherwise, groups of `per_group` edges that are stored together.
#[cube]
pub fn places(
    first: usize,
    limit: usize,
    pitch: usize,
    #[comptime] along: Along,
    #[comptime] count: usize,
    #[comptime] per_group: usize,
) -> Sequence<usize> {
    let mut places = Sequence::<usize>::new();
    if comptime!(along == Along::K) {
        #[unroll]
        for i in 0..count {
            places.push(min(first + i, limit - 1) * pitch);
        }
    } else {
        let last = limit / per_group - 1;
        #[unroll]
        for i in 0..comptime!(count / per_group) {
            places.push(min(first / per_group + i, last));
        }
    }
    places
}

/// The vectors of a dense matrix at `4 step..` of `k`, one per edge. `pitch` counts vectors from one edge to the next
/// (along `k`), or from one step of `k` to the next (along the edges).
#[cube]
pub fn load_dense<E: Float>(
    matrix: &Tensor<Vector<E, Four>>,
    base: usize,
    places: &Sequence<usize>,
    step: usize,
    pitch: usize,
    #[comptime] along: Along,
) -> Sequence<Vector<f32, Four>> {
    let mut edges = Sequence::<Vector<f32, Four>>::new();
    #[unroll]
    for i in 0..comptime!(places.len()) {
        if comptime!(along == Along::K) {
            edges.push(load(matrix, base + places[i] + step));
        } else {
            let at = base + step * 4 * pitch + places[i];
            push_transposed(
                &mut edges,
                load(matrix, at),
                load(matrix, at + pitch),
                load(matrix, at + 2 * pitch),
                load(matrix, at + 3 * pitch),
            );
        }
    }
    edges
}

/// Like [`load_dense`], from a quantized weight whose columns are `k`: the right side of `x W^T`. [`places`] are where the
/// words and the scales of its rows begin.
#[cube]
pub fn load_quantized_along_k<N: Size>(
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    places: &Sequence<usize>,
    scale_places: &Sequence<usize>,
    step: usize,
    #[comptime] kind: WeightKind,
) -> Sequence<Vector<f32, Four>> {
    let mut edges = Sequence::<Vector<f32, Four>>::new();
    #[unroll]
    for i in 0..comptime!(places.len()) {
        if comptime!(kind.float() == Some(FloatKind::F32)) {
            edges.push(Vector::reinterpret(words[places[i] + step]));
        } else if comptime!(kind.has_scales()) {
            let scale = scales[scale_places[i] + step / comptime!(BLOCK / 4)];
            let per_word = comptime!(kind.weights_per_word());
            let mut bits = word(words, places[i] + step * 4 / per_word);
            if comptime!(per_word == 8) {
                bits = bits >> (u32::cast_from(step % 2) * 16);
            }
            edges.push(unpack_four(bits, factor(scale), offset(scale, kind), kind));
        } else {
            let at = places[i] + step * 2;
            edges.push(unpack_halves(word(words, at), word(words, at + 1), kind));
        }
    }
    edges
}

/// Like [`load_dense`], from a quantized weight whose rows are `k`: the right side of `dy W`. [`places`] are words, or
/// pairs of words of halves, and lie within one block of the row.
#[cube]
pub fn load_quantized_along_edges<N: Size>(
    words: &Tensor<Vector<u32, N>>,
    scales: &Tensor<u32>,
    places: &Sequence<usize>,
    block: usize,
    step: usize,
    word_pitch: usize,
    scale_pitch: usize,
    #[comptime] kind: WeightKind,
) -> Sequence<Vector<f32, Four>> {
    let mut edges = Sequence::<Vector<f32, Four>>::new();
    if comptime!(kind.float() == Some(FloatKind::F32)) {
        #[unroll]
        for i in 0..comptime!(places.len()) {
            let at = step * 4 * word_pitch + places[i];
            push_transposed(
                &mut edges,
                Vector::reinterpret(words[at]),
                Vector::reinterpret(words[at + word_pitch]),
                Vector::reinterpret(words[at + word_pitch * 2]),
                Vector::reinterpret(words[at + word_pitch * 3]),
            );
        }
    } else if comptime!(kind.has_scales()) {
        let per_word = comptime!(kind.weights_per_word());
        let mut factors = Sequence::<f32>::new();
        let mut offsets = Sequence::<f32>::new();
        #[unroll]
        for u in 0..4usize {
            let scale = scales[(step * 4 + u) * scale_pitch + block];
            factors.push(factor(scale));
            offsets.push(offset(scale, kind));
        }
        #[unroll]
        for i in 0..comptime!(places.len()) {
            let at = step * 4 * word_pitch + places[i];
            let a = word(words, at);
            let b = word(words, at + word_pitch);
            let c = word(words, at + word_pitch * 2);
            let d = word(words, at + word_pitch * 3);
            #[unroll]
            for part in 0..comptime!(per_word / 4) {
                let shift = comptime!(16 * part as u32);
                push_transposed(
                    &mut edges,
                    unpack_four(a >> shift, factors[0], offsets[0], kind),
                    unpack_four(b >> shift, factors[1], offsets[1], kind),
                    unpack_four(c >> shift, factors[2], offsets[2], kind),
                    unpack_four(d >> shift, factors[3], offsets[3], kind),
                );
            }
        }
    } else {
        #[unroll]
        for i in 0..comptime!(places.len()) {
            let a = step * 4 * word_pitch + places[i] * 2;
            let b = a + word_pitch;
            let c = b + word_pitch;
            let d = c + word_pitch;
            push_transposed(
                &mut edges,
                unpack_halves(word(words, a), word(words, a + 1), kind),
                unpack_halves(word(words, b), word(words, b + 1), kind),
                unpack_halves(word(words, c), word(words, c + 1), kind),
                unpack_halves(word(words, d), word(words, d + 1), kind),
            );
        }
    }
    edges
}

/// The block of a row that contains a place along the edges.
#[cube]
pub fn block_of(place: usize, #[comptime] kind: WeightKind) -> usize {
    place / comptime!(BLOCK / edges_per_group(kind))
}

/// Words are bound one by one, except those of F32, four at a time.
pub fn words_per_vector(kind: WeightKind) -> usize {
    if kind.float() == Some(FloatKind::F32) {
        4
    } else {
        1
    }
}

#[cube]
fn word<N: Size>(words: &Tensor<Vector<u32, N>>, at: usize) -> u32 {
    words[at].extract(0usize)
}

/// One of several places.
#[cube]
pub fn only(places: &Sequence<usize>, #[comptime] index: usize) -> Sequence<usize> {
    let mut one = Sequence::<usize>::new();
    one.push(places[index]);
    one
}

/// The number of edges stored together in a matrix that is contiguous along its edges.
pub fn edges_per_group(kind: WeightKind) -> usize {
    kind.weights_per_word().max(4)
}

/// Four rows `a b c d` of four edges each, edge by edge.
#[cube]
fn push_transposed(
    edges: &mut Sequence<Vector<f32, Four>>,
    a: Vector<f32, Four>,
    b: Vector<f32, Four>,
    c: Vector<f32, Four>,
    d: Vector<f32, Four>,
) {
    #[unroll]
    for i in 0..4usize {
        edges.push(four(a.extract(i), b.extract(i), c.extract(i), d.extract(i)));
    }
}

/// A vector made of its elements.
#[cube]
pub fn four(a: f32, b: f32, c: f32, d: f32) -> Vector<f32, Four> {
    let mut vector = Vector::<f32, Four>::new(a);
    vector.insert(1usize, b);
    vector.insert(2usize, c);
    vector.insert(3usize, d);
    vector
}
