//! The dataset as the page sees it.

use serde::{Deserialize, Serialize};

use super::{Mapping, ReadSpec};

/// Where a dataset comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetSource {
    /// `File`s that come with the message, read in this order; rows are numbered across all files.
    Files { names: Vec<String> },
    /// Text that came with the page or was pasted.
    Text { name: String, text: String },
}

/// Which part of a row is learned. A `text` is always learned whole.
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
    /// Share of the usable rows held out, 0 to 0.9; at least one row where it is above 0 and there are two. Where a file
    /// holds the validation rows ([`Self::file_sides`]), it has no effect; otherwise it is taken of the training rows.
    pub validation_split: f64,
    /// Share of the usable rows kept from training and validation alike, until the test is asked for; as above.
    #[serde(default)]
    pub test_split: f64,
    pub seed: u64,
    /// Rows that any of these was found about are left out.
    #[serde(default)]
    pub leave_out: Vec<FindingKind>,
    /// How special tokens that are spelled out in a row's texts are encoded.
    #[serde(default)]
    pub control_tokens: ControlTokens,
    /// What the rows of some files are for, where the user decided it; other files follow [`FileSummary::split`].
    #[serde(default)]
    pub file_sides: Vec<FileSide>,
}

/// How special tokens that are spelled out in texts of a row are encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlTokens {
    /// As the special tokens themselves, as TRL encodes them.
    #[default]
    AsTokens,
    /// As ordinary text, so that no text of a row can end a turn or begin one.
    AsText,
}

/// What the rows of a file are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSide {
    /// As in [`FileSummary::name`].
    pub file: String,
    pub side: Side,
}

impl Default for DataSpec {
    fn default() -> Self {
        Self {
            train_on: TrainOn::default(),
            max_seq_length: 512,
            validation_split: 0.1,
            test_split: 0.0,
            seed: 42,
            leave_out: Vec::new(),
            control_tokens: ControlTokens::default(),
            file_sides: Vec::new(),
        }
    }
}

/// The shape that a row was recognized as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowShape {
    /// A list of messages, as OpenAI's or ShareGPT's; by default the assistant's turns are trained.
    Messages,
    /// A prompt and its completion, also as input and output, question and answer, or Alpaca's; by default the
    /// completion is trained.
    PromptCompletion,
    /// All of it is trained.
    Text,
    /// A text and its label; the label is trained.
    Classification,
    /// Two answers of which one is better, or one that is marked as good or bad; only good ones are trained.
    Preference,
}

/// A dataset after reading, before tokenizing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DatasetSummary {
    pub names: Vec<String>,
    pub file_bytes: u64,
    /// The hash of the files' bytes, one file after the other.
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
    /// The first rows (50 at most); [`super::ReaderCommand::ListRows`] asks for others.
    pub first_rows: Vec<RowSummary>,
    /// As it was read.
    pub spec: ReadSpec,
    /// What most rows were read as; `None` where none was usable.
    pub mapping: Option<Mapping>,
    /// The files with rows, those inside archives by their own names.
    pub files: Vec<FileSummary>,
    /// What concerns a file and no row: entries of an archive that were passed over, characters that were lost.
    pub notes: Vec<String>,
    /// The fields of the first rows, by path, in the order of the files.
    pub columns: Vec<ColumnSummary>,
    /// What was found about usable rows, worst first; kinds without a row are left out.
    pub findings: Vec<Finding>,
    /// How many rows have each label, most first (1,000 at most), where rows are texts with labels.
    pub labels: Vec<(String, usize)>,
    /// Files that could not be read, while others could.
    #[serde(default)]
    pub refused_files: Vec<FileProblem>,
    /// What rows that held one message each became, where there were such.
    #[serde(default)]
    pub gathered: Option<GatheredSummary>,
    /// The first records (8 at most) as they stand in the files: each field's name and its value, cut to 120 characters.
    #[serde(default)]
    pub first_records: Vec<Vec<(String, String)>>,
    /// A mapping guessed from what the columns hold, to be asked about; only where no row was usable.
    #[serde(default)]
    pub suggestion: Option<Mapping>,
}

/// A file that cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProblem {
    pub file: String,
    /// A sentence without its full stop, which names the file.
    pub what: String,
    pub remedy: String,
}

