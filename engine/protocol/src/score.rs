//! Scores of the base and the tuned model on held-out rows, after a run.
//!
//! Losses are means over scored tokens of the negative log-likelihood, natural logarithm. A token is scored under
//! teacher forcing, that is, predicted from the row's own tokens before it.

use serde::{Deserialize, Serialize};

use super::Side;

/// The scores of both models on one side of the split, in the form used in `evaluation.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreReport {
    pub side: Side,
    /// The dataset that the rows belong to.
    pub dataset_sha256: String,
    pub total: BothScores,
    /// Present if rows are texts with labels.
    pub labels: Option<LabelScore>,
    /// The scores of the general prompts; `None` if the model's template renders none of them.
    pub keep: Option<KeepScore>,
    /// The rows whose loss rose the most, worst first, at most [`Self::MAX_CHANGES`].
    pub worst: Vec<RowChange>,
    /// The rows whose loss fell the most, best first, at most [`Self::MAX_CHANGES`].
    pub best: Vec<RowChange>,
    /// In the order of the files, at most [`Self::MAX_ROWS`]. Empty in the message to the page, which shows only the
    /// worst and the best.
    pub rows: Vec<RowScore>,
}

impl ScoreReport {
    /// The number of rows listed as worst and as best.
    pub const MAX_CHANGES: usize = 5;
    /// The number of rows kept individually: about 1.5 MB of `evaluation.json`.
    pub const MAX_ROWS: usize = 10_000;
}

/// The scores of both models on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BothScores {
    pub num_rows: usize,
    /// The number of tokens that the losses cover.
    pub scored_tokens: u64,
    pub base: ModelScore,
    pub tuned: ModelScore,
}

/// The score of a model on some rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelScore {
    pub loss: f64,
    /// `exp(loss)`, at most the largest finite number.
    pub perplexity: f64,
    /// The share of scored tokens that are the likeliest at their positions.
    pub token_accuracy: f64,
    /// The number of rows for which greedy decoding writes everything that is scored, to the end. If every scored token
    /// is the likeliest under teacher forcing, decoding takes the same path, so none is needed.
    pub exact_matches: usize,
}

/// The scores of a row under both models.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RowScore {
    /// The 0-based row number in the dropped file; for a general prompt, its index among them.
    pub row: usize,
    pub scored_tokens: usize,
    pub base_loss: f64,
    pub tuned_loss: f64,
    /// See [`ModelScore::exact_matches`].
    pub base_exact: bool,
    pub tuned_exact: bool,
}

impl RowScore {
    /// How much the run raised the row's loss.
    pub fn rise(&self) -> f64 {
        self.tuned_loss - self.base_loss
    }
}

/// A row and its prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowChange {
    pub score: RowScore,
    /// 0-based, among the usable rows, as in the table.
    pub place: usize,
    /// The start of the prompt, or of the text if there is no prompt.
    pub prompt: String,
}

/// The scores on general prompts, which show what the run did to the rest of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeepScore {
    pub total: BothScores,
    pub prompts: Vec<RowChange>,
}

/// Which of a dataset's labels the models find the likeliest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelScore {
    /// Most frequent in the dataset first.
    pub labels: Vec<String>,
    /// The number of scored rows, each scored once per label. Rows that are cut are left out.
    pub num_rows: usize,
    /// The number of rows whose own label is the likeliest.
    pub base_right: usize,
    pub tuned_right: usize,
    /// The number of rows that the dataset's most frequent label gets right, without any model.
    pub most_frequent_right: usize,
    /// Confusion matrices: `[own label][likeliest label]` in rows, in the order of `labels`.
    pub base_confusion: Vec<Vec<usize>>,
    pub tuned_confusion: Vec<Vec<usize>>,
}
