//! What the formats give: records of named fields, each with its place.

use memchr::memchr2_iter;
use serde_json::Value;

use super::error::DatasetError;

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
        let mut position = Position {
            line: self.line.unwrap_or(1),
            column: self.column.unwrap_or(1),
            is_behind_cr: false,
        };
        position.pass(&text.as_bytes()[..offset.min(text.len())]);
        Self {
            line: self.line.and(Some(position.line)),
            column: self.column.and(Some(position.column)),
        }
    }
}

/// How far a text was read, in lines that end with CR, LF or both, as old Macs, Unix and Windows write them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    line: usize,
    column: usize,
    /// Whether the last byte was a CR, so that an LF ends no other line.
    is_behind_cr: bool,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            line: 1,
            column: 1,
            is_behind_cr: false,
        }
    }
}

impl Position {
    /// Moves on by a piece of UTF-8.
    pub(super) fn pass(&mut self, text: &[u8]) {
        let mut from = 0;
        for at in memchr2_iter(b'\r', b'\n', text) {
            let is_behind_cr = match at.checked_sub(1) {
                Some(before) => text[before] == b'\r',
                None => self.is_behind_cr,
            };
            self.line += usize::from(text[at] == b'\r' || !is_behind_cr);
            self.column = 1;
            from = at + 1;
        }
        let is_char_start = |byte: &&u8| **byte & 0xC0 != 0x80;
        self.column += text[from..].iter().filter(is_char_start).count();
        self.is_behind_cr = text.last().map_or(self.is_behind_cr, |&byte| byte == b'\r');
    }

    pub(super) fn place(self) -> Place {
        Place {
            line: Some(self.line),
            column: Some(self.column),
        }
    }
}

/// What to do about a file that ends too early.
pub(super) const CUT_OFF: &str = "The file was cut off; save or download it again.";

/// A record that cannot be read; the others are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    pub remedy: String,
}

/// Takes what the formats read. A reading gives files one after the other, and of each its records and faults in order.
pub trait Sink {
    /// A file begins, or an entry of an archive (`data.zip/train.csv`); the names are as in
    /// [`protocol::FileSummary`].
    fn file(&mut self, name: &str, format: &str, encoding: &str);
    fn record(&mut self, record: Record<'_>);
    /// The present file's encoding, where a place further on tells it otherwise than [`Sink::file`] could.
    fn encoding(&mut self, encoding: &str);
    /// Something about a file that concerns no row: an entry of an archive that was passed over, characters that
    /// could not be read. A full sentence.
    fn note(&mut self, file: &str, note: &str);
    /// One of several files cannot be read, or not to its end.
    fn refused(&mut self, file: &str, error: &DatasetError);
    /// A row that cannot be read; it counts as a row.
    fn fault(&mut self, place: Place, fault: Fault);
    /// Bytes of the files themselves (not of what is in them) that were read so far, over all files.
    fn progress(&mut self, done: u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_cr_lf_or_both_wherever_a_piece_ends() {
        let text = "ab\rc\r\n\nżd\n\r\r\ne";
        // After each byte, by hand.
        let lines = [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 6, 7, 7, 7];
        let columns = [2, 3, 1, 2, 1, 1, 1, 2, 2, 3, 1, 1, 1, 1, 2];
        for cut in 0..=text.len() {
            let mut position = Position::default();
            position.pass(&text.as_bytes()[..cut]);
            if let Some(before) = cut.checked_sub(1) {
                assert_eq!(
                    (position.line, position.column),
                    (lines[before], columns[before])
                );
            }
            position.pass(&text.as_bytes()[cut..]);
            assert_eq!((position.line, position.column), (7, 2), "cut at {cut}");
        }
    }
}
