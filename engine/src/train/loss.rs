//! Cross-entropy over the vocabulary without ever holding `[tokens, vocabulary]`.
//!
//! With hidden states `H` `[s, d]`, head `W` `[v, d]` and targets `y`, the summed negative log-likelihood and its
//! gradient are
//!
//! ```text
//! L    = sum_i log sum_v exp(H_i W_v) - H_i W_{y_i}
//! dL/dH_i = softmax(H_i W^T) W - W_{y_i}
//! ```
//!
//! so the first term of the gradient is attention of the hidden states over the rows of the head. As in attention with
//! a running softmax (Dao et al., arXiv 2205.14135), one pass over chunks of the vocabulary keeps the running maximum,
//! the running sum and the weighted mean of rows; each logit is computed once and discarded:
//!
//! ```text
//! m = -inf, z = 0, w = 0                          for every position i
//! per chunk C:  m' = max(m, max_C l)              l = H_i W_C^T, [s, c]
//!               z  = z exp(m - m') + sum_C exp(l - m')
//!               w  = w exp(m - m') + sum_C exp(l - m') W_C
//! at the end:   nll = m + log z - l_y,   dL/dH_i = w / z - W_y
//! ```
//!
//! The target's logit comes from a gather of the targets' rows of `W`, `[s, d]`, so no chunk has to look for it. The
//! running sums are [`HeadSums`]; memory is `s c + O(s d)` with `c` rows of the head in a chunk.
//!
//! The running maximum also tells whether a target is the likeliest token, `y_i = argmax_v H_i W_v`: its logit then
//! reaches the maximum. Both are the same product summed in two orders, so they agree except for rounding. A sum of `d`
//! products in 32 bits is off by about `u sqrt(d) sum_j |H_ij W_yj|`, `u = 2^-24` (Higham and Mary, SIAM J. Sci.
//! Comput. 41, 2019), and both may be off: the target counts as the likeliest if it comes within
//! `2 u sqrt(d) sum_j |H_ij W_yj|` of the maximum. A token whose lead over the target is smaller is a tie, which 32-bit
//! arithmetic cannot decide anyway.

use burn::tensor::Tensor;

use crate::kernels::{FrozenMatrix, HeadSums};

/// The loss of every scored token, and the gradient of their sum with respect to the hidden states.
pub struct HeadLoss {
    /// Negative log-likelihoods, natural logarithm, `[s, 1]`.
    pub nll: Tensor<2>,
    /// `dL/dH`, `[s, d]`; `None` if it was not requested.
    pub gradient: Option<Tensor<2>>,
    /// The logarithms of the sums of the logits' exponentials, `[s, 1]`.
    /// The gradient of a trained head needs them.
    pub log_sums: Tensor<2>,
    /// How much the largest logit exceeds the target's, minus what rounding explains, `[s, 1]`: at most 0 if the target
    /// is the likeliest token. Present if no gradient was requested.
    pub lead: Option<Tensor<2>>,
}

