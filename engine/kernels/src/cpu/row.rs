//! Operations on rows: norms, rotations, activations, softmax. All loops take four elements at a time.

use std::ops::Range;

use super::{
    parallel::{self, Shared},
    simd::{F32x4, LANES},
};
use crate::{
    Activation,
    activation::{CUBIC, LINEAR},
};

/// The work per element of a row, in multiplications: some operations, and a division or an exponential.
const WORK_PER_ELEMENT: usize = 8;

/// Calls `work` with every row of `width` elements of `out` and its number, on all threads.
pub fn for_each_row(out: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Send + Sync) {
    let rows = out.len() / width.max(1);
    let shared = Shared::new(out);
    parallel::for_ranges(rows, WORK_PER_ELEMENT * width, |range| {
        for row in range {
            // SAFETY: every row is handed out once.
            work(row, unsafe { shared.part(row * width..(row + 1) * width) });
        }
    });
}

/// `sum x y`
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let (x_fours, y_fours) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f32 = std::iter::zip(x_fours.remainder(), y_fours.remainder())
        .map(|(x, y)| x * y)
        .sum();
    let mut sums = F32x4::zero();
    for (x, y) in x_fours.zip(y_fours) {
        sums = F32x4::of(x).mul_add(F32x4::of(y), sums);
    }
    sums.sum() + rest
}

/// `sum x y z`
fn dot_of_three(x: &[f32], y: &[f32], z: &[f32]) -> f32 {
    let [x, y, z] = [x, y, z].map(|row| row.chunks_exact(LANES));
    let [x_rest, y_rest, z_rest] = [&x, &y, &z].map(|fours| padded(fours.remainder()));
    let mut sums = x_rest.times(y_rest).times(z_rest);
    for ((x, y), z) in x.zip(y).zip(z) {
        let [x, y, z] = [x, y, z].map(F32x4::of);
        sums = x.times(y).mul_add(z, sums);
    }
    sums.sum()
}

/// `out += x`
pub fn add(x: &[f32], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

/// `out += factor x`
pub fn add_scaled(x: &[f32], factor: f32, out: &mut [f32]) {
    map_with(out, [x], |out, [x]| x.mul_add(F32x4::splat(factor), out));
}

/// Replaces every element by `function` of it.
#[inline(always)]
fn map(row: &mut [f32], function: impl Fn(F32x4) -> F32x4) {
    let mut fours = row.chunks_exact_mut(LANES);
    for four in &mut fours {
        function(F32x4::of(four)).write(four);
    }
    let rest = fours.into_remainder();
    let result = function(padded(rest)).to_array();
    rest.copy_from_slice(&result[..rest.len()]);
}

/// `factor x`
pub fn scale(row: &mut [f32], factor: f32) {
    map(row, |x| x.times(F32x4::splat(factor)));
}

/// The largest element, -infinity where there is none, NaN where one is.
pub fn largest(row: &[f32]) -> f32 {
    let fours = row.chunks_exact(LANES);
    let mut padded = [f32::NEG_INFINITY; LANES];
    padded[..fours.remainder().len()].copy_from_slice(fours.remainder());
    let rest = F32x4::of(&padded);
    fours
        .fold(rest, |largest, four| largest.max(F32x4::of(four)))
        .largest()
}

/// Replaces `x` with `exp(factor x - shift)` and returns the sum.
pub fn exponentials(row: &mut [f32], factor: f32, shift: f32) -> f32 {
    let exp = |x: F32x4| x.mul_add(F32x4::splat(factor), F32x4::splat(-shift)).exp();
    let mut sums = F32x4::zero();
    let mut fours = row.chunks_exact_mut(LANES);
    for four in &mut fours {
        let x = exp(F32x4::of(four));
        sums = sums.plus(x);
        x.write(four);
    }
    let mut sum = sums.sum();
    for x in fours.into_remainder() {
        *x = exp(F32x4::splat(*x)).to_array()[0];
        sum += *x;
    }
    sum
}

/// Softmax of `factor x` over the `visible` elements, zeros around them; returns the log-sum-exp.
pub fn softmax(row: &mut [f32], visible: Range<usize>, factor: f32) -> f32 {
    let seen = hide_others(row, visible);
    let largest = largest(seen) * factor;
    let sum = exponentials(seen, factor, largest);
    scale(seen, 1.0 / sum);
    sum.ln() + largest
}

/// Turns scores back into softmax weights, and gradients of weights into gradients of scores: `p = exp(factor s -
/// log_sum)`, `ds = factor p (dp - projection)`; zeros around the `visible` elements.
pub fn softmax_backward(
    scores: &mut [f32],
    gradients: &mut [f32],
    visible: Range<usize>,
    factor: f32,
    log_sum: f32,
    projection: f32,
) {
    let scores = hide_others(scores, visible.clone());
    let gradients = hide_others(gradients, visible);
    exponentials(scores, factor, log_sum);
    for (gradient, weight) in gradients.iter_mut().zip(scores) {
        *gradient = (*gradient - projection) * *weight * factor;
    }
}

/// Sets the elements outside a range to zero, and returns those inside.
fn hide_others(row: &mut [f32], visible: Range<usize>) -> &mut [f32] {
    row[visible.end..].fill(0.0);
    row[..visible.start].fill(0.0);
    &mut row[visible]
}

/// `1 / rms(x)`; not a reciprocal, so that an overflow becomes NaN and not zero.
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mean = dot(x, x) / x.len() as f32 + eps;
    mean.sqrt() / mean
}

