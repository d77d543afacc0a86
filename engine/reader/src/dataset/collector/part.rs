//! Rows that a column of their own puts into another split than their file's: they make up a part, listed as a file.

use protocol::{FileSummary, Side};

use super::Collector;
use crate::{
    path::Fields,
    recognize::plain,
    split_name::{side_of_name, side_of_value},
};

/// Columns that say what a row is for. Kaggle calls it `Usage`.
const NAMES: [&str; 8] = [
    "split",
    "datasplit",
    "datasetsplit",
    "splitname",
    "partition",
    "usage",
    "subset",
    "set",
];

impl Collector<'_> {
    /// The index of the file or the part of it that a row of `file` belongs to.
    pub(super) fn part_of(&mut self, file: usize, fields: &Fields) -> usize {
        let told = fields.iter().find_map(|(name, value)| {
            let side = side_of_value(value.as_str()?)?;
            NAMES
                .contains(&plain(name).as_str())
                .then_some((name, side))
        });
        let (Some((column, side)), Some(whole)) = (told, self.files.get(file)) else {
            return file;
        };
        let own = side_of_name(&whole.name);
        if own == Some(side) || own.is_none() && side == Side::Train {
            return file;
        }
        let word = match side {
            Side::Train => "train",
            Side::Validation => "validation",
            Side::Test => "test",
        };
        let name = format!("{}/{word}", whole.name);
        let known = self
            .files
            .iter()
            .skip(file + 1)
            .position(|part| part.name == name);
        if let Some(at) = known {
            return file + 1 + at;
        }
        let is_first = self.files.len() == file + 1;
        let part = FileSummary {
            name,
            num_rows: 0,
            ..whole.clone()
        };
        if is_first {
            let note = format!(
                "{}: The column {column:?} says which split each row belongs to.",
                whole.name
            );
            self.notes.push(note);
        }
        self.files.push(part);
        self.files.len() - 1
    }
}