/// Passes over the vocabulary, `chunk` rows of the head at a time (at least one), and returns the losses of all
/// targets.
///
/// Awaits `between_chunks` after each chunk and ends early on its error. The work is proportional to `s v d`, with or
/// without a gradient; the gradient doubles it.
///
/// # Shapes
/// - `hidden`: `[s, d]` in f32, after the last norm; one row for each target
/// - `head`: `[v, d]`
/// - `targets`: `[s]`, ids below `v`
///
/// # Errors
/// Whatever `between_chunks` returns.
///
/// # Panics
/// If `chunk` is 0.
pub async fn cross_entropy<E>(
    hidden: Tensor<2>,
    head: &FrozenMatrix,
    targets: &[u32],
    chunk: usize,
    with_gradient: bool,
    between_chunks: impl AsyncFn() -> Result<(), E>,
) -> Result<HeadLoss, E> {
    let device = hidden.device();
    let mut sums = HeadSums::new(targets.len(), head.cols(), with_gradient, &device);
    for start in (0..head.rows()).step_by(chunk) {
        let rows = head.slice_rows(start..(start + chunk).min(head.rows()));
        sums = sums.add(&hidden, &rows);
        between_chunks().await?;
    }
    let target_rows = head.select_rows(targets, &device);
    let products = hidden * target_rows.clone();
    let target_logits = products.clone().sum_dim(1);
    let lead = (!with_gradient).then(|| {
        // Twice the unit roundoff is the machine epsilon.
        let relative = (head.cols() as f32).sqrt() * f32::EPSILON;
        let rounding = products.abs().sum_dim(1).mul_scalar(relative);
        sums.maximum.clone() - target_logits.clone() - rounding
    });
    // Added last: `exp(maximum)` itself would overflow.
    let log_sums = sums.sum.clone().log() + sums.maximum;
    let nll = log_sums.clone() - target_logits;
    let gradient = with_gradient.then(|| sums.weighted / sums.sum - target_rows);
    Ok(HeadLoss {
        nll,
        gradient,
        log_sums,
        lead,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use burn::tensor::Device;
    use futures_executor::block_on;

    use super::*;
    use crate::testing::{Array, KINDS, Random};

    /// The loss of every token and the gradient of the sum by the formulas, with the whole vocabulary at once.
    fn reference(hidden: &Array<2>, head: &Array<2>, targets: &[u32]) -> (Array<2>, Array<2>) {
        let logits = hidden.matmul(&head.transposed());
        let [_, v] = logits.shape;
        let mut losses = Vec::new();
        let mut d_logits = logits.clone();
        for (row, &target) in targets.iter().enumerate() {
            let target = target as usize;
            let largest = logits.row(row).iter().copied().fold(f64::MIN, f64::max);
            let exponentials = logits.row(row).iter().map(|logit| (logit - largest).exp());
            let sum: f64 = exponentials.clone().sum();
            losses.push(sum.ln() + largest - logits.at(row, target));
            for (column, exponential) in exponentials.enumerate() {
                let hit = if column == target { 1.0 } else { 0.0 };
                d_logits.values[row * v + column] = exponential / sum - hit;
            }
        }
        let losses = Array {
            shape: [targets.len(), 1],
            values: losses,
        };
        (losses, d_logits.matmul(head))
    }

    #[test]
    fn loss_and_gradient_equal_the_formulas_whatever_the_chunk() {
        let mut random = Random::new();
        for kind in KINDS {
            let [s, v] = [1..12, 2..90].map(|range| random.size(range));
            let d = if kind.has_scales() {
                32
            } else {
                random.size(1..40)
            };
            let (quantized, head) = random.quantized(kind, v, d);
            let matrix = FrozenMatrix::from_quantized(quantized, &Device::flex());
            // From nearly even logits to logits of which all but one vanish.
            let hidden = random.array([s, d]);
            let largest_logit = [0.1, 3.0, 80.0][random.size(0..3)];
            let scale = largest_logit / hidden.matmul(&head.transposed()).largest();
            let hidden = hidden.times(scale);
            let targets: Vec<u32> = (0..s).map(|_| random.size(0..v) as u32).collect();
            let (losses, gradient) = reference(&hidden, &head, &targets);
            for chunk in [1, random.size(1..v), v, v + 5] {
                let num_chunks = Cell::new(0);
                let between = async || {
                    num_chunks.set(num_chunks.get() + 1);
                    Ok::<_, ()>(())
                };
                let walk = cross_entropy(hidden.tensor(), &matrix, &targets, chunk, true, between);
                let actual = block_on(walk).unwrap();
                let what = format!("{kind:?} {s}x{d}x{v} by {chunk}");
                // An error of a logit is an error of the loss, and a relative error of its exponential.
                let error = 1e-6 * largest_logit.max(1.0);
                losses.assert_within(&what, actual.nll, error);
                let actual = actual.gradient.unwrap();
                gradient.assert_within(&what, actual, error * head.largest());
                assert_eq!(num_chunks.get(), v.div_ceil(chunk));
            }
        }
    }

    #[test]
    fn a_target_is_the_likeliest_where_it_comes_within_rounding_of_the_maximum() {
        let mut random = Random::new();
        let (mut num_likeliest, mut num_others) = (0, 0);
        for kind in KINDS {
            let [s, v] = [16..24, 20..90].map(|range| random.size(range));
            let d = if kind.has_scales() {
                64
            } else {
                random.size(8..80)
            };
            let (quantized, head) = random.quantized(kind, v, d);
            let matrix = FrozenMatrix::from_quantized(quantized, &Device::flex());
            let hidden = random.array([s, d]);
            let scale = [1.0, 30.0][random.size(0..2)];
            let hidden = hidden.times(scale);
            let logits = hidden.matmul(&head.transposed());
            // Every other target is the likeliest token.
            let target = |row: usize| {
                let order = logits.row(row).iter().enumerate();
                let best = order.max_by(|one, other| one.1.total_cmp(other.1));
                let other = random.size(0..v);
                if row.is_multiple_of(2) {
                    best.unwrap().0
                } else {
                    other
                }
            };
            let targets: Vec<usize> = (0..s).map(target).collect();
            let ids: Vec<u32> = targets.iter().map(|&target| target as u32).collect();
            for chunk in [1, random.size(1..v), v] {
                let between = async || Ok::<_, ()>(());
                let walk = cross_entropy(hidden.tensor(), &matrix, &ids, chunk, false, between);
                let leads = block_on(walk).unwrap().lead.unwrap().into_data();
                let leads: Vec<f32> = leads.try_into_vec().unwrap();
                for (row, &lead) in leads.iter().enumerate() {
                    let largest = logits.row(row).iter().copied().fold(f64::MIN, f64::max);
                    let distance = largest - logits.at(row, targets[row]);
                    let products = hidden.row(row).iter().zip(head.row(targets[row]));
                    let magnitude: f64 = products.map(|(h, w)| (h * w).abs()).sum();
                    let tolerance = (d as f64).sqrt() * 2f64.powi(-23) * magnitude;
                    // A tolerance that would hide real differences is not rounding.
                    assert!(tolerance < 1e-4 * scale * (d as f64), "{tolerance}");
                    let is_close = (f64::from(lead) - (distance - tolerance)).abs();
                    assert!(
                        is_close < 1e-5 * magnitude.max(largest.abs()),
                        "{kind:?}, {lead}"
                    );
                    if distance == 0.0 {
                        assert!(lead <= 0.0, "{kind:?}, {s}x{d}x{v} by {chunk}: {lead}");
                        num_likeliest += 1;
                    } else if distance > 3.0 * tolerance {
                        assert!(lead > 0.0, "{kind:?}, {s}x{d}x{v} by {chunk}: {distance}");
                        num_others += 1;
                    }
                }
            }
        }
        assert!(num_likeliest > 100 && num_others > 100);
    }

    #[test]
    fn no_gradient_is_made_unasked_and_an_error_ends_the_walk() {
        let mut random = Random::new();
        let (quantized, head) = random.quantized(KINDS[7], 10, 3);
        let matrix = FrozenMatrix::from_quantized(quantized, &Device::flex());
        let hidden = random.array([2, 3]);
        let (losses, _) = reference(&hidden, &head, &[4, 9]);
        let sound = async || Ok::<_, &str>(());
        let walk = cross_entropy(hidden.tensor(), &matrix, &[4, 9], 4, false, sound);
        let actual = block_on(walk).unwrap();
        losses.assert_close("losses", actual.nll, 1e-5);
        assert!(actual.gradient.is_none());
        let stopped = async || Err("stopped");
        let walk = cross_entropy(hidden.tensor(), &matrix, &[4, 9], 4, false, stopped);
        assert_eq!(block_on(walk).err(), Some("stopped"));
    }
}
