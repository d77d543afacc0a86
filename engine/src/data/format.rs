//! Dataset files to rows.
//!
//! Read are JSONL (a JSON object on every line) and JSON (an array of objects, or an object that holds one such array),
//! told apart by their content, in UTF-8 or in UTF-16 with a byte-order mark. Every row has one of three shapes
//! ([`RowShape`]), each row its own. A row that cannot be read is refused with its place and the others kept; only what
//! makes a whole file unreadable is an error.
//!
//! Rows are numbered from 0 over all files, the refused ones included, blank lines not. A lone surrogate escaped in a
//! string (`"\ud800"`) becomes U+FFFD, since no tokenizer can read it.

mod decode;
mod row;
mod sniff;
mod split;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use sha2::{Digest, Sha256};

use self::{
    row::RowFault,
    split::{RawRow, RawRows, SplitError},
};
use super::{
    example::{Example, Row},
    text,
};
use crate::{
    protocol::{DatasetSummary, Failure, FailureKind, RowProblem, RowShape, RowSummary},
    weights::{checkpoint::NamedSource, json::MAX_DEPTH, source::SourceError},
};

/// A file is held whole while it is read, in a memory of 4 GiB at most.
const MAX_FILE_BYTES: u64 = 512 << 20;
const MAX_ROW_BYTES: usize = 16 << 20;
/// Bytes that are read at once.
const SLICE_BYTES: u64 = 4 << 20;
/// Problems and rows that the summary lists.
pub(super) const MAX_PROBLEMS: usize = 100;
const NUM_FIRST_ROWS: usize = 50;

/// A file that cannot be read at all, or a dataset without a usable row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    #[error("no file was given")]
    NoFiles,
    #[error("{file} could not be read: {error}")]
    Source { file: String, error: SourceError },
    #[error("{file} has {num_bytes} bytes, more than the {MAX_FILE_BYTES} allowed")]
    TooLarge { file: String, num_bytes: u64 },
    #[error("{file} is empty")]
    Empty { file: String },
    #[error("{file} is {what}, not a dataset")]
    Binary { file: String, what: &'static str },
    #[error("{file} looks like {format}, which cannot be read yet; JSONL and JSON can")]
    OtherFormat { file: String, format: &'static str },
    #[error("{file} is not in UTF-8: {what}")]
    Encoding {
        file: String,
        line: usize,
        column: usize,
        what: String,
    },
    #[error("{file} is nested deeper than {} levels", MAX_DEPTH)]
    TooDeep {
        file: String,
        line: usize,
        column: usize,
    },
    #[error("{file} has a row of {num_bytes} bytes, more than the {MAX_ROW_BYTES} allowed")]
    RowTooLong {
        file: String,
        line: usize,
        num_bytes: usize,
    },
    #[error("{file} is no valid JSON: {what}")]
    Json {
        file: String,
        line: usize,
        column: usize,
        what: String,
    },
    /// One JSON object that is neither a row nor holds exactly one array of rows.
    #[error("{file} is one JSON object {what}")]
    NoArray { file: String, what: String },
    #[error("none of the {num_rows} rows can be used; the first: {}", .first.what)]
    NoUsableRow {
        num_rows: usize,
        first: Box<RowProblem>,
    },
}

impl From<DatasetError> for Failure {
    fn from(error: DatasetError) -> Self {
        use DatasetError as E;
        let kind = match &error {
            E::Source { .. } => FailureKind::Network,
            _ => FailureKind::Dataset,
        };
        let place = match &error {
            E::Encoding {
                file, line, column, ..
            }
            | E::TooDeep { file, line, column }
            | E::Json {
                file, line, column, ..
            } => Some(format!("{file}, line {line}, column {column}")),
            E::RowTooLong { file, line, .. } => Some(format!("{file}, line {line}")),
            E::Source { file, .. }
            | E::TooLarge { file, .. }
            | E::Empty { file }
            | E::Binary { file, .. }
            | E::OtherFormat { file, .. }
            | E::NoArray { file, .. } => Some(file.clone()),
            E::NoUsableRow { first, .. } => Some(problem_place(first)),
            E::NoFiles => None,
        };
        let remedy = match &error {
            E::NoFiles => "Drop a JSONL or JSON file.",
            E::Source { .. } => "Drop the file again; it may have been moved or changed.",
            E::TooLarge { .. } => "Split the file, or use fewer rows.",
            E::Empty { .. } => "Put one JSON object on every line.",
            E::Binary { .. } | E::OtherFormat { .. } => {
                "Convert it to JSONL: one JSON object on every line."
            }
            E::Encoding { .. } => "Save the file as UTF-8 and drop it again.",
            E::TooDeep { .. } => {
                "Flatten the rows to `messages`, `prompt` and `completion`, or `text`."
            }
            E::RowTooLong { .. } => "Split the row, or put every row on a line of its own.",
            E::Json { .. } => "Correct the file at this place.",
            E::NoArray { .. } => "Keep only the array of rows, or put one row on every line.",
            E::NoUsableRow { first, .. } => first.remedy.as_str(),
        }
        .to_owned();
        let failure = Self::new(kind, error.to_string()).remedy(remedy);
        match place {
            Some(place) => failure.at(place),
            None => failure,
        }
    }
}

fn problem_place(problem: &RowProblem) -> String {
    let mut place = problem.file.clone();
    if let Some(line) = problem.line {
        place += &format!(", line {line}");
    }
    if let Some(column) = problem.column {
        place += &format!(", column {column}");
    }
    place
}

/// The rows of one or more files.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Usable rows, in order.
    pub rows: Vec<Row>,
    pub summary: DatasetSummary,
}

