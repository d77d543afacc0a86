//! Prepares a dataset with one set of settings: encodes, splits and counts its rows.
//!
//! ```text
//! StoredRow --add--> bad, or left out by spec: num_left_out
//!                    no token to learn:        num_without_target   } the first 100 are listed
//!                    cannot be encoded:        num_not_encoded      } with a remedy
//!                    else a TokenSequence
//! --finish--> split by group, file and share -> train | validation | test, and a summary
//! ```
//!
//! Rows keep the numbers that they have in the files through all of this, so that the page can show any of them.

use std::{collections::HashSet, rc::Rc};

use formats::row_file::StoredRow;
use protocol::{
    ControlTokensFound, DataSpec, Failure, FailureKind, FileSummary, Histogram, PreparedSummary,
    RowProblem, Side,
};

use super::{
    EncodeError, Encoder, TokenSequence, pack::num_bins, preamble::PreambleCounts, shuffle::split,
    texts,
};

/// The maximum number of problems listed in the summary.
const MAX_PROBLEMS: usize = 100;
/// The maximum number of control tokens named in the summary.
const MAX_TOKENS: usize = 10;
/// The approximate number of bins in the histogram of lengths.
const NUM_BINS: usize = 40;

/// What a run is trained and scored on.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// In the order of the files; every epoch draws its own. Not empty.
    pub train: Vec<TokenSequence>,
    /// Held out, in the order of the files.
    pub validation: Rc<[TokenSequence]>,
    /// Set aside until the test is requested, in the order of the files.
    pub test: Rc<[TokenSequence]>,
    /// Counts and lengths for the page and the plan.
    pub summary: PreparedSummary,
}

impl Prepared {
    /// Returns the side of the split that the row with this number is on; `None` if it was left out.
    pub fn side(&self, row: usize) -> Option<Side> {
        let has = |sequences: &[TokenSequence]| {
            sequences
                .binary_search_by_key(&row, |sequence| sequence.row)
                .is_ok()
        };
        [
            (&*self.train, Side::Train),
            (&self.validation, Side::Validation),
            (&self.test, Side::Test),
        ]
        .into_iter()
        .find_map(|(sequences, side)| has(sequences).then_some(side))
    }

    /// Returns the 0-based numbers of the validation rows, ascending.
    pub fn held_out_rows(&self) -> Vec<usize> {
        self.validation
            .iter()
            .map(|sequence| sequence.row)
            .collect()
    }
}

/// A preparation under way. It encodes rows one at a time, so that the caller can yield in between.
pub struct Preparation<'a> {
    encoder: Encoder<'a>,
    spec: DataSpec,
    /// The names of the files, for the problems of their rows, and the splits of the files.
    files: Vec<(String, Side)>,
    /// The encoded rows so far, of all sides.
    sequences: Vec<TokenSequence>,
    /// Each encoded row's group, which the split keeps together.
    groups: Vec<Option<u64>>,
    /// The split of the file of each encoded row.
    of_files: Vec<Side>,
    /// The lengths of all rows with tokens, before truncation.
    lengths: Vec<usize>,
    /// Rows that the settings leave out, and those marked as bad.
    num_left_out: usize,
    /// Rows of which tokens were cut off.
    num_truncated: usize,
    /// Rows with nothing to learn, or nothing within the sequence length.
    num_without_target: usize,
    /// Rows that cannot be rendered or tokenized.
    num_not_encoded: usize,
    /// The first rows that were refused.
    problems: Vec<RowProblem>,
    control_tokens: ControlTokensFound,
    preambles: PreambleCounts,
}

/// Returns the split of a file: as chosen by the user, or else as its name says, or else training.
fn side_of(file: &FileSummary, spec: &DataSpec) -> Side {
    let chosen = spec.file_sides.iter().find(|known| known.file == file.name);
    chosen
        .map(|known| known.side)
        .or(file.split)
        .unwrap_or(Side::Train)
}

