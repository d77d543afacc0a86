//! A whole reading: files to a file of rows and its summary.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Seek, SeekFrom},
};

use sha2::{Digest, Sha256};

use super::{
    DatasetError, Input,
    check::Checks,
    columns::Columns,
    mapping::{self, Mapped, RowFault},
    path::{Fields, first_name, get},
    read,
    record::{Fault, Place, Record, Sink},
};
use crate::{
    data::{
        Row,
        stored::{RowFacts, RowIndex, RowWriter, StoredRow},
    },
    protocol::{
        DatasetSummary, FileSummary, Finding, FindingKind, Mapping, ReadSpec, RowFilter,
        RowProblem, RowShape, RowSummary,
    },
    text::hex,
};

/// Problems, and rows of each finding, that the summary lists.
const MAX_LISTED: usize = 100;
const NUM_FIRST_ROWS: usize = 50;
/// Bytes that are hashed at once.
const SLICE_BYTES: usize = 1 << 20;
/// What can be found, worst first.
const FINDINGS: [FindingKind; 7] = [
    FindingKind::Secret,
    FindingKind::Duplicate,
    FindingKind::EmptyAnswer,
    FindingKind::BrokenEncoding,
    FindingKind::UnbalancedLabels,
    FindingKind::NearDuplicate,
    FindingKind::Email,
];

/// Who watches a reading.
pub trait Observer {
    /// Bytes of the files, read and in all.
    fn progress(&mut self, done: u64, total: u64);
    /// The first rows are there.
    fn preview(&mut self, dataset: DatasetSummary);
    /// The next part of the file of rows.
    fn rows(&mut self, part: Vec<u8>);
}

/// What a reading leaves beside the file of rows.
pub struct ReadDataset {
    pub summary: DatasetSummary,
    pub index: RowIndex,
    /// What was found of each usable row, a bit for each kind.
    findings: Vec<u8>,
}

impl ReadDataset {
    /// Indices of the rows that pass `filter`: `count` of them from the `start`th on, and how many there are in all.
    pub fn select(&self, start: usize, count: usize, filter: RowFilter) -> (Vec<usize>, usize) {
        let RowFilter::Finding(kind) = filter else {
            let total = self.index.len();
            let end = start.saturating_add(count).min(total);
            return ((start.min(end)..end).collect(), total);
        };
        let passing: Vec<usize> = (0..self.findings.len())
            .filter(|&index| self.findings[index] & bit(kind) != 0)
            .collect();
        let total = passing.len();
        (passing.into_iter().skip(start).take(count).collect(), total)
    }
}

fn bit(kind: FindingKind) -> u8 {
    1 << kind as u8
}

/// Reads files in their order.
///
/// # Errors
/// The first file that cannot be read, or a dataset without a usable row.
pub fn read_dataset(
    inputs: &mut [Input],
    spec: &ReadSpec,
    observer: &mut dyn Observer,
) -> Result<ReadDataset, DatasetError> {
    if inputs.is_empty() {
        return Err(DatasetError::NoFiles);
    }
    let mut collector = Collector::new(inputs, spec, observer);
    read(inputs, spec.text_split, &mut collector)?;
    let sha256 = sha256_hex(inputs)?;
    collector.finish(sha256)
}

/// Of the files' bytes one after the other.
fn sha256_hex(inputs: &mut [Input]) -> Result<String, DatasetError> {
    let mut hash = Sha256::new();
    let mut slice = vec![0; SLICE_BYTES];
    for input in inputs {
        let mut read = || {
            input.source.seek(SeekFrom::Start(0))?;
            loop {
                match input.source.read(&mut slice)? {
                    0 => return Ok(()),
                    num_bytes => hash.update(&slice[..num_bytes]),
                }
            }
        };
        read().map_err(|error: std::io::Error| DatasetError::Source {
            file: input.name.clone(),
            what: error.to_string(),
        })?;
    }
    let hash = hash.finalize();
    Ok(hex(&hash))
}

/// Takes records and makes rows of them.
struct Collector<'a> {
    spec: &'a ReadSpec,
    observer: &'a mut dyn Observer,
    names: Vec<String>,
    file_bytes: u64,
    writer: RowWriter,
    checks: Checks,
    columns: Columns,
    files: Vec<FileSummary>,
    notes: Vec<String>,
    num_rows: usize,
    /// Of the usable rows; see [`ReadDataset`].
    findings: Vec<u8>,
    found: BTreeMap<FindingKind, Finding>,
    problems: Vec<RowProblem>,
    num_problems: usize,
    shapes: BTreeMap<RowShape, usize>,
    /// How often rows were read in each way.
    mappings: Vec<(Mapping, usize)>,
    first_rows: Vec<RowSummary>,
}

