//! Tables as pandas writes them: an object of rows (`orient="index"`) or, as it does unasked, one of columns.
//!
//! ```text
//! {"0": {"prompt": "p", "completion": "c"}, "1": {..}}        rows
//! {"prompt": {"0": "p", "1": ..}, "completion": {"0": "c", "1": ..}}        columns
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::row::RawRow;
use crate::reader::{
    output::Output,
    record::{Place, Record},
};

/// What the values of an object are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rows,
    Columns,
}

/// Looks whether all values of an object are objects of the same names.
#[derive(Default)]
pub(super) struct Frame {
    num_values: usize,
    is_other: bool,
    has_other_name_outside: bool,
    has_other_name_inside: bool,
    /// Sum of the names' hashes, of the first value and of the present one; their order does not matter.
    first: u64,
    present: u64,
}

impl Frame {
    /// Takes note of a bracket, comma or colon. `depth`: brackets open outside of it. `before`: the one before. `name`:
    /// the string before, where it is a colon.
    pub(super) fn look(&mut self, depth: usize, before: u8, byte: u8, name: &[u8]) {
        let is_number = || !name.is_empty() && name.iter().all(u8::is_ascii_digit);
        match (depth, byte) {
            (1, b':') => self.has_other_name_outside |= !is_number(),
            (1, b'{') => self.present = 0,
            (1, _) if before == b':' => self.is_other = true,
            (2, b':') => {
                self.has_other_name_inside |= !is_number();
                let mut hasher = DefaultHasher::new();
                name.hash(&mut hasher);
                self.present = self.present.wrapping_add(hasher.finish());
            }
            (2, b'}') => {
                if self.num_values == 0 {
                    self.first = self.present;
                }
                self.num_values += 1;
                self.is_other |= self.present != self.first || self.present == 0;
            }
            _ => {}
        }
    }

    /// `is_row`: the object has names that a row has.
    pub(super) fn kind(&self, is_row: bool) -> Option<Kind> {
        if self.is_other || self.num_values == 0 {
            return None;
        }
        if !self.has_other_name_inside {
            return Some(Kind::Columns);
        }
        let is_several = self.num_values > 1 || !self.has_other_name_outside;
        (is_several && !is_row).then_some(Kind::Rows)
    }
}

/// Hands on the rows of a table that is written as an object of columns.
pub(super) fn emit_columns(table: &RawRow, output: &mut Output) {
    let columns = match table.fields() {
        Ok(columns) => columns,
        Err((offset, what, remedy)) => {
            return output.fault(table.place.further(table.text, offset), what, remedy);
        }
    };
    let index = columns.first().and_then(|(_, column)| column.as_object());
    for key in index.into_iter().flat_map(|index| index.keys()) {
        let cell = |(name, column): &(String, Value)| {
            let value = column.get(key).cloned().unwrap_or_default();
            (name.clone(), value)
        };
        output.record(Record {
            // A row has no place of its own.
            place: Place {
                column: None,
                ..table.place
            },
            fields: columns.iter().map(cell).collect(),
            text: None,
        });
    }
}
