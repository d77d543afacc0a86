//! Tables as pandas and `datasets` write them: an object of rows (`orient="index"`), one of columns, or names and rows
//! apart (`orient="split"`).
//!
//! ```text
//! {"0": {"prompt": "p", "completion": "c"}, "1": {..}}        rows
//! {"prompt": {"0": "p", "1": ..}, "completion": {"0": "c", "1": ..}}        columns
//! {"prompt": ["p", ..], "completion": ["c", ..]}        columns
//! {"columns": ["prompt", "completion"], "data": [["p", "c"], ..]}        split
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};

/// What the values of an object are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rows,
    Columns,
    Split,
}

/// Looks whether all values of an object are objects of the same names, or lists of one length.
#[derive(Default)]
pub(super) struct Frame {
    num_values: usize,
    is_other: bool,
    has_other_name_outside: bool,
    has_other_name_inside: bool,
    /// Sum of the names' hashes, of the first value and of the present one; their order does not matter.
    first: u64,
    present: u64,
    lists: Lists,
}

/// The values that are lists.
#[derive(Default)]
struct Lists {
    count: usize,
    /// Those whose items are not objects.
    num_plain: usize,
    has_other_value: bool,
    is_ragged: bool,
    /// Commas in the first list, and in the present one.
    first: Option<usize>,
    present: usize,
    is_inside: bool,
    is_of_objects: bool,
    /// Whether the present list is called `data`, and whether there are lists of these names.
    is_data: bool,
    has_columns: bool,
    has_data_of_lists: bool,
}

impl Lists {
    fn look(&mut self, depth: usize, before: u8, byte: u8, name: &[u8]) {
        match (depth, byte) {
            (1, b':') => {
                self.is_data = name == b"data";
                self.has_columns |= name == b"columns";
            }
            (1, b'[') if before == b':' => {
                self.count += 1;
                self.present = 0;
                self.is_inside = true;
                self.is_of_objects = false;
            }
            (1, _) if before == b':' => {
                self.has_other_value = true;
                self.is_inside = false;
            }
            (2, b',') => self.present += 1,
            (2, b'{') => self.is_of_objects = true,
            (2, b'[') => self.has_data_of_lists |= self.is_data && before == b'[',
            (2, b']') if self.is_inside => {
                self.num_plain += usize::from(!self.is_of_objects);
                self.is_ragged |= *self.first.get_or_insert(self.present) != self.present;
                self.is_inside = false;
            }
            _ => {}
        }
    }

    fn kind(&self) -> Option<Kind> {
        if self.has_columns && self.has_data_of_lists {
            return Some(Kind::Split);
        }
        let has_rows = self.first > Some(0) || self.count > 1;
        let is_whole = !self.has_other_value && !self.is_ragged && self.num_plain > 0;
        (is_whole && has_rows).then_some(Kind::Columns)
    }
}

impl Frame {
    /// Takes note of a bracket, comma or colon. `depth`: brackets open outside of it. `before`: the one before. `name`:
    /// the string before, where it is a colon.
    pub(super) fn look(&mut self, depth: usize, before: u8, byte: u8, name: &[u8]) {
        self.lists.look(depth, before, byte, name);
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

    /// `is_row`: the object has names that a row has. `has_messages`: one of its lists is one of messages.
    pub(super) fn kind(&self, is_row: bool, has_messages: bool) -> Option<Kind> {
        if let Some(kind) = self.lists.kind().filter(|_| !has_messages) {
            return Some(kind);
        }
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
