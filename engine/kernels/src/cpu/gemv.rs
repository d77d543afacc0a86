//! `x W^T` for a few rows of `x`, as generation needs it: `W` is read once, row by row, and never written unpacked.

use super::{
    decode::{Codec, d_and_m, with_codec},
    matrix::{Quantized, Strided},
    parallel::{self, Shared},
    simd::{F32x4, LANES},
};
use crate::quantized::BLOCK;

/// Rows of `x` up to which this is faster than [`super::gemm`].
pub const MAX_ROWS: usize = 4;
/// Weights decoded at a time.
const STRIDE: usize = 2 * LANES;

/// `x` is `[n, cols]` with its rows contiguous, `out` `[n, rows]`.
pub fn gemv(x: Strided<'_>, weights: Quantized<'_>, out: &mut [f32]) {
    let has_minimum = weights.kind.blocks().is_some_and(|it| it.has_minimum);
    if has_minimum {
        with_codec!(weights.kind, C => gemv_of::<C, true>(x, weights, out));
    } else {
        with_codec!(weights.kind, C => gemv_of::<C, false>(x, weights, out));
    }
}

/// `M` is whether blocks have a minimum.
fn gemv_of<C: Codec, const M: bool>(x: Strided<'_>, weights: Quantized<'_>, out: &mut [f32]) {
    let rows = weights.rows;
    // What a block's offset adds: `m` times the sum of its inputs, or `d` times as many zeros.
    let of_sum = match (C::HAS_SCALES, M) {
        (false, _) => None,
        (true, true) => Some(1.0),
        (true, false) => Some(-weights.zero),
    };
    let inputs: Vec<Input> = (0..x.rows).map(|row| Input::new(x, row, of_sum)).collect();
    let shared = Shared::new(out);
    parallel::for_ranges(rows, inputs.len() * weights.cols, |range| {
        for (index, input) in inputs.iter().enumerate() {
            // SAFETY: ranges are disjoint, and so are the rows of the output.
            let out = unsafe { shared.part(index * rows + range.start..index * rows + range.end) };
            for (row, out) in range.clone().zip(out) {
                *out = dot::<C, M>(weights, row, input);
            }
        }
    });
}

/// A row of `x`, padded with zeros, and the sums of its blocks, times a factor.
struct Input {
    values: Vec<f32>,
    block_sums: Vec<f32>,
}

impl Input {
    /// Without a factor there are no sums.
    fn new(x: Strided<'_>, row: usize, factor: Option<f32>) -> Self {
        let row = x.rows_from(row, 1);
        let mut values = row.first_row().to_vec();
        values.resize(row.cols.next_multiple_of(STRIDE), 0.0);
        let sums = |factor: f32| {
            let blocks = values.chunks(BLOCK);
            blocks
                .map(|block| factor * block.iter().sum::<f32>())
                .collect()
        };
        let block_sums = factor.map(sums).unwrap_or_default();
        Self { values, block_sums }
    }
}

/// `sum_j x_j (d q_j + offset)`, block by block: `d sum_j x_j q_j + offset sum_j x_j`, where the offset is `m` or `-zero d`.
#[inline(always)]
fn dot<C: Codec, const M: bool>(weights: Quantized<'_>, row: usize, input: &Input) -> f32 {
    let (words, scales) = (weights.words_of(row), weights.scales_of(row));
    let words_per_stride = STRIDE / C::PER_WORD;
    if !C::HAS_SCALES {
        let words = words.chunks(words_per_stride);
        return fields::<C>(words, &input.values).sum();
    }
    let words_per_block = BLOCK / C::PER_WORD;
    let (mut sum, mut offsets) = (F32x4::zero(), 0.0f32);
    for (((words, x), &scale), block_sum) in words
        .chunks_exact(words_per_block)
        .zip(input.values.chunks_exact(BLOCK))
        .zip(scales)
        .zip(&input.block_sums)
    {
        let (d, m) = d_and_m(scale);
        let products = fields::<C>(words.chunks_exact(words_per_stride), x);
        sum = products.mul_add(F32x4::splat(d), sum);
        offsets += if M { m } else { d } * block_sum;
    }
    sum.sum() + offsets
}

/// Sums of products of fields and inputs, lane by lane.
#[inline(always)]
fn fields<'a, C: Codec>(words: impl Iterator<Item = &'a [u32]>, x: &[f32]) -> F32x4 {
    let (mut even, mut odd) = (F32x4::zero(), F32x4::zero());
    for (words, x) in words.zip(x.chunks_exact(STRIDE)) {
        let [low, high] = C::eight(words);
        even = low.mul_add(F32x4::of(x), even);
        odd = high.mul_add(F32x4::of(&x[LANES..]), odd);
    }
    even.plus(odd)
}
