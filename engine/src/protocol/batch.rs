//! One batch looked at closely, before a run is worth its time.

use serde::{Deserialize, Serialize};

use super::TokenPreview;

/// The rows of a run's first optimizer step, and what one step on them does to a throw-away adapter. Losses are negative
/// log-likelihoods, natural logarithm, without dropout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchPreview {
    /// In the order of the step's micro-batches.
    pub rows: Vec<BatchRow>,
    /// Mean over the scored tokens, of the model as it is loaded.
    pub loss_before: f64,
    /// As [`Self::loss_before`], after the step.
    pub loss_after: f64,
    /// Of the step's gradient, before clipping.
    pub grad_norm: f64,
    /// The schedule's greatest, which the step was taken with.
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
    /// Before the step; none where the token is not scored.
    pub loss: Option<f32>,
}
