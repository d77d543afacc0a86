//! Base and tuned model over held-out rows, once a run is over.
//!
//! Losses are means over scored tokens of the negative log-likelihood, natural logarithm. A token is scored under teacher
//! forcing, that is predicted from the row's own tokens before it.

use serde::{Deserialize, Serialize};

use super::Side;

/// What both models make of the rows of one side of the split. So it stands in `evaluation.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreReport {
    pub side: Side,
    /// Whose rows they are.
    pub dataset_sha256: String,
    pub total: BothScores,
    /// Where rows are texts with labels.
    pub labels: Option<LabelScore>,
    /// The model's general prompts; `None` where its template renders none of them.
    pub keep: Option<KeepScore>,
    /// The rows whose loss rose the most, worst first, at most [`Self::MAX_CHANGES`].
    pub worst: Vec<RowChange>,
    /// The rows whose loss fell the most, best first, as many.
    pub best: Vec<RowChange>,
    /// In the order of the files, at most [`Self::MAX_ROWS`]. None in the message to the page, which shows the worst and
    /// the best.
    pub rows: Vec<RowScore>,
}

impl ScoreReport {
    /// Rows listed as the worst and as the best.
    pub const MAX_CHANGES: usize = 5;
    /// Rows that are kept one by one: about 1.5 MB of `evaluation.json`.
    pub const MAX_ROWS: usize = 10_000;
}

/// Both models over the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BothScores {
    pub num_rows: usize,
    /// Tokens that the losses are taken on.
    pub scored_tokens: u64,
    pub base: ModelScore,
    pub tuned: ModelScore,
}

/// A model over some rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelScore {
    pub loss: f64,
    /// `exp(loss)`, at most the largest number there is.
    pub perplexity: f64,
    /// Share of the scored tokens that are the likeliest where they stand.
    pub token_accuracy: f64,
    /// Rows of which greedy decoding writes all that is scored, to its end. Where every scored token is the likeliest under
    /// teacher forcing, decoding goes the same way, so that none is needed.
    pub exact_matches: usize,
}

/// A row under both models.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RowScore {
    /// 0-based row number in the dropped file; of a general prompt its place among them.
    pub row: usize,
    pub scored_tokens: usize,
    pub base_loss: f64,
    pub tuned_loss: f64,
    /// See [`ModelScore::exact_matches`].
    pub base_exact: bool,
    pub tuned_exact: bool,
}

impl RowScore {
    /// By how much the run raised the row's loss.
    pub fn rise(&self) -> f64 {
        self.tuned_loss - self.base_loss
    }
}

/// A row and what it asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowChange {
    pub score: RowScore,
    /// 0-based, among the usable rows, as the table has them.
    pub place: usize,
    /// The start of the prompt, or of the text where there is none.
    pub prompt: String,
}

/// Prompts of general use that no dataset asked for: what the run did to the rest of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeepScore {
    pub total: BothScores,
    pub prompts: Vec<RowChange>,
}

/// Which of a dataset's labels the models take for the likeliest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelScore {
    /// Most frequent in the dataset first.
    pub labels: Vec<String>,
    /// Scored rows, each once for every label. Rows that are cut are left out.
    pub num_rows: usize,
    /// Rows whose own label is the likeliest.
    pub base_right: usize,
    pub tuned_right: usize,
    /// Rows that the dataset's most frequent label would get right, without any model.
    pub most_frequent_right: usize,
    /// Confusion matrices: `[own label][likeliest label]` in rows, in the order of `labels`.
    pub base_confusion: Vec<Vec<usize>>,
    pub tuned_confusion: Vec<Vec<usize>>,
}