impl<'a> Preparation<'a> {
    /// Begins a preparation; `files` are the dataset's files, in their order, to which rows refer by index.
    pub fn new(encoder: Encoder<'a>, spec: &DataSpec, files: &[FileSummary]) -> Self {
        Self {
            encoder,
            spec: spec.clone(),
            files: files
                .iter()
                .map(|file| (file.name.clone(), side_of(file, spec)))
                .collect(),
            sequences: Vec::new(),
            groups: Vec::new(),
            of_files: Vec::new(),
            lengths: Vec::new(),
            num_left_out: 0,
            num_truncated: 0,
            num_without_target: 0,
            num_not_encoded: 0,
            problems: Vec::new(),
            control_tokens: ControlTokensFound::default(),
            preambles: PreambleCounts::default(),
        }
    }

    /// Encodes a row, or leaves it out with its reason. A row whose answer is marked as bad is always left out.
    ///
    /// Rows must come in the order of their numbers, by which [`Prepared::side`] finds them.
    pub fn add(&mut self, stored: &StoredRow) {
        let findings = &stored.facts.findings;
        if stored.facts.is_bad()
            || findings
                .iter()
                .any(|kind| self.spec.leave_out.contains(kind))
        {
            self.num_left_out += 1;
            return;
        }
        self.look_for_control_tokens(stored);
        match self.encoder.encode(&stored.row, &self.spec) {
            Ok((sequence, num_cut)) => {
                self.num_truncated += usize::from(num_cut > 0);
                self.lengths.push(sequence.ids.len() + num_cut);
                self.sequences.push(sequence);
                self.groups.push(stored.facts.group);
                let file = self.files.get(stored.facts.file);
                self.of_files
                    .push(file.map_or(Side::Train, |(_, side)| *side));
                self.preambles.add(&stored.row.example);
            }
            Err(error) => self.refuse(stored, &error),
        }
    }

    /// Counts and lists a row that cannot be encoded. One that was cut before its answer still has a length to show.
    fn refuse(&mut self, stored: &StoredRow, error: &EncodeError) {
        let is_without_target = error.is_without_target();
        self.num_without_target += usize::from(is_without_target);
        self.num_not_encoded += usize::from(!is_without_target);
        if let EncodeError::TargetCutOff { num_tokens, .. } = error {
            self.lengths.push(*num_tokens);
        }
        if self.problems.len() < MAX_PROBLEMS {
            let problem = self.problem(stored, error.to_string(), error.remedy().to_owned());
            self.problems.push(problem);
        }
    }

    /// Makes a list entry about a row, with its file and line.
    fn problem(&self, stored: &StoredRow, what: String, remedy: String) -> RowProblem {
        let file = self.files.get(stored.facts.file);
        RowProblem {
            row: stored.row.row,
            file: file.map(|(name, _)| name.clone()).unwrap_or_default(),
            line: stored.facts.line,
            column: None,
            what,
            remedy,
        }
    }

    /// Records the first special token spelled out in one of the row's texts. Rows that are then refused count, too.
    fn look_for_control_tokens(&mut self, stored: &StoredRow) {
        let texts = texts::all(&stored.row.example);
        let Some(token) = texts
            .iter()
            .find_map(|text| self.encoder.tokenizer.special_token_in(text))
        else {
            return;
        };
        let found = &mut self.control_tokens;
        found.num_rows += 1;
        if found.tokens.len() < MAX_TOKENS && !found.tokens.contains(&token) {
            found.tokens.push(token.clone());
        }
        if found.rows.len() < MAX_PROBLEMS {
            let what = format!("its text contains the control token `{token}`");
            let problem = self.problem(stored, what, String::new());
            self.control_tokens.rows.push(problem);
        }
    }

