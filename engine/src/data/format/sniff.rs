//! What a text is by its content: lines of JSON, one JSON document, or another format by name.

use super::{
    DatasetError,
    split::{end_of_value, fields},
};
use crate::data::text::line_and_column;

/// Lines that are looked at.
const HEAD_LINES: usize = 50;

/// How rows lie in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Lines,
    /// An array whose bracket opens at this offset.
    Array {
        start: usize,
    },
}

pub(super) fn sniff(file: &str, text: &str) -> Result<Container, DatasetError> {
    let start = text.len() - text.trim_start().len();
    let rest = &text[start..];
    let first_line = rest.lines().next().unwrap_or_default();
    match rest.as_bytes().first() {
        Some(b'[' | b'{') => {}
        _ if head(rest).any(|line| line.starts_with('{')) => return Ok(Container::Lines),
        _ => {
            return Err(DatasetError::OtherFormat {
                file: file.to_owned(),
                format: other_format(rest),
            });
        }
    }
    let is_array = rest.starts_with('[');
    let Some(len) = end_of_value(rest) else {
        // Cut off: an array loses its last row; of lines the first is broken.
        return match (is_array, first_line.trim_end()) {
            (true, _) => Ok(Container::Array { start }),
            (false, "{") => array_in_object(file, text, start),
            (false, _) => Ok(Container::Lines),
        };
    };
    let is_whole = rest[len..].trim().is_empty();
    let is_one_line = len <= first_line.len();
    match (is_array, is_whole, is_one_line) {
        (true, true, _) => Ok(Container::Array { start }),
        (false, true, _) => match (is_row(text, start), is_one_line) {
            (true, true) => Ok(Container::Lines),
            (true, false) => Err(no_array(file, "that is a single row over several lines")),
            (false, _) => array_in_object(file, text, start),
        },
        (_, false, true) => Ok(Container::Lines),
        (false, false, false) if head(rest).nth(1).is_some_and(|line| line.starts_with('{')) => {
            Ok(Container::Lines)
        }
        (_, false, false) => {
            let behind = start + len + (rest[len..].len() - rest[len..].trim_start().len());
            let (line, column) = line_and_column(text, behind);
            Err(DatasetError::Json {
                file: file.to_owned(),
                line,
                column,
                what: "something follows the first value, which spans several lines".to_owned(),
            })
        }
    }
}

fn head(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty())
        .take(HEAD_LINES)
}

/// The one array of objects that an object holds.
fn array_in_object(file: &str, text: &str, start: usize) -> Result<Container, DatasetError> {
    let fields: Vec<_> = fields(text, start).collect();
    let mut arrays = fields.iter().filter(|field| {
        let inside = text[field.value_start..].strip_prefix('[');
        inside.is_some_and(|inside| inside.trim_start().starts_with('{'))
    });
    let what = match (arrays.next(), arrays.next()) {
        (Some(array), None) => {
            return Ok(Container::Array {
                start: array.value_start,
            });
        }
        (Some(first), Some(second)) => format!(
            "with several arrays of objects ({} and {})",
            first.key, second.key
        ),
        (None, _) => "without an array of rows".to_owned(),
    };
    Err(no_array(file, what))
}

fn no_array(file: &str, what: impl Into<String>) -> DatasetError {
    DatasetError::NoArray {
        file: file.to_owned(),
        what: what.into(),
    }
}

/// Whether the object that opens at `start` has the fields of a row.
fn is_row(text: &str, start: usize) -> bool {
    fields(text, start).any(|field| {
        let name = field.key.trim_matches('"');
        matches!(name, "messages" | "prompt" | "completion" | "text")
    })
}

/// The likeliest name of a text that is no JSON.
fn other_format(text: &str) -> &'static str {
    let lines: Vec<&str> = head(text).take(5).collect();
    let first = lines.first().copied().unwrap_or_default();
    let columns_by = |separator: char| {
        let count = |line: &&str| line.matches(separator).count();
        let first = lines.first().map_or(0, count);
        first > 0 && lines.iter().skip(1).all(|line| count(line) >= first)
    };
    let starts = |prefix: &str| {
        first
            .get(..prefix.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    if starts("<!doctype html") || starts("<html") {
        "HTML"
    } else if first.starts_with('<') {
        "XML"
    } else if starts("---") || starts("- ") || (first.ends_with(':') && !first.contains(' ')) {
        "YAML"
    } else if starts("# ") {
        "Markdown"
    } else if columns_by('\t') {
        "TSV"
    } else if columns_by(',') || columns_by(';') {
        "CSV"
    } else {
        "plain text"
    }
}
