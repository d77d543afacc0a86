//! A dataset under one set of settings: rows encoded, split, counted.

use std::collections::HashSet;

use super::{EncodeError, Encoder, Row, TokenSequence, format::MAX_PROBLEMS, shuffle::hold_out};
use crate::protocol::{DataSpec, Failure, FailureKind, PreparedSummary, RowProblem};

/// What a run is trained and scored on.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub train: Vec<TokenSequence>,
    /// Held out, in the order of the files.
    pub validation: Vec<TokenSequence>,
    pub summary: PreparedSummary,
    /// Held-out rows that stand among the training rows, too: their loss flatters the tuned model.
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

/// Encodes rows one at a time, so that the caller can let others work in between.
pub struct Preparation<'a> {
    encoder: Encoder<'a>,
    spec: DataSpec,
    file: String,
    sequences: Vec<TokenSequence>,
    num_truncated: usize,
    num_without_target: usize,
    problems: Vec<RowProblem>,
}

impl<'a> Preparation<'a> {
    /// `file` names the dataset in the problems of its rows.
    pub fn new(encoder: Encoder<'a>, spec: &DataSpec, file: String) -> Self {
        Self {
            encoder,
            spec: spec.clone(),
            file,
            sequences: Vec::new(),
            num_truncated: 0,
            num_without_target: 0,
            problems: Vec::new(),
        }
    }

    /// Encodes a row, or leaves it out with its reason.
    pub fn add(&mut self, row: &Row) {
        match self.encoder.encode(row, &self.spec) {
            Ok((sequence, num_cut)) => {
                self.num_truncated += usize::from(num_cut > 0);
                self.sequences.push(sequence);
            }
            Err(error) => self.leave_out(row, &error),
        }
    }

    fn leave_out(&mut self, row: &Row, error: &EncodeError) {
        self.num_without_target += usize::from(error.is_without_target());
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(RowProblem {
                row: row.row,
                file: self.file.clone(),
                line: None,
                column: None,
                what: error.to_string(),
                remedy: error.remedy().to_owned(),
            });
        }
    }

    /// Splits what was encoded.
    ///
    /// # Errors
    /// [`FailureKind::Dataset`] with the first reason where no row is left.
    pub fn finish(self) -> Result<Prepared, Failure> {
        if self.sequences.is_empty() {
            let failure = Failure::new(
                FailureKind::Dataset,
                "No row of the dataset can be learned.",
            );
            return Err(match self.problems.into_iter().next() {
                Some(first) => failure
                    .at(format!(
                        "{}, row {}: {}",
                        first.file,
                        first.row + 1,
                        first.what
                    ))
                    .remedy(first.remedy),
                None => failure,
            });
        }
        let mut lengths: Vec<usize> = self
            .sequences
            .iter()
            .map(|sequence| sequence.ids.len())
            .collect();
        lengths.sort_unstable();
        let held_out = hold_out(
            self.sequences.len(),
            self.spec.validation_split,
            self.spec.seed,
        );
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for (sequence, is_held_out) in self.sequences.into_iter().zip(held_out) {
            if is_held_out {
                &mut validation
            } else {
                &mut train
            }
            .push(sequence);
        }
        let summary = PreparedSummary {
            spec: self.spec,
            num_training_rows: train.len(),
            num_validation_rows: validation.len(),
            training_tokens: train.iter().map(|sequence| sequence.ids.len() as u64).sum(),
            scored_tokens: train
                .iter()
                .map(|sequence| sequence.num_scored() as u64)
                .sum(),
            num_truncated: self.num_truncated,
            num_without_target: self.num_without_target,
            problems: self.problems,
            longest_tokens: lengths.last().copied().unwrap_or(0),
            median_tokens: lengths.get(lengths.len() / 2).copied().unwrap_or(0),
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
    let known: HashSet<(&[u32], &[bool])> = train.iter().map(content).collect();
    validation
        .iter()
        .filter(|sequence| known.contains(&content(sequence)))
        .count()
}

fn content(sequence: &TokenSequence) -> (&[u32], &[bool]) {
    (&sequence.ids, &sequence.loss_mask)
}