impl<'a> Collector<'a> {
    fn new(inputs: &[Input], spec: &'a ReadSpec, observer: &'a mut dyn Observer) -> Self {
        Self {
            spec,
            observer,
            names: inputs.iter().map(|input| input.name.clone()).collect(),
            file_bytes: inputs.iter().map(|input| input.num_bytes).sum(),
            writer: RowWriter::default(),
            checks: Checks::default(),
            columns: Columns::default(),
            files: Vec::new(),
            notes: Vec::new(),
            num_rows: 0,
            findings: Vec::new(),
            found: BTreeMap::new(),
            problems: Vec::new(),
            num_problems: 0,
            shapes: BTreeMap::new(),
            mappings: Vec::new(),
            first_rows: Vec::new(),
        }
    }

    fn keep(&mut self, place: Place, mapped: Mapped, mapping: Mapping, group: Option<u64>) {
        let found = self.checks.look(self.num_rows, &mapped);
        self.findings
            .push(found.iter().fold(0, |bits, (kind, _)| bits | bit(*kind)));
        let kinds = found.iter().map(|(kind, _)| *kind).collect();
        for (kind, what) in found {
            self.note(kind, place, what);
        }
        match self
            .mappings
            .iter_mut()
            .find(|(known, _)| *known == mapping)
        {
            Some((_, count)) => *count += 1,
            None => self.mappings.push((mapping, 1)),
        }
        let stored = StoredRow {
            row: Row {
                row: self.num_rows,
                example: mapped.example,
            },
            facts: RowFacts {
                file: self.files.len().saturating_sub(1),
                line: place.line,
                findings: kinds,
                group,
                label: mapped.label,
                rejected: mapped.rejected,
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

    fn note(&mut self, kind: FindingKind, place: Place, what: String) {
        let problem = self.problem(place, what, String::new());
        let finding = self.found.entry(kind).or_insert_with(|| Finding {
            kind,
            num_rows: 0,
            rows: Vec::new(),
            can_leave_out: !matches!(
                kind,
                FindingKind::EmptyAnswer | FindingKind::UnbalancedLabels
            ),
        });
        finding.num_rows += 1;
        if finding.rows.len() < MAX_LISTED {
            finding.rows.push(problem);
        }
    }

    fn refuse(&mut self, place: Place, what: String, remedy: String) {
        self.num_problems += 1;
        if self.problems.len() < MAX_LISTED {
            let problem = self.problem(place, what, remedy);
            self.problems.push(problem);
        }
    }

    fn problem(&self, place: Place, what: String, remedy: String) -> RowProblem {
        RowProblem {
            row: self.num_rows,
            file: self
                .files
                .last()
                .map_or_else(String::new, |file| file.name.clone()),
            line: place.line,
            column: place.column,
            what,
            remedy,
        }
    }

    fn count_row(&mut self) {
        self.num_rows += 1;
        if let Some(file) = self.files.last_mut() {
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
                    ..self.problem(Place::default(), String::new(), String::new())
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
            notes: self.notes.clone(),
            columns: self.columns.summary(),
            findings,
            labels,
        }
    }

    fn finish(self, sha256: String) -> Result<ReadDataset, DatasetError> {
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
        let (last, index) = self.writer.finish();
        self.observer.rows(last);
        Ok(ReadDataset {
            summary,
            index,
            findings: self.findings,
        })
    }
}

impl Sink for Collector<'_> {
    fn file(&mut self, name: &str, format: &str, encoding: &str) {
        self.files.push(FileSummary {
            name: name.to_owned(),
            format: format.to_owned(),
            encoding: encoding.to_owned(),
            num_rows: 0,
        });
    }

    fn record(&mut self, record: Record<'_>) {
        self.columns.look(&record.fields);
        let group = self
            .spec
            .group_by
            .as_deref()
            .and_then(|path| group(&record.fields, path));
        match mapping::example(&record.fields, &self.spec.mapping) {
            Ok((mapped, mapping)) => self.keep(record.place, mapped, mapping, group),
            Err(RowFault { path, what, remedy }) => {
                let place = record.place_of(first_name(&record.fields, &path).unwrap_or_default());
                self.refuse(place, what, remedy);
            }
        }
        self.count_row();
    }

    fn fault(&mut self, place: Place, Fault { what, remedy }: Fault) {
        self.refuse(place, what, remedy);
        self.count_row();
    }

    fn encoding(&mut self, encoding: &str) {
        if let Some(file) = self.files.last_mut() {
            file.encoding = encoding.to_owned();
        }
    }

    fn note(&mut self, file: &str, note: &str) {
        if self.notes.len() < MAX_LISTED {
            self.notes.push(format!("{file}: {note}"));
        }
    }

    fn progress(&mut self, done: u64) {
        self.observer.progress(done, self.file_bytes);
    }
}

/// A number for the value that keeps rows together.
fn group(fields: &Fields, path: &str) -> Option<u64> {
    let value = get(fields, path)?;
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    Some(hasher.finish())
}
