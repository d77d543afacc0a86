//! The dataset as the page sees it.

use serde::{Deserialize, Serialize};

/// Where a dataset comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum DatasetSource {
    /// `File`s beside the message, read in this order; rows are numbered through.
    Files { names: Vec<String> },
    /// Text that came with the page or was pasted.
    Text { name: String, text: String },
}

/// What of a row is learnt. `text` is always learnt whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainOn {
    /// What the assistant says in every turn, and the completion; TRL's `assistant_only_loss` and
    /// `completion_only_loss`.
    #[default]
    AssistantTurns,
    /// What the assistant says in its last turn, and the completion.
    LastTurn,
    /// Every token but the first, prompts as well; TRL's plain language modelling.
    Everything,
}

/// How rows become training examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSpec {
    #[serde(default)]
    pub train_on: TrainOn,
    /// Longer rows are cut to this many tokens.
    pub max_seq_length: usize,
    /// Share of the usable rows held out, 0 to 0.9; at least one row where it is above 0 and there are two.
    pub validation_split: f64,
    pub seed: u64,
}

impl Default for DataSpec {
    fn default() -> Self {
        Self {
            train_on: TrainOn::default(),
            max_seq_length: 512,
            validation_split: 0.1,
            seed: 42,
        }
    }
}

/// The shape that a row was recognised as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowShape {
    /// `messages`: a list of `role` and `content`; by default every assistant turn is trained.
    Messages,
    /// `prompt` and `completion`; by default the completion is trained.
    PromptCompletion,
    /// `text`: all of it is trained.
    Text,
}

/// A dataset after reading, before tokenising.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    pub names: Vec<String>,
    pub file_bytes: u64,
    /// Of the files' bytes one after the other.
    pub sha256: String,
    /// Rows in the files, the refused ones included.
    pub num_rows: usize,
    /// Rows that can be read.
    pub num_usable_rows: usize,
    /// How many rows have each shape, most first.
    pub shapes: Vec<(RowShape, usize)>,
    /// The first refused rows (100 at most).
    pub problems: Vec<RowProblem>,
    pub num_problems: usize,
    /// Rows that are equal to an earlier one.
    pub num_duplicates: usize,
    /// The first rows (50 at most); [`super::Command::ListRows`] asks for others.
    pub first_rows: Vec<RowSummary>,
}

/// A row that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowProblem {
    /// 0-based, counted over all rows of the files.
    pub row: usize,
    pub file: String,
    /// 1-based, where the format has lines.
    pub line: Option<usize>,
    /// 1-based, in characters.
    pub column: Option<usize>,
    pub what: String,
    pub remedy: String,
}

/// One row for the table. Texts are cut to 300 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSummary {
    /// 0-based row number in the dropped file.
    pub row: usize,
    pub shape: RowShape,
    pub prompt: String,
    pub completion: String,
    pub num_turns: usize,
}

/// A dataset after tokenising under a [`DataSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreparedSummary {
    pub spec: DataSpec,
    pub num_training_rows: usize,
    pub num_validation_rows: usize,
    pub training_tokens: u64,
    /// Tokens that the loss is taken over in one epoch.
    pub scored_tokens: u64,
    pub num_truncated: usize,
    /// Rows left out because no token would be trained (the answer lies behind the cut, or is empty).
    pub num_without_target: usize,
    /// The first rows left out.
    pub problems: Vec<RowProblem>,
    pub longest_tokens: usize,
    pub median_tokens: usize,
}

/// One row as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowPreview {
    pub row: usize,
    pub tokens: Vec<TokenPreview>,
    /// Tokens cut off the end.
    pub num_truncated: usize,
    pub is_held_out: bool,
}

/// One token of a rendered row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPreview {
    pub id: u32,
    pub text: String,
    /// Whether the loss is taken on it.
    pub is_trained: bool,
    /// Whether it is one of the tokenizer's special tokens.
    pub is_special: bool,
}
