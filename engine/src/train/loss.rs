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
//! a running softmax (Dao et al., arXiv 2205.14135), one walk over chunks of the vocabulary keeps the running maximum,
//! the running sum and the weighted mean of rows; each logit is computed once and dropped.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{kernels::matmul, layers::frozen::FrozenMatrix};

/// Logits held at a time, at most (16 MiB in f32).
const MAX_LOGITS: usize = 4 << 20;
/// Rows of the head that are unpacked at a time, at most and at least.
const MAX_CHUNK: usize = 8192;
const MIN_CHUNK: usize = 512;

/// Summed loss and its gradient.
pub struct HeadLoss {
    /// Sum of negative log-likelihoods, natural logarithm, `[1]`.
    pub nll_sum: Tensor<1>,
    /// `[s, d]`, where it was asked for.
    pub gradient: Option<Tensor<2>>,
}

/// Rows of the head in one chunk for `num_scored` hidden states.
pub fn chunk_rows(num_scored: usize) -> usize {
    (MAX_LOGITS / num_scored.max(1)).clamp(MIN_CHUNK, MAX_CHUNK)
}

/// The walk over the vocabulary; awaits `between_chunks` after each chunk and ends early on its error.
///
/// # Errors
/// Whatever `between_chunks` returns.
pub async fn cross_entropy<E>(
    hidden: Tensor<2>,
    head: &FrozenMatrix,
    targets: &[u32],
    with_gradient: bool,
    device: &Device,
    between_chunks: impl AsyncFn() -> Result<(), E>,
) -> Result<HeadLoss, E> {
    let num_scored = targets.len();
    let chunk = chunk_rows(num_scored);
    let mut running = Running::new(num_scored, device);
    for start in (0..head.rows()).step_by(chunk) {
        let rows = head.slice_rows(start..(start + chunk).min(head.rows()));
        running.add(&hidden, rows.dense(), with_gradient);
        between_chunks().await?;
    }
    let target_rows = head.select_rows(targets, device);
    let target_logits = (hidden * target_rows.clone()).sum_dim(1);
    let Running {
        maximum,
        sum,
        weighted_rows,
    } = running;
    let nll_sum = (sum.clone().log() + maximum - target_logits).sum();
    let gradient = weighted_rows.map(|rows| rows / sum - target_rows);
    Ok(HeadLoss { nll_sum, gradient })
}

/// What is known after some chunks; `[s, 1]` and `[s, d]`.
struct Running {
    maximum: Tensor<2>,
    /// Sum of `exp(logit - maximum)`.
    sum: Tensor<2>,
    /// Sum of `exp(logit - maximum) W_v`.
    weighted_rows: Option<Tensor<2>>,
}

impl Running {
    fn new(num_scored: usize, device: &Device) -> Self {
        // Below any logit, yet finite: the first rescaling is by exp(-huge) = 0.
        let lowest = TensorData::new(vec![-1e30f32; num_scored], [num_scored, 1]);
        Self {
            maximum: Tensor::from_data(lowest, device),
            sum: Tensor::zeros([num_scored, 1], device),
            weighted_rows: None,
        }
    }

    /// `rows` is a chunk `[c, d]` of the head.
    fn add(&mut self, hidden: &Tensor<2>, rows: Tensor<2>, with_gradient: bool) {
        let logits = matmul(hidden.clone(), rows.clone().transpose());
        let maximum = self.maximum.clone().max_pair(logits.clone().max_dim(1));
        let exponentials = (logits - maximum.clone()).exp();
        let rescale = (self.maximum.clone() - maximum.clone()).exp();
        self.sum = self.sum.clone() * rescale.clone() + exponentials.clone().sum_dim(1);
        if with_gradient {
            let added = matmul(exponentials, rows);
            self.weighted_rows = Some(match self.weighted_rows.take() {
                Some(weighted) => weighted * rescale + added,
                None => added,
            });
        }
        self.maximum = maximum;
    }
}
