//! The head's weights `W` `[v, d]`, trained whole in addition to a method, as PEFT does with `lm_head` in
//! `modules_to_save`. Where the base's head is its embedding, the trained one is a copy and the embedding stays.
//!
//! With the hidden states `H` `[s, d]` before the head and the targets `y`, the gradient of the summed loss is
//! `dL/dW = softmax(H W^T)^T H`, minus `H_i` in row `y_i`; like the loss, it is computed in chunks of rows.

use burn::tensor::{Device, Tensor};
use protocol::Failure;

use crate::{
    kernels::FrozenMatrix,
    kernels::matmul,
    pacing::{Interruption, Pacing},
    tensor::read_all,
    weights::packed::{PackedKind, PackedMatrix},
};

/// The number of rows unpacked at a time.
const ROWS: usize = 4096;

/// The base's weights, unpacked.
pub(super) async fn start(head: &FrozenMatrix) -> Result<Vec<f32>, Failure> {
    let mut values = Vec::with_capacity(head.rows() * head.cols());
    for first in (0..head.rows()).step_by(ROWS) {
        let rows = head.slice_rows(first..(first + ROWS).min(head.rows()));
        values.extend(read_all(rows.dense()).await?);
    }
    Ok(values)
}

pub(super) fn upload(values: &[f32], [rows, cols]: [usize; 2], device: &Device) -> FrozenMatrix {
    let packed = PackedMatrix {
        kind: PackedKind::F32,
        rows,
        cols,
        words: values.iter().map(|value| value.to_bits()).collect(),
        scales: Vec::new(),
    };
    FrozenMatrix::from_packed(packed, device)
}

/// The gradient of the summed loss, `[v d]`; `log_sums` are the logarithms of the sums of the logits' exponentials, `[s, 1]`.
///
/// # Errors
/// The user's stop, or the device's failure.
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
