//! A close look at one batch, before spending time on a run.

use serde::{Deserialize, Serialize};

use super::TokenPreview;

/// The rows of a run's first optimizer step, and the effect of one step on them on an adapter that is discarded. Losses
/// are negative log-likelihoods, natural logarithm, without dropout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchPreview {
    /// In the order of the step's micro-batches.
    pub rows: Vec<BatchRow>,
    /// The mean over the scored tokens, for the model as loaded.
    pub loss_before: f64,
    /// Like [`Self::loss_before`], after the step.
    pub loss_after: f64,
    /// The norm of the step's gradient, before clipping.
    pub grad_norm: f64,
    /// The schedule's highest rate, which the step used.
    pub learning_rate: f64,
    pub scored_tokens: u64,
}

/// A row of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchRow {
    /// 0-based row number in the dropped file.
    pub row: usize,
    pub tokens: Vec<BatchToken>,
}

/// A token of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchToken {
    pub token: TokenPreview,
    /// The loss before the step; `None` if the token is not scored.
    pub loss: Option<f32>,
}
