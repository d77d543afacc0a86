//! Turns records into rows.

mod part;
mod sink;
mod unpacked;
mod unused;
mod waiting;

use std::collections::BTreeMap;

use formats::{
    chunks::Chunks,
    row::Row,
    row_file::{RowFacts, RowWriter, StoredRow},
};
use protocol::{
    DatasetSummary, FileProblem, FileSummary, Finding, FindingKind, GatheredSummary, Mapping,
    ReadSpec, RowProblem, RowShape, RowSummary,
};

use super::{Observer, ReadDataset, bit};
use crate::{
    DatasetError, Input,
    check::Checks,
    columns::Columns,
    gather::Gatherer,
    guess::Guess,
    mapping::{Conversions, Habits, Mapped},
    path::Fields,
    record::Place,
    split_name::note_splits,
};

/// The number of problems, and of rows per finding, listed in the summary.
const MAX_LISTED: usize = 100;
const NUM_FIRST_ROWS: usize = 50;
/// The kinds of findings, worst first.
const FINDINGS: [FindingKind; 9] = [
    FindingKind::BadAnswer,
    FindingKind::Secret,
    FindingKind::MissingValue,
    FindingKind::Duplicate,
    FindingKind::EmptyAnswer,
    FindingKind::BrokenEncoding,
    FindingKind::UnbalancedLabels,
    FindingKind::NearDuplicate,
    FindingKind::Email,
];

/// The number of ways in which rows were read that are told apart.
const MAX_MAPPINGS: usize = 1000;
/// The number of rows that a dataset of any size may have, and the number of bytes for each further one: every row leaves a few
/// bytes.
const ALWAYS_ALLOWED_ROWS: usize = 2_000_000;
const BYTES_PER_FURTHER_ROW: u64 = 5;
/// Characters of a sentence about a row, which may quote it.
const MAX_TOLD_CHARS: usize = 500;

fn max_rows(file_bytes: u64) -> usize {
    ALWAYS_ALLOWED_ROWS + (file_bytes / BYTES_PER_FURTHER_ROW) as usize
}

fn cut(told: String) -> String {
    match told.char_indices().nth(MAX_TOLD_CHARS) {
        Some((end, _)) => format!("{}…", &told[..end]),
        None => told,
    }
}

/// Takes records and makes rows of them.
pub(super) struct Collector<'a> {
    spec: &'a ReadSpec,
    observer: &'a mut dyn Observer,
    names: Vec<String>,
    file_bytes: u64,
    writer: RowWriter,
    checks: Checks,
    columns: Columns,
    files: Vec<FileSummary>,
    /// The index of the present file.
    present: usize,
    notes: Vec<String>,
    num_rows: usize,
    /// The findings of the usable rows; see [`ReadDataset`].
    findings: Chunks<u16>,
    /// The most usable rows that a dataset of its size may have.
    max_rows: usize,
    found: BTreeMap<FindingKind, Finding>,
    problems: Vec<RowProblem>,
    num_problems: usize,
    shapes: BTreeMap<RowShape, usize>,
    /// How many rows were read with each mapping.
    mappings: Vec<(Mapping, usize)>,
    first_rows: Vec<RowSummary>,
    first_records: Vec<Vec<(String, String)>>,
    guess: Guess,
    refused_files: Vec<FileProblem>,
    gatherer: Gatherer,
    gathered: Option<GatheredSummary>,
    conversions: Conversions,
    waiting: waiting::Waiting,
    /// How the present file is written.
    habits: Habits,
}