impl Dataset {
    /// The usable row of that number.
    pub fn row(&self, row: usize) -> Option<&Row> {
        let index = self.rows.binary_search_by_key(&row, |row| row.row).ok()?;
        self.rows.get(index)
    }

    /// `count` usable rows from the `start`th on, for the page's table.
    pub fn list(&self, start: usize, count: usize) -> Vec<RowSummary> {
        self.rows
            .iter()
            .skip(start)
            .take(count)
            .map(Row::summary)
            .collect()
    }
}

/// Reads files in their order. `progress` is told the bytes read and the bytes in all.
///
/// # Errors
/// The first file that cannot be read, or a dataset without a usable row.
pub async fn read(
    files: &[NamedSource],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Dataset, DatasetError> {
    if files.is_empty() {
        return Err(DatasetError::NoFiles);
    }
    let total: u64 = files.iter().map(|file| file.source.num_bytes()).sum();
    let mut hash = Sha256::new();
    let mut done = 0;
    let mut reader = Reader::default();
    for file in files {
        let bytes = read_whole(file, &mut |num_bytes| {
            done += num_bytes;
            progress(done, total);
        })
        .await?;
        hash.update(&bytes);
        let content = decode::decode(&file.name, bytes)?;
        reader.read_text(&file.name, &content)?;
    }
    let sha256 = hash.finalize();
    let sha256 = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let names = files.iter().map(|file| file.name.clone()).collect();
    reader.finish(names, total, sha256)
}

async fn read_whole(
    file: &NamedSource,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<u8>, DatasetError> {
    let num_bytes = file.source.num_bytes();
    if num_bytes > MAX_FILE_BYTES {
        return Err(DatasetError::TooLarge {
            file: file.name.clone(),
            num_bytes,
        });
    }
    let mut bytes = Vec::with_capacity(num_bytes as usize);
    let mut offset = 0;
    while offset < num_bytes {
        let len = SLICE_BYTES.min(num_bytes - offset);
        let slice = file.source.read(offset, len as usize).await;
        let slice = slice.map_err(|error| DatasetError::Source {
            file: file.name.clone(),
            error,
        })?;
        bytes.extend_from_slice(&slice);
        offset += len;
        progress(len);
    }
    Ok(bytes)
}

/// What was read so far, over all files.
#[derive(Default)]
struct Reader {
    rows: Vec<Row>,
    num_rows: usize,
    problems: Vec<RowProblem>,
    num_problems: usize,
    num_duplicates: usize,
    shapes: BTreeMap<RowShape, usize>,
    /// Hash of an example to the first row that has it.
    seen: HashMap<u64, usize>,
}

impl Reader {
    fn read_text(&mut self, file: &str, content: &str) -> Result<(), DatasetError> {
        let container = sniff::sniff(file, content)?;
        for raw in RawRows::new(content, container) {
            let raw = raw.map_err(|error| split_error(file, error))?;
            if raw.text.len() > MAX_ROW_BYTES {
                return Err(DatasetError::RowTooLong {
                    file: file.to_owned(),
                    line: raw.line,
                    num_bytes: raw.text.len(),
                });
            }
            if let Some(offset) = text::too_deep(raw.text.as_bytes()) {
                let (line, column) = raw.place(offset);
                return Err(DatasetError::TooDeep {
                    file: file.to_owned(),
                    line,
                    column,
                });
            }
            self.read_row(file, &raw);
        }
        Ok(())
    }

    fn read_row(&mut self, file: &str, raw: &RawRow) {
        match row::example(raw) {
            Ok(example) => self.keep(example),
            Err(fault) => self.refuse(file, raw, fault),
        }
        self.num_rows += 1;
    }

    fn keep(&mut self, example: Example) {
        let mut hasher = DefaultHasher::new();
        example.hash(&mut hasher);
        let first = *self.seen.entry(hasher.finish()).or_insert(self.rows.len());
        // A collision of hashes is no duplicate.
        if self
            .rows
            .get(first)
            .is_some_and(|row| row.example == example)
        {
            self.num_duplicates += 1;
        }
        *self.shapes.entry(example.shape()).or_default() += 1;
        self.rows.push(Row {
            row: self.num_rows,
            example,
        });
    }

    fn refuse(&mut self, file: &str, raw: &RawRow, fault: RowFault) {
        self.num_problems += 1;
        if self.problems.len() == MAX_PROBLEMS {
            return;
        }
        let (line, column) = raw.place(fault.offset);
        self.problems.push(RowProblem {
            row: self.num_rows,
            file: file.to_owned(),
            line: Some(line),
            column: Some(column),
            what: fault.what,
            remedy: fault.remedy,
        });
    }

    fn finish(
        self,
        names: Vec<String>,
        file_bytes: u64,
        sha256: String,
    ) -> Result<Dataset, DatasetError> {
        if self.rows.is_empty() {
            return Err(match self.problems.into_iter().next() {
                Some(first) => DatasetError::NoUsableRow {
                    num_rows: self.num_rows,
                    first: Box::new(first),
                },
                None => DatasetError::Empty {
                    file: names.join(", "),
                },
            });
        }
        let mut shapes: Vec<_> = self.shapes.into_iter().collect();
        shapes.sort_by_key(|&(shape, count)| (std::cmp::Reverse(count), shape));
        let summary = DatasetSummary {
            names,
            file_bytes,
            sha256,
            num_rows: self.num_rows,
            num_usable_rows: self.rows.len(),
            shapes,
            problems: self.problems,
            num_problems: self.num_problems,
            num_duplicates: self.num_duplicates,
            first_rows: self
                .rows
                .iter()
                .take(NUM_FIRST_ROWS)
                .map(Row::summary)
                .collect(),
            ..DatasetSummary::default()
        };
        Ok(Dataset {
            rows: self.rows,
            summary,
        })
    }
}

fn split_error(file: &str, error: SplitError) -> DatasetError {
    let SplitError { line, column, what } = error;
    DatasetError::Json {
        file: file.to_owned(),
        line,
        column,
        what,
    }
}
