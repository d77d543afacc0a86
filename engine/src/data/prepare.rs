//! A whole dataset to token sequences and its split into training and held-out rows, row by row, so that the worker
//! can report progress and listen in between.

use super::{
    Dataset, Row, TokenSequence,
    encode::{EncodeError, Encoder},
    format::MAX_PROBLEMS,
    shuffle::hold_out,
};
use crate::protocol::{DataSpec, Failure, FailureKind, PreparedSummary, RowProblem};

/// The share of rows that can be held out at most.
pub const MAX_VALIDATION_SPLIT: f64 = 0.9;
/// One token to read and one to learn.
pub const MIN_SEQ_LENGTH: usize = 2;

/// Settings or a dataset that give nothing to train on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PrepareError {
    #[error("the sequence length is {0}, and the least is {MIN_SEQ_LENGTH}")]
    MaxSeqLength(usize),
    #[error("the validation split is {0}, and it can be from 0 to {MAX_VALIDATION_SPLIT}")]
    ValidationSplit(f64),
    #[error("none of the {num_rows} rows has anything to learn; the first: {}", .first.what)]
    NothingToLearn {
        num_rows: usize,
        first: Box<RowProblem>,
    },
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        let kind = match &error {
            PrepareError::NothingToLearn { .. } => FailureKind::Dataset,
            _ => FailureKind::Settings,
        };
        let remedy = match &error {
            PrepareError::MaxSeqLength(_) => "Raise the sequence length.",
            PrepareError::ValidationSplit(_) => "Choose a split such as 0.1.",
            PrepareError::NothingToLearn { first, .. } => first.remedy.as_str(),
        }
        .to_owned();
        Self::new(kind, error.to_string()).remedy(remedy)
    }
}

/// A dataset in tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub train: Vec<TokenSequence>,
    pub validation: Vec<TokenSequence>,
    pub summary: PreparedSummary,
    /// Held-out rows that stand among the training rows, too; their loss flatters the model.
    pub num_leaked: usize,
}

impl Prepared {
    /// Whether the row of that number is held out.
    pub fn is_held_out(&self, row: usize) -> bool {
        self.validation
            .binary_search_by_key(&row, |sequence| sequence.row)
            .is_ok()
    }

    /// 0-based numbers of the held-out rows, ascending.
    pub fn held_out_rows(&self) -> Vec<usize> {
        self.validation
            .iter()
            .map(|sequence| sequence.row)
            .collect()
    }
}

/// A dataset half way to [`Prepared`]: call [`Self::step`] until it says that it is done, then [`Self::finish`].
pub struct Preparation<'model> {
    encoder: Encoder<'model>,
    rows: &'model [Row],
    /// The file of each row's problem, as far as it is known: the dataset's only file.
    file: String,
    spec: DataSpec,
    next: usize,
    sequences: Vec<TokenSequence>,
    num_truncated: usize,
    num_without_target: usize,
    problems: Vec<RowProblem>,
}

impl<'model> Preparation<'model> {
    /// # Errors
    /// Settings out of bounds.
    pub fn new(
        encoder: Encoder<'model>,
        dataset: &'model Dataset,
        spec: DataSpec,
    ) -> Result<Self, PrepareError> {
        if spec.max_seq_length < MIN_SEQ_LENGTH {
            return Err(PrepareError::MaxSeqLength(spec.max_seq_length));
        }
        if !(0.0..=MAX_VALIDATION_SPLIT).contains(&spec.validation_split) {
            return Err(PrepareError::ValidationSplit(spec.validation_split));
        }
        Ok(Self {
            encoder,
            rows: &dataset.rows,
            file: dataset.summary.names.join(", "),
            spec,
            next: 0,
            sequences: Vec::with_capacity(dataset.rows.len()),
            num_truncated: 0,
            num_without_target: 0,
            problems: Vec::new(),
        })
    }

    /// Rows encoded so far, and in all.
    pub fn progress(&self) -> (usize, usize) {
        (self.next, self.rows.len())
    }

    /// Encodes one row; false once there is none left.
    pub fn step(&mut self) -> bool {
        let Some(row) = self.rows.get(self.next) else {
            return false;
        };
        self.next += 1;
        match self.encoder.encode(row, self.spec.max_seq_length) {
            Ok((sequence, num_cut)) => {
                self.num_truncated += usize::from(num_cut > 0);
                self.sequences.push(sequence);
            }
            Err(error) => self.refuse(row.row, &error),
        }
        true
    }

    fn refuse(&mut self, row: usize, error: &EncodeError) {
        self.num_without_target += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(RowProblem {
                row,
                file: self.file.clone(),
                line: None,
                column: None,
                what: error.to_string(),
                remedy: error.remedy().to_owned(),
            });
        }
    }

    /// Encodes what is left and splits the rows. Both parts keep the rows' order.
    ///
    /// # Errors
    /// [`PrepareError::NothingToLearn`] where no row is left.
    pub fn finish(mut self) -> Result<Prepared, PrepareError> {
        while self.step() {}
        if self.sequences.is_empty() {
            let num_rows = self.rows.len();
            let first = self.problems.into_iter().next().unwrap_or(RowProblem {
                row: 0,
                file: self.file,
                line: None,
                column: None,
                what: "the dataset has no rows".to_owned(),
                remedy: "Load a dataset first.".to_owned(),
            });
            return Err(PrepareError::NothingToLearn {
                num_rows,
                first: Box::new(first),
            });
        }
        let is_held_out = hold_out(
            self.sequences.len(),
            self.spec.validation_split,
            self.spec.seed,
        );
        let mut lengths: Vec<usize> = self.sequences.iter().map(|row| row.ids.len()).collect();
        lengths.sort_unstable();
        let mut held = is_held_out.into_iter();
        let (validation, train): (Vec<_>, Vec<_>) = self
            .sequences
            .into_iter()
            .partition(|_| held.next().unwrap_or(false));
        let summary = PreparedSummary {
            spec: self.spec,
            num_training_rows: train.len(),
            num_validation_rows: validation.len(),
            training_tokens: train.iter().map(|row| row.ids.len() as u64).sum(),
            scored_tokens: train.iter().map(|row| row.num_scored() as u64).sum(),
            num_truncated: self.num_truncated,
            num_without_target: self.num_without_target,
            problems: self.problems,
            longest_tokens: lengths.last().copied().unwrap_or_default(),
            median_tokens: lengths.get(lengths.len() / 2).copied().unwrap_or_default(),
        };
        let num_leaked = num_leaked(&train, &validation);
        Ok(Prepared {
            train,
            validation,
            summary,
            num_leaked,
        })
    }
}

fn num_leaked(train: &[TokenSequence], validation: &[TokenSequence]) -> usize {
    let content = |row: &TokenSequence| (row.ids.clone(), row.loss_mask.clone());
    let known: std::collections::HashSet<_> = train.iter().map(content).collect();
    validation
        .iter()
        .filter(|row| known.contains(&content(row)))
        .count()
}
