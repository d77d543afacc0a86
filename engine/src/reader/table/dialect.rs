//! How a table is written: its delimiter, its quotes, whether its first row names the columns.

use std::fmt;

use super::{ReadRecordResult, Reader, ReaderBuilder};

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
/// Characters and words of the name of a column.
const NAME_CHARS: usize = 60;
const NAME_WORDS: usize = 8;

/// How a table is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::reader) struct Dialect {
    pub delimiter: u8,
    pub is_quoting: bool,
    pub has_header: bool,
    /// Whether the first line is Excel's `sep=;`.
    pub names_delimiter: bool,
    num_columns: usize,
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let words = DELIMITERS.iter().find(|(byte, _)| *byte == self.delimiter);
        match (self.delimiter, words) {
            _ if self.num_columns == 1 => formatter.write_str("CSV with one column"),
            (b',', _) => formatter.write_str("CSV"),
            (b'\t', _) => formatter.write_str("TSV"),
            (_, Some((_, words))) => write!(formatter, "CSV with {words}"),
            (byte, None) => write!(formatter, "CSV with `{}`", char::from(byte)),
        }
    }
}

impl Dialect {
    pub(super) fn reader(&self) -> Reader {
        ReaderBuilder::new()
            .delimiter(self.delimiter)
            .quoting(self.is_quoting)
            .build()
    }
}

/// The first rows of a text as one dialect reads them.
struct Trial {
    dialect: Dialect,
    rows: Vec<Vec<String>>,
    /// Cells that most rows have, and the share of those rows.
    num_columns: usize,
    share: f64,
}

/// The dialect of a table; `None` where the text is none. `is_named`: the file's name says that it is one.
pub(in crate::reader) fn dialect(head: &str, is_whole: bool, is_named: bool) -> Option<Dialect> {
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
        if plain.share > quoted.share && quoted.num_columns > 1 && delimiter == b'\t' {
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
    let dialect = Dialect {
        delimiter,
        is_quoting,
        has_header: true,
        names_delimiter: false,
        num_columns: 0,
    };
    let rows = first_rows(head, is_whole, &mut dialect.reader());
    let counts: Vec<usize> = rows.iter().map(Vec::len).collect();
    let frequency = |count: usize| counts.iter().filter(|&&other| other == count).count();
    let most = counts
        .iter()
        .copied()
        .max_by_key(|&count| (frequency(count), count));
    let num_columns = most.unwrap_or(0);
    Trial {
        share: frequency(num_columns) as f64 / counts.len().max(1) as f64,
        dialect: Dialect {
            num_columns,
            ..dialect
        },
        rows,
        num_columns,
    }
}

fn first_rows(head: &str, is_whole: bool, reader: &mut Reader) -> Vec<Vec<String>> {
    let mut text = vec![0; head.len() + 1];
    let mut ends = vec![0; head.len() + 2];
    let mut rest = head.as_bytes();
    let mut rows = Vec::new();
    let (mut written, mut num_cells) = (0, 0);
    while rows.len() <= MAX_ROWS {
        let (result, read, wrote, ended) =
            reader.read_record(rest, &mut text[written..], &mut ends[num_cells..]);
        rest = &rest[read..];
        written += wrote;
        num_cells += ended;
        match result {
            ReadRecordResult::Record => {}
            ReadRecordResult::InputEmpty if is_whole => continue,
            _ => break,
        }
        let mut start = 0;
        let cells = ends[..num_cells].iter().map(|&end| {
            let cell = String::from_utf8_lossy(&text[start..end]).into_owned();
            start = end;
            cell
        });
        let cells: Vec<String> = cells.collect();
        if cells.len() > 1 || cells.iter().any(|cell| !cell.trim().is_empty()) {
            rows.push(cells);
        }
        (written, num_cells) = (0, 0);
    }
    rows
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
        let is_table = self.dialect.delimiter == b'\t' || first.iter().all(|cell| is_short(cell));
        self.rows.len() > 1
            && self.share >= needed
            && first.len() == self.num_columns
            && is_table
            && first.iter().any(|cell| !cell.trim().is_empty())
    }

    fn finish(mut self) -> Dialect {
        self.dialect.has_header = self.has_header();
        self.dialect
    }

    /// Whether the first row names the columns: unless something in it speaks against that.
    fn has_header(&self) -> bool {
        let Some((first, others)) = self.rows.split_first() else {
            return true;
        };
        let is_filled = |cell: &&String| !cell.trim().is_empty();
        let is_named = first.iter().filter(is_filled).count() * 2 >= first.len();
        let has_number = first.iter().any(|cell| is_number(cell) && !is_year(cell));
        let is_repeated = first.iter().enumerate().any(|(column, cell)| {
            !cell.is_empty() && others.iter().any(|row| row.get(column) == Some(cell))
        });
        // A smiley or a line of dashes is no name.
        let is_word = |cell: &String| {
            let cell = cell.trim();
            cell.chars().any(char::is_alphanumeric) || ["", "#", "№", "%"].contains(&cell)
        };
        is_named
            && !has_number
            && !is_repeated
            && first.iter().all(|cell| is_short(cell) && is_word(cell))
    }
}

/// Whether a cell may be the name of a column.
fn is_short(cell: &str) -> bool {
    let cell = cell.trim();
    let num_words = cell.split_whitespace().count();
    let is_sentence = num_words > 3 && cell.ends_with(['.', '!', ';', ':']);
    cell.chars().count() <= NAME_CHARS && num_words <= NAME_WORDS && !is_sentence
        || cell.ends_with('?') && cell.chars().count() <= 4 * NAME_CHARS
}

fn is_number(cell: &str) -> bool {
    let cell = cell.trim();
    cell.parse::<f64>().is_ok() && cell.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_year(cell: &str) -> bool {
    cell.trim()
        .parse::<u32>()
        .is_ok_and(|year| (1800..2200).contains(&year))
}
