//! Files that cannot be read at all.

use std::io;

use protocol::{Failure, FailureKind, RowProblem};

use super::source::{Bomb, StreamError};

/// A file that cannot be read at all, or a dataset without a usable row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    #[error("no file was given")]
    NoFiles,
    #[error("{file} could not be read: {what}")]
    Source { file: String, what: String },
    #[error("{file} is empty")]
    Empty { file: String },
    #[error("{file} is {what}, not a dataset")]
    Binary { file: String, what: String },
    #[error("{file} looks like {format}, which cannot be read")]
    OtherFormat { file: String, format: &'static str },
    #[error("{file} cannot be decompressed: {what}")]
    Damaged { file: String, what: String },
    #[error("{file} {bomb}")]
    Bomb { file: String, bomb: Bomb },
    #[error("{file} cannot be unpacked: {what}")]
    Archive {
        file: String,
        what: String,
        remedy: &'static str,
    },
    #[error("{file} cannot be read as Parquet: {what}")]
    Parquet {
        file: String,
        what: String,
        remedy: &'static str,
    },
    #[error("{file} cannot be read as Arrow: {what}")]
    Arrow {
        file: String,
        what: String,
        remedy: &'static str,
    },
    #[error("{file} has {num_columns} columns, more than the {most} allowed")]
    Table {
        file: String,
        num_columns: usize,
        most: usize,
    },
    #[error("{file} is not valid JSON: {what}")]
    Json {
        file: String,
        line: usize,
        column: usize,
        what: String,
    },
    /// One JSON object that is neither a row nor holds exactly one array of rows.
    #[error("{file} is one JSON object {what}")]
    NoArray { file: String, what: String },
    /// Several files, none of which can be read.
    #[error("none of the {} files can be read: {}", .errors.len(), listed(.errors))]
    NoneRead { errors: Vec<DatasetError> },
    #[error("{} {}", none_of(*.num_rows), .first.what)]
    NoUsableRow {
        num_rows: usize,
        first: Box<RowProblem>,
    },
}

fn listed(errors: &[DatasetError]) -> String {
    let errors: Vec<String> = errors.iter().map(DatasetError::to_string).collect();
    errors.join("; ")
}

fn none_of(num_rows: usize) -> String {
    match num_rows {
        1 => "its only row cannot be used:".to_owned(),
        _ => format!("none of its {num_rows} rows can be used; the first:"),
    }
}

impl DatasetError {
    /// An error of reading, or what a stream was stopped by.
    pub(super) fn reading(file: &str, error: &io::Error) -> Self {
        let file = file.to_owned();
        let stopped = error.get_ref().and_then(|inner| inner.downcast_ref());
        match stopped {
            Some(StreamError::Bomb(bomb)) => Self::Bomb { file, bomb: *bomb },
            Some(StreamError::Damaged(what)) => Self::Damaged {
                file,
                what: what.clone(),
            },
            Some(end @ StreamError::OddEnd(_)) => Self::Damaged {
                file,
                what: end.to_string(),
            },
            None => Self::Source {
                file,
                what: error.to_string(),
            },
        }
    }
}

/// What may be a spreadsheet among the files that are refused.
const SPREADSHEETS: [&str; 3] = [
    "an old Office document",
    "a binary Excel workbook",
    "an OpenDocument file",
];

impl DatasetError {
    /// What the user can do.
    pub fn remedy(&self) -> String {
        use DatasetError as E;
        match self {
            E::NoFiles => "Drop a file with rows: JSONL, JSON, CSV, Parquet or text.",
            E::Source { .. } => "Drop the file again; it may have been moved or changed.",
            E::Empty { .. } => "Put rows into it: one JSON object per line, a CSV table, or text.",
            E::Binary { what, .. } if SPREADSHEETS.contains(&what.as_str()) => {
                "If it is a spreadsheet, save it as .xlsx or CSV."
            }
            E::Binary { .. } | E::OtherFormat { .. } => {
                "Convert it to JSONL (one JSON object per line), CSV, Parquet or plain text."
            }
            E::Damaged { .. } => "Download or compress the file again.",
            E::Bomb { .. } => "Unpack it, and drop the files inside.",
            E::Archive { remedy, .. } | E::Parquet { remedy, .. } | E::Arrow { remedy, .. } => {
                remedy
            }
            E::Table { .. } => "Keep only the columns the model should learn from.",
            E::Json { .. } => "Correct the file at this place.",
            E::NoArray { .. } => {
                "Keep only the array of rows, or put one row per line; in pandas: \
                    `to_json(path, orient=\"records\", lines=True)`."
            }
            E::NoneRead { errors } => {
                let mut remedies: Vec<String> = errors.iter().map(Self::remedy).collect();
                remedies.dedup();
                return remedies.join(" ");
            }
            E::NoUsableRow { first, .. } => first.remedy.as_str(),
        }
        .to_owned()
    }
}

impl From<DatasetError> for Failure {
    fn from(error: DatasetError) -> Self {
        use DatasetError as E;
        let kind = match &error {
            E::Source { .. } => FailureKind::Network,
            _ => FailureKind::Dataset,
        };
        let place = match &error {
            E::Json {
                file, line, column, ..
            } => Some(format!("{file}, line {line}, column {column}")),
            E::Source { file, .. }
            | E::Empty { file }
            | E::Binary { file, .. }
            | E::OtherFormat { file, .. }
            | E::Damaged { file, .. }
            | E::Bomb { file, .. }
            | E::Archive { file, .. }
            | E::Parquet { file, .. }
            | E::Arrow { file, .. }
            | E::Table { file, .. }
            | E::NoArray { file, .. } => Some(file.clone()),
            E::NoUsableRow { first, .. } => Some(problem_place(first)),
            E::NoFiles | E::NoneRead { .. } => None,
        };
        let remedy = error.remedy();
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