    /// Splits what was encoded, and sums it up.
    ///
    /// # Errors
    /// [`FailureKind::Dataset`] with the first reason if no row is left, or if none is left to train on.
    pub fn finish(mut self) -> Result<Prepared, Failure> {
        if self.sequences.is_empty() {
            return Err(self.nothing_left());
        }
        let lengths = histogram(&mut self.lengths, self.spec.max_seq_length);
        let mut sorted: Vec<usize> = self.sequences.iter().map(|row| row.ids.len()).collect();
        sorted.sort_unstable();
        let sides = split(&self.groups, &self.of_files, &self.spec);
        if !sides.contains(&Side::Train) {
            return Err(self.nothing_to_train_on());
        }
        let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
        for (sequence, side) in self.sequences.into_iter().zip(sides) {
            match side {
                Side::Train => train.push(sequence),
                Side::Validation => validation.push(sequence),
                Side::Test => test.push(sequence),
            }
        }
        let training_lengths: Vec<usize> = train.iter().map(|row| row.ids.len()).collect();
        let summary = PreparedSummary {
            num_packed_rows: num_bins(&training_lengths, self.spec.max_seq_length),
            spec: self.spec,
            num_training_rows: train.len(),
            num_validation_rows: validation.len(),
            num_test_rows: test.len(),
            num_left_out: self.num_left_out,
            num_leaked: num_leaked(&train, &validation) + num_leaked(&train, &test),
            training_tokens: training_lengths.iter().sum::<usize>() as u64,
            scored_tokens: train
                .iter()
                .map(|sequence| sequence.num_scored() as u64)
                .sum(),
            num_truncated: self.num_truncated,
            num_without_target: self.num_without_target,
            num_not_encoded: self.num_not_encoded,
            problems: self.problems,
            longest_tokens: sorted.last().copied().unwrap_or(0),
            median_tokens: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
            lengths,
            control_tokens: self.control_tokens,
            preamble: self.preambles.most_frequent(),
        };
        Ok(Prepared {
            train,
            validation: validation.into(),
            test: test.into(),
            summary,
        })
    }

    /// The failure of rows that are all on another side, by the files that they are in.
    fn nothing_to_train_on(&self) -> Failure {
        let held_out = self.files.iter().filter(|(_, side)| *side != Side::Train);
        let names: Vec<&str> = held_out.map(|(name, _)| name.as_str()).collect();
        let what =
            "No row is left to train on: all usable rows are for validation or for the test.";
        Failure::new(FailureKind::Dataset, what)
            .at(names.join(", "))
            .remedy("Choose \"Train\" for one of the files.")
    }

    /// The failure of a dataset without a usable row, with the first row's reason.
    fn nothing_left(self) -> Failure {
        let what = "No row of the dataset can be used for training.";
        let failure = Failure::new(FailureKind::Dataset, what);
        match self.problems.into_iter().next() {
            Some(first) => {
                let row = first.row + 1;
                let place = format!("{}, row {row}: {}", first.file, first.what);
                failure.at(place).remedy(first.remedy)
            }
            None => failure.remedy(
                "Put back the rows that were left out. Answers that are marked as bad are never learned.",
            ),
        }
    }
}

/// Counts lengths in bins whose width is a power of two, up to the sequence length or the 99th percentile of lengths,
/// whichever is greater; the last bin has all longer rows. Sorts `lengths`.
fn histogram(lengths: &mut [usize], max_seq_length: usize) -> Histogram {
    lengths.sort_unstable();
    let Some(&longest) = lengths.last() else {
        return Histogram::default();
    };
    let usual = lengths[lengths.len() * 99 / 100].max(max_seq_length);
    let bin_tokens = (longest.min(usual) / NUM_BINS + 1).next_power_of_two();
    let last = longest.min(usual) / bin_tokens;
    let mut counts = vec![0; last + 1];
    for &length in lengths.iter() {
        counts[(length / bin_tokens).min(last)] += 1;
    }
    Histogram { bin_tokens, counts }
}

/// Counts the held-out sequences that equal a training sequence in tokens and mask.
fn num_leaked(train: &[TokenSequence], held_out: &[TokenSequence]) -> usize {
    let known: HashSet<(&[u32], &[bool])> = train.iter().map(content).collect();
    held_out
        .iter()
        .filter(|sequence| known.contains(&content(sequence)))
        .count()
}

/// What makes two sequences equal, whatever their row numbers.
fn content(sequence: &TokenSequence) -> (&[u32], &[bool]) {
    (&sequence.ids, &sequence.loss_mask)
}
