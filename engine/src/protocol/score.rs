//! Base and tuned model over held-out rows, once a run is over.

use serde::{Deserialize, Serialize};

use super::Side;

/// What both models make of the rows of one side of the split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreReport {
    pub side: Side,
    pub num_rows: usize,
    /// Tokens that the losses are taken on.
    pub scored_tokens: u64,
    /// Mean negative log-likelihood, natural logarithm.
    pub base_loss: f64,
    pub tuned_loss: f64,
    /// Where rows are texts with labels.
    pub labels: Option<LabelScore>,
}

/// Which of a dataset's labels the models take for the likeliest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelScore {
    pub num_labels: usize,
    pub num_rows: usize,
    /// Rows whose own label is the likeliest.
    pub base_right: usize,
    pub tuned_right: usize,
    /// Rows that the dataset's most frequent label would get right, without any model.
    pub most_frequent_right: usize,
}