/// Rows of one message each that were gathered to conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatheredSummary {
    pub num_messages: usize,
    pub num_conversations: usize,
    /// Column of the conversations' ids.
    pub conversation: String,
    /// Column that orders the messages of a conversation; without one they keep the order of the files.
    pub order: Option<String>,
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileSummary {
    /// An archive's entries follow its name: `data.zip/train.csv`.
    pub name: String,
    /// In words, such as `CSV with semicolons, gzipped`.
    pub format: String,
    /// Such as `UTF-8`, `windows-1252`; empty for formats that have none.
    pub encoding: String,
    pub num_rows: usize,
    /// What its rows are for by its name, such as `test` for `data/test.jsonl`. `None` where the name does not say it,
    /// and where no file would be left to train on.
    #[serde(default)]
    pub split: Option<Side>,
}

/// A field that rows have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// See [`super::Mapping`].
    pub path: String,
    /// In words: `text`, `number`, `list of messages`, `list`, ...
    pub kind: String,
    /// Rows that have a value there, of the first `num_seen` rows.
    pub num_filled: usize,
    pub num_seen: usize,
    /// The first value, cut to 80 characters.
    pub example: String,
}

/// What can be found about a usable row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Equal to an earlier row.
    Duplicate,
    /// Nearly equal to an earlier row.
    NearDuplicate,
    /// Looks like a password or a key to a service.
    Secret,
    /// Has an e-mail address.
    Email,
    /// Has characters of a text that was decoded wrongly.
    BrokenEncoding,
    /// Has nothing to learn.
    EmptyAnswer,
    /// One label has ten times the rows of another, or more. About the dataset, not about rows.
    UnbalancedLabels,
    /// A field is a word for a missing value, such as `nan` or `NULL`.
    MissingValue,
    /// Its answer is marked as bad or as not to be learned, as by a weight of 0 or KTO's `"label": false`. Such rows are never trained.
    BadAnswer,
}

/// Something found about usable rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: FindingKind,
    pub num_rows: usize,
    /// The first rows (100 at most), each with what was found about it.
    pub rows: Vec<RowProblem>,
    /// Whether rows of this kind can be left out ([`DataSpec::leave_out`]).
    pub can_leave_out: bool,
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
    pub findings: Vec<FindingKind>,
}

/// A dataset after tokenizing under a [`DataSpec`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PreparedSummary {
    pub spec: DataSpec,
    pub num_training_rows: usize,
    /// Rows of `max_seq_length` tokens that the training rows make where they are packed.
    #[serde(default)]
    pub num_packed_rows: usize,
    pub num_validation_rows: usize,
    pub num_test_rows: usize,
    /// Rows left out because of what was found about them.
    pub num_left_out: usize,
    /// Held-out rows that stand among the training rows, too.
    pub num_leaked: usize,
    pub training_tokens: u64,
    /// Tokens that the loss is taken over in one epoch.
    pub scored_tokens: u64,
    pub num_truncated: usize,
    /// Rows left out because no token would be trained (the answer lies beyond the cut, or is empty).
    pub num_without_target: usize,
    /// The first rows left out.
    pub problems: Vec<RowProblem>,
    pub longest_tokens: usize,
    pub median_tokens: usize,
    /// Rows by their length before it was cut, those without target included.
    pub lengths: Histogram,
    /// Rows left out because they cannot be rendered or tokenized for the model.
    #[serde(default)]
    pub num_not_encoded: usize,
    /// Special tokens of the tokenizer that are spelled out in texts of rows.
    #[serde(default)]
    pub control_tokens: ControlTokensFound,
    /// How most rows begin.
    #[serde(default)]
    pub preamble: Preamble,
}

/// What comes before the first turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Preamble {
    /// Empty if there is none; chat templates may then write their own.
    pub system_prompt: String,
    /// JSON of each tool that may be called.
    pub tools: Vec<String>,
}

/// Special tokens that are spelled out in texts of rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ControlTokensFound {
    /// Those that were found, each once, in the order in which they came (10 at most).
    pub tokens: Vec<String>,
    /// Rows that hold any.
    pub num_rows: usize,
    /// The first of those rows (100 at most), each with the token that it holds.
    pub rows: Vec<RowProblem>,
}

/// How often lengths occur: `counts[i]` rows have from `i bin_tokens` to below `(i + 1) bin_tokens` tokens, and the last
/// bin has all that are longer, too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Histogram {
    pub bin_tokens: usize,
    pub counts: Vec<usize>,
}

/// One row as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowPreview {
    pub row: usize,
    pub tokens: Vec<TokenPreview>,
    /// Tokens cut off the end.
    pub num_truncated: usize,
    pub side: Option<Side>,
    pub findings: Vec<FindingKind>,
}

/// What a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Train,
    /// Held out: scored while the run lasts.
    Validation,
    /// Kept back until the test is asked for.
    Test,
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
