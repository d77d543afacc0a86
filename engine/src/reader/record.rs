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
        let Place {
            line: Some(line),
            column: Some(column),
        } = self.place
        else {
            return self.place;
        };
        let text = self.text.unwrap_or_default();
        let offset = match name {
            "" => None,
            name => text.find(&format!("\"{name}\"")),
        };
        match line_and_column(text, offset.unwrap_or(0)) {
            (1, within) => Place {
                line: Some(line),
                column: Some(column + within - 1),
            },
            (below, within) => Place {
                line: Some(line + below - 1),
                column: Some(within),
            },
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
    /// A row that cannot be read; it counts as a row.
    fn fault(&mut self, place: Place, fault: Fault);
    /// Bytes of the files themselves (not of what is in them) that were read so far, over all files.
    fn progress(&mut self, done: u64);
}