/// Where a row comes from, and the group it stays with.
#[derive(Clone, Copy)]
struct RowPlace {
    file: usize,
    place: Place,
    group: Option<u64>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        inputs: &[Input],
        spec: &'a ReadSpec,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let file_bytes = inputs.iter().map(|input| input.num_bytes).sum();
        Self {
            spec,
            observer,
            names: inputs.iter().map(|input| input.name.clone()).collect(),
            file_bytes,
            writer: RowWriter::default(),
            checks: Checks::new(file_bytes),
            columns: Columns::default(),
            files: Vec::new(),
            present: 0,
            notes: Vec::new(),
            num_rows: 0,
            findings: Chunks::default(),
            max_rows: max_rows(file_bytes),
            found: BTreeMap::new(),
            problems: Vec::new(),
            num_problems: 0,
            shapes: BTreeMap::new(),
            mappings: Vec::new(),
            first_rows: Vec::new(),
            first_records: Vec::new(),
            guess: Guess::default(),
            refused_files: Vec::new(),
            gatherer: Gatherer::new(file_bytes),
            gathered: None,
            conversions: Conversions::default(),
            waiting: waiting::Waiting::default(),
            habits: Habits::default(),
        }
    }

    /// A usable row. `fields` are those that the mapping names.
    fn keep(&mut self, at: RowPlace, fields: &Fields, mapped: Mapped, mapping: Mapping) {
        let place = at.place;
        if self.findings.len() >= self.max_rows {
            let what = format!(
                "the dataset has more than the {} rows allowed for its size",
                self.max_rows
            );
            return self.refuse(at.file, place, what, "Use fewer rows.".to_owned());
        }
        let found = self.checks.look(self.num_rows, fields, &mapping, &mapped);
        self.findings
            .push(found.iter().fold(0, |bits, (kind, _)| bits | bit(*kind)));
        let kinds = found.iter().map(|(kind, _)| *kind).collect();
        for (kind, what) in found {
            self.note(kind, at, what);
        }
        let mut mappings = self.mappings.iter_mut();
        match mappings.find(|(known, _)| *known == mapping) {
            Some((_, count)) => *count += 1,
            None => self.mappings.push((mapping, 1)),
        }
        // The most frequent one is wanted, which comes early.
        self.mappings.truncate(MAX_MAPPINGS);
        self.conversions.count(&mapped.conversions);
        let stored = StoredRow {
            row: Row {
                row: self.num_rows,
                example: mapped.example,
            },
            facts: RowFacts {
                file: at.file,
                line: place.line,
                findings: kinds,
                group: at.group,
                label: mapped.label,
                rejected: mapped.rejected,
                is_good: mapped.verdict.map(|(is_good, _)| is_good),
            },
        };
        *self.shapes.entry(stored.shape()).or_default() += 1;
        if self.first_rows.len() < NUM_FIRST_ROWS {
            self.first_rows.push(stored.summary());
        }
        if let Some(part) = self.writer.push(&stored) {
            self.observer.rows(part);
        }
        if self.findings.len() == NUM_FIRST_ROWS {
            let preview = self.summary(String::new());
            self.observer.preview(preview);
        }
    }

    fn note(&mut self, kind: FindingKind, at: RowPlace, what: String) {
        let problem = self.problem(at.file, at.place, what, String::new());
        let finding = self.found.entry(kind).or_insert_with(|| Finding {
            kind,
            num_rows: 0,
            rows: Vec::new(),
            can_leave_out: !matches!(
                kind,
                FindingKind::EmptyAnswer | FindingKind::UnbalancedLabels | FindingKind::BadAnswer
            ),
        });
        finding.num_rows += 1;
        if finding.rows.len() < MAX_LISTED {
            finding.rows.push(problem);
        }
    }

    fn refuse(&mut self, file: usize, place: Place, what: String, remedy: String) {
        self.num_problems += 1;
        if self.problems.len() < MAX_LISTED {
            let problem = self.problem(file, place, what, remedy);
            self.problems.push(problem);
        }
    }

    fn problem(&self, file: usize, place: Place, what: String, remedy: String) -> RowProblem {
        RowProblem {
            row: self.num_rows,
            file: self
                .files
                .get(file)
                .map_or_else(String::new, |file| file.name.clone()),
            line: place.line,
            column: place.column,
            what: cut(what),
            remedy,
        }
    }

    fn count_row(&mut self, file: usize) {
        self.num_rows += 1;
        if let Some(file) = self.files.get_mut(file) {
            file.num_rows += 1;
        }
    }

    fn summary(&self, sha256: String) -> DatasetSummary {
        let mut shapes: Vec<_> = self
            .shapes
            .iter()
            .map(|(&shape, &count)| (shape, count))
            .collect();
        shapes.sort_by_key(|&(shape, count)| (std::cmp::Reverse(count), shape));
        let mapping = self.mappings.iter().max_by_key(|(_, count)| *count);
        let labels = self.checks.labels();
        let mut findings: Vec<Finding> = FINDINGS
            .iter()
            .filter_map(|kind| self.found.get(kind).cloned())
            .collect();
        if let Some(what) = Checks::unbalanced(&labels) {
            findings.push(Finding {
                kind: FindingKind::UnbalancedLabels,
                num_rows: 0,
                rows: vec![RowProblem {
                    what,
                    ..self.problem(self.present, Place::default(), String::new(), String::new())
                }],
                can_leave_out: false,
            });
        }
        DatasetSummary {
            names: self.names.clone(),
            file_bytes: self.file_bytes,
            sha256,
            num_rows: self.num_rows,
            num_usable_rows: self.findings.len(),
            shapes,
            problems: self.problems.clone(),
            num_problems: self.num_problems,
            num_duplicates: self
                .found
                .get(&FindingKind::Duplicate)
                .map_or(0, |finding| finding.num_rows),
            first_rows: self.first_rows.clone(),
            spec: self.spec.clone(),
            mapping: mapping.map(|(mapping, _)| mapping.clone()),
            files: self.files.clone(),
            notes: self
                .notes
                .iter()
                .cloned()
                .chain(self.conversions.sentences())
                .collect(),
            columns: self.columns.summary(),
            findings,
            labels,
            refused_files: self.refused_files.clone(),
            gathered: self.gathered.clone(),
            first_records: self.first_records.clone(),
            suggestion: self.suggestion(),
        }
    }

    /// A guess about the columns, if automatic recognition found nothing.
    fn suggestion(&self) -> Option<Mapping> {
        let is_open = self.findings.is_empty() && self.spec.mapping == Mapping::Automatic;
        is_open.then(|| self.guess.mapping()).flatten()
    }

    pub(super) fn finish(mut self, sha256: String) -> Result<ReadDataset, DatasetError> {
        self.end_waiting();
        self.put_together();
        self.notes.extend(note_splits(&mut self.files));
        self.notes.extend(self.unused());
        self.notes.extend(self.checks.note());
        if self.findings.is_empty() {
            // Its fields can be mapped by hand.
            let so_far = self.summary(sha256);
            self.observer.preview(so_far);
            return Err(match self.problems.into_iter().next() {
                Some(first) => DatasetError::NoUsableRow {
                    num_rows: self.num_rows,
                    first: Box::new(first),
                },
                None => DatasetError::Empty {
                    file: self.names.join(", "),
                },
            });
        }
        let summary = self.summary(sha256);
        let observer = self.observer;
        let index = self.writer.finish(|part| observer.rows(part));
        Ok(ReadDataset {
            summary,
            index,
            findings: self.findings,
        })
    }
}
