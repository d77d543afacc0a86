//! The head's weights `W` `[v, d]`, trained whole in addition to a method, as PEFT does with `lm_head` in
//! `modules_to_save`. Where the base's head is its embedding, the trained one is a copy and the embedding stays.
//!
//! With the hidden states `H` `[s, d]` before the head (after the last norm) and the targets `y`, the gradient of the
//! summed loss is
//!
//! ```text
//! dL/dW = softmax(H W^T)^T H,   minus H_i in row y_i for every i
//! ```
//!
//! Like the loss (`train/loss.rs`), it is computed in chunks of `W`'s rows, so that `[s, v]` never exists. It needs a
//! second pass over the chunks: a share of the softmax is `exp(logit - log_sum)`, and the log-sums are known only after
//! the first. The gradient of each chunk is read to the host at once, where the optimizer is, so the device never holds
//! all `v d` numbers of it.

use burn::tensor::{Device, Tensor};
use protocol::Failure;

use crate::{
    kernels::FrozenMatrix,
    kernels::matmul,
    pacing::{Interruption, Pacing},
    tensor::read_all,
    weights::quantized::{QuantizedMatrix, WeightKind},
};

/// The number of rows that [`start`] unpacks at a time, so that a large head is never dense on the device as a whole.
const ROWS: usize = 4096;

/// Reads the base's weights, unpacked, which the trained head starts from.
///
/// # Shapes
/// - returns `[v d]`, row by row
///
/// # Errors
/// The device's failure.
pub(super) async fn start(head: &FrozenMatrix) -> Result<Vec<f32>, Failure> {
    let mut values = Vec::with_capacity(head.rows() * head.cols());
    for first in (0..head.rows()).step_by(ROWS) {
        let rows = head.slice_rows(first..(first + ROWS).min(head.rows()));
        values.extend(read_all(rows.dense()).await?);
    }
    Ok(values)
}

/// Makes a head of f32 weights on the device. The kind `F32` keeps the bits of each number in one word and has no
/// scales, so the operations take it like any quantized matrix.
///
/// # Shapes
/// - `values`: `[rows cols]`, row by row
pub(super) fn upload(values: &[f32], [rows, cols]: [usize; 2], device: &Device) -> FrozenMatrix {
    let quantized = QuantizedMatrix {
        kind: WeightKind::F32,
        rows,
        cols,
        words: values.iter().map(|value| value.to_bits()).collect(),
        scales: Vec::new(),
    };
    FrozenMatrix::from_quantized(quantized, device)
}

/// Computes the gradient of the summed loss with respect to the head's weights.
///
/// Between chunks it lets the session yield, so a stop takes effect within one chunk. `chunk` is the number of rows of
/// the head in one chunk; see [`crate::sizes::chunk_rows`].
///
/// # Shapes
/// - `hidden`: `[s, d]`, the scored positions' states after the last norm
/// - `targets`: `s` token ids below `v`
/// - `log_sums`: `[s, 1]`, the logarithms of the sums of the logits' exponentials
/// - returns `[v d]`, row by row
///
/// # Errors
/// The user's stop, or the device's failure.
///
/// # Panics
/// If a target is not below `v`.
pub async fn gradient(
    hidden: Tensor<2>,
    head: &FrozenMatrix,
    targets: &[u32],
    log_sums: Tensor<2>,
    chunk: usize,
    pacing: &Pacing<'_>,
) -> Result<Vec<f32>, Interruption> {
    let mut values = Vec::with_capacity(head.rows() * head.cols());
    for first in (0..head.rows()).step_by(chunk) {
        let rows = head.slice_rows(first..(first + chunk).min(head.rows()));
        let logits = rows.forward(hidden.clone(), None);
        let shares = (logits - log_sums.clone()).exp();
        let part = read_all(matmul(shares.transpose(), hidden.clone())).await;
        values.extend(part?);
        pacing.breathe().await?;
    }
    let d = head.cols();
    let hidden = read_all(hidden).await?;
    for (&target, hidden) in targets.iter().zip(hidden.chunks_exact(d)) {
        let row = values[target as usize * d..][..d].iter_mut();
        row.zip(hidden).for_each(|(value, hidden)| *value -= hidden);
    }
    Ok(values)
}
