//! What the formats give: records of named fields, each with its place.

use serde_json::Value;

use crate::text::line_and_column;

/// A record as it stands in a file, before anybody asked what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    pub place: Place,
    /// In the order of the file. CSV and text give strings alone.
    pub fields: Vec<(String, Value)>,
    /// The JSON that the record was written as, where it was, so that a field's place can be told.
    pub text: Option<&'a str>,
}

impl Record<'_> {
    /// Where the field of that name stands; where the record begins, if that cannot be told.
    pub fn place_of(&self, name: &str) -> Place {
        let text = self.text.unwrap_or_default();
        match text.find(&format!("\"{name}\"")) {
            Some(offset) if !name.is_empty() => self.place.further(text, offset),
            _ => self.place,
        }
    }
}

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// 1-based, where the format has lines.
    pub line: Option<usize>,
    /// 1-based, in characters.
    pub column: Option<usize>,
}

impl Place {
    /// The place of the byte at `offset` in a text that begins here.
    pub fn further(self, text: &str, offset: usize) -> Self {
        let (line, column) = match line_and_column(text, offset) {
            (1, column) => (0, self.column.map(|before| before + column - 1)),
            (line, column) => (line - 1, Some(column)),
        };
        Self {
            line: self.line.map(|before| before + line),
            column,
        }
    }
}

/// A record that cannot be read; the others are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    pub remedy: String,
}

/// Takes what the formats read. A reading gives files one after the other, and of each its records and faults in order.
pub trait Sink {
    /// A file begins, or an entry of an archive (`data.zip/train.csv`); the names are as in
    /// [`crate::protocol::FileSummary`].
    fn file(&mut self, name: &str, format: &str, encoding: &str);
    fn record(&mut self, record: Record<'_>);
    /// The present file's encoding, where a place further on tells it otherwise than [`Sink::file`] could.
    fn encoding(&mut self, encoding: &str);
    /// Something about a file that concerns no row: an entry of an archive that was passed over, characters that
    /// could not be read. A full sentence.
    fn note(&mut self, file: &str, note: &str);
    /// A row that cannot be read; it counts as a row.
    fn fault(&mut self, place: Place, fault: Fault);
    /// Bytes of the files themselves (not of what is in them) that were read so far, over all files.
    fn progress(&mut self, done: u64);
}
