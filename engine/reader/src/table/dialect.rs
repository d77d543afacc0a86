//! How a table is written: its delimiter, its quotes, whether its first row names the columns.

use std::fmt;

use super::{
    header::{Header, is_short},
    splitter::{Cells, MAX_DOUBTFUL, Splitter},
};

/// Delimiters, the likeliest first, in words.
const DELIMITERS: [(u8, &str); 8] = [
    (b',', "commas"),
    (b'\t', "tabs"),
    (b';', "semicolons"),
    (b'|', "pipes"),
    (b'^', "carets"),
    (b'~', "tildes"),
    (0x1F, "unit separators"),
    (0x01, "control characters"),
];
/// Rows that are looked at.
const MAX_ROWS: usize = 200;
/// Share of the rows that have equally many cells in a table without a name that says so.
const CONSISTENT: f64 = 0.9;
/// The same for a few rows, and for a file that is named as a table.
const FEW_ROWS: usize = 10;
const NAMED_CONSISTENT: f64 = 0.5;

/// How a table is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub splitter: Splitter,
    pub header: Header,
    /// Whether the first line is Excel's `sep=;`.
    pub names_delimiter: bool,
    /// Cells that most of the first rows have.
    pub num_columns: usize,
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let delimiter = self.splitter.delimiter;
        let words = DELIMITERS.iter().find(|(byte, _)| *byte == delimiter);
        match (delimiter, words) {
            _ if self.num_columns == 1 => formatter.write_str("CSV with one column"),
            (b',', _) => formatter.write_str("CSV"),
            (b'\t', _) => formatter.write_str("TSV"),
            (_, Some((_, words))) => write!(formatter, "CSV with {words}"),
            (byte, None) => write!(formatter, "CSV with `{}`", char::from(byte)),
        }
    }
}

/// The first rows of a text as one dialect reads them.
struct Trial {
    splitter: Splitter,
    rows: Vec<Vec<String>>,
    /// Cells whose quotes were taken off.
    num_quoted: usize,
    /// Cells that most rows have, and the share of those rows.
    num_columns: usize,
    share: f64,
}

/// The dialect of a table; `None` where the text is none. `is_named`: the file's name says that it is one.
pub(crate) fn dialect(head: &str, is_whole: bool, is_named: bool) -> Option<Dialect> {
    if let Some(delimiter) = named_delimiter(head) {
        let rest = head.split_once('\n').map_or("", |(_, rest)| rest);
        let mut dialect = trial(rest, is_whole, delimiter, true).finish();
        dialect.names_delimiter = true;
        return Some(dialect);
    }
    let trials = DELIMITERS.map(|(delimiter, _)| {
        let quoted = trial(head, is_whole, delimiter, true);
        let plain = trial(head, is_whole, delimiter, false);
        // Tables with tabs often have quotes that mean nothing.
        let is_better = plain.share > quoted.share || quoted.num_quoted == 0;
        if is_better && quoted.num_columns > 1 && delimiter == b'\t' {
            plain
        } else {
            quoted
        }
    });
    let is_better = |one: &Trial, other: &Trial| {
        (one.share * 10.0).floor() > (other.share * 10.0).floor()
            || (one.share * 10.0).floor() == (other.share * 10.0).floor()
                && one.num_columns > other.num_columns
    };
    let best = trials
        .into_iter()
        .filter(|trial| trial.num_columns > 1 && trial.is_plausible(is_named))
        .reduce(|best, other| {
            if is_better(&other, &best) {
                other
            } else {
                best
            }
        });
    match best {
        Some(best) => Some(best.finish()),
        // A single column has no delimiter.
        None if is_named => Some(trial(head, is_whole, 0x1F, true).finish()),
        None => None,
    }
}

/// Excel's first line: `sep=;`.
fn named_delimiter(head: &str) -> Option<u8> {
    let line = head.lines().next()?.trim_matches('"');
    match line.strip_prefix("sep=")?.as_bytes() {
        [delimiter] => Some(*delimiter),
        _ => None,
    }
}

fn trial(head: &str, is_whole: bool, delimiter: u8, is_quoting: bool) -> Trial {
    let plain = Splitter {
        delimiter,
        is_quoting: false,
        is_escaping: false,
        most_doubtful: MAX_DOUBTFUL,
    };
    // Only databases write this, and they escape line breaks and delimiters by backslashes, too.
    let is_escaping =
        plain.has_null(head.as_bytes()) && (delimiter == b'\t' || head.contains("\\\""));
    let splitter = Splitter {
        delimiter,
        is_quoting: is_quoting && !(is_escaping && delimiter == b'\t'),
        is_escaping,
        most_doubtful: MAX_DOUBTFUL,
    };
    // How many cells a row has tells which quotes are parts of texts.
    let (rows, _) = first_rows(head, is_whole, splitter, None);
    let (num_columns, _) = most_frequent(&rows);
    let (rows, num_quoted) = first_rows(head, is_whole, splitter, Some(num_columns));
    let (num_columns, share) = most_frequent(&rows);
    Trial {
        splitter,
        rows,
        num_quoted,
        num_columns,
        share,
    }
}

/// The number of cells that most rows have, and the share of those rows.
fn most_frequent(rows: &[Vec<String>]) -> (usize, f64) {
    let counts: Vec<usize> = rows.iter().map(Vec::len).collect();
    let frequency = |count: usize| counts.iter().filter(|&&other| other == count).count();
    let most = counts
        .iter()
        .copied()
        .max_by_key(|&count| (frequency(count), count));
    let num_columns = most.unwrap_or(0);
    let share = frequency(num_columns) as f64 / counts.len().max(1) as f64;
    (num_columns, share)
}

/// The first rows, and how many of their cells are quoted.
fn first_rows(
    head: &str,
    is_whole: bool,
    splitter: Splitter,
    expected: Option<usize>,
) -> (Vec<Vec<String>>, usize) {
    let expected = expected.filter(|&count| count > 1);
    let mut cells = Cells::default();
    let mut rest = head.as_bytes();
    let mut rows = Vec::new();
    let mut num_quoted = 0;
    while rows.len() <= MAX_ROWS && !rest.is_empty() {
        // A quote that nothing closes may be one that something after the head does.
        let Some(split) = splitter.split(rest, true, expected, &mut cells) else {
            break;
        };
        if split.is_at_end && !is_whole && !rows.is_empty() {
            break;
        }
        rest = &rest[split.len..];
        let row: Vec<String> = cells
            .iter()
            .map(|cell| cell.unwrap_or_default().to_owned())
            .collect();
        if row.iter().any(|cell| !cell.trim().is_empty()) {
            num_quoted += cells.num_quoted;
            rows.push(row);
        }
    }
    (rows, num_quoted)
}

impl Trial {
    fn is_plausible(&self, is_named: bool) -> bool {
        let Some(first) = self.rows.first() else {
            return false;
        };
        if is_named {
            return self.share >= NAMED_CONSISTENT || first.len() == self.num_columns;
        }
        let needed = if self.rows.len() < FEW_ROWS {
            1.0
        } else {
            CONSISTENT
        };
        // Sentences have commas, too.
        let is_table = self.splitter.delimiter == b'\t' || first.iter().all(|cell| is_short(cell));
        self.rows.len() > 1
            && self.share >= needed
            && first.len() == self.num_columns
            && is_table
            && first.iter().any(|cell| !cell.trim().is_empty())
    }

    fn finish(self) -> Dialect {
        Dialect {
            header: Header::of(&self.rows, self.num_columns),
            splitter: self.splitter,
            names_delimiter: false,
            num_columns: self.num_columns,
        }
    }
}