/// See [`crate::KernelOps::rms_norm`].
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let inverse = inverse_rms(x, eps);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * inverse * weight;
    }
}

/// See [`crate::KernelOps::rms_norm_backward`]; `out` holds the residual.
pub fn rms_norm_backward(dy: &[f32], x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let inverse = inverse_rms(x, eps);
    let projection = dot_of_three(dy, weight, x) / x.len() as f32 * inverse * inverse;
    for (((out, dy), x), weight) in out.iter_mut().zip(dy).zip(x).zip(weight) {
        *out += (dy * weight - x * projection) * inverse;
    }
}

/// Rotates every head of a row; `cos` and `sin` are its position's.
pub fn rope(row: &mut [f32], cos: &[f32], sin: &[f32], inverse: bool) {
    let sign = if inverse { -1.0 } else { 1.0 };
    for head in row.chunks_exact_mut(2 * cos.len()) {
        let (first, second) = head.split_at_mut(cos.len());
        for (((x, y), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let sin = sign * sin;
            (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
        }
    }
}

fn sigmoid(x: F32x4) -> F32x4 {
    let one = F32x4::splat(1.0);
    one.over(one.plus(F32x4::zero().minus(x).exp()))
}

/// Calls `function` with groups of four elements of several slices of equal length, the last padded with zeros; its
/// results replace those of the first slice.
#[inline(always)]
fn map_with<const N: usize>(
    out: &mut [f32],
    others: [&[f32]; N],
    function: impl Fn(F32x4, [F32x4; N]) -> F32x4,
) {
    let len = out.len();
    for start in (0..len).step_by(LANES) {
        if start + LANES <= len {
            let inputs = others.map(|other| F32x4::of(&other[start..]));
            let four = &mut out[start..start + LANES];
            function(F32x4::of(four), inputs).write(four);
        } else {
            let rest = |slice: &[f32]| padded(&slice[start..]);
            let result = function(rest(out), others.map(rest)).to_array();
            out[start..].copy_from_slice(&result[..len - start]);
        }
    }
}

/// The `s(x)` of an [`Activation`], and its derivative.
trait Inner {
    fn value(x: F32x4) -> F32x4;
    fn slope(x: F32x4) -> F32x4;
}

struct Silu;

impl Inner for Silu {
    #[inline(always)]
    fn value(x: F32x4) -> F32x4 {
        x
    }

    #[inline(always)]
    fn slope(_x: F32x4) -> F32x4 {
        F32x4::splat(1.0)
    }
}

struct GeluTanh;

impl Inner for GeluTanh {
    #[inline(always)]
    fn value(x: F32x4) -> F32x4 {
        let square = x.times(x);
        square
            .mul_add(F32x4::splat(CUBIC), F32x4::splat(LINEAR))
            .times(x)
    }

    #[inline(always)]
    fn slope(x: F32x4) -> F32x4 {
        let square = x.times(x);
        square.mul_add(F32x4::splat(3.0 * CUBIC), F32x4::splat(LINEAR))
    }
}

/// Replaces `gate` with `f(gate) up`.
pub fn gated(gate: &mut [f32], up: &[f32], activation: Activation) {
    match activation {
        Activation::Silu => gated_by::<Silu>(gate, up),
        Activation::GeluTanh => gated_by::<GeluTanh>(gate, up),
    }
}

fn gated_by<S: Inner>(gate: &mut [f32], up: &[f32]) {
    map_with(gate, [up], |gate, [up]| {
        gate.times(sigmoid(S::value(gate))).times(up)
    });
}

/// Replaces `gate` and `dy` with the gradients of gate and up.
pub fn gated_backward(dy: &mut [f32], gate: &mut [f32], up: &[f32], activation: Activation) {
    match activation {
        Activation::Silu => gated_backward_by::<Silu>(dy, gate, up),
        Activation::GeluTanh => gated_backward_by::<GeluTanh>(dy, gate, up),
    }
}

fn gated_backward_by<S: Inner>(dy: &mut [f32], gate: &mut [f32], up: &[f32]) {
    let one = F32x4::splat(1.0);
    let gradients = |dy: F32x4, gate: F32x4, up: F32x4| {
        let sigmoid = sigmoid(S::value(gate));
        let bend = gate.times(one.minus(sigmoid)).times(S::slope(gate));
        let slope = bend.mul_add(sigmoid, sigmoid);
        [dy.times(up).times(slope), dy.times(gate.times(sigmoid))]
    };
    let [mut dy, mut gate] = [dy, gate].map(|row| row.chunks_exact_mut(LANES));
    let mut up = up.chunks_exact(LANES);
    for ((dy, gate), up) in (&mut dy).zip(&mut gate).zip(&mut up) {
        let [d_gate, d_up] = gradients(F32x4::of(dy), F32x4::of(gate), F32x4::of(up));
        d_gate.write(gate);
        d_up.write(dy);
    }
    let (dy, gate, up) = (dy.into_remainder(), gate.into_remainder(), up.remainder());
    let [d_gate, d_up] = gradients(padded(dy), padded(gate), padded(up));
    gate.copy_from_slice(&d_gate.to_array()[..gate.len()]);
    dy.copy_from_slice(&d_up.to_array()[..dy.len()]);
}

/// Fewer than four elements, followed by zeros.
fn padded(rest: &[f32]) -> F32x4 {
    let mut four = [0.0; LANES];
    four[..rest.len()].copy_from_slice(rest);
    F32x4::of(&four)
}
