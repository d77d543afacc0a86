//! Rows that stand as JSON in the only cell of a table's row.

use protocol::Mapping;
use serde_json::Value;

use super::Collector;
use crate::{cell, recognize::recognize, record::Record};

impl Collector<'_> {
    /// The record, or the one that its only text spells out where that has something to learn by its fields' names.
    pub(super) fn unpacked<'r>(&mut self, record: Record<'r>) -> Record<'r> {
        let mut filled = record.fields.iter().filter(|(_, value)| !value.is_null());
        let (Some((name, value)), None) = (filled.next(), filled.next()) else {
            return record;
        };
        // A text in JSON lines is one on purpose.
        let is_cell = record.text.is_none() && self.spec.mapping == Mapping::Automatic;
        if !is_cell
            || !value
                .as_str()
                .is_some_and(|text| text.trim_start().starts_with('{'))
        {
            return record;
        }
        let inner = cell::opened(value).into_owned();
        let Value::Object(inner) = inner else {
            return record;
        };
        let fields: Vec<(String, Value)> = inner.into_iter().collect();
        if recognize(&fields).is_none_or(|mapping| matches!(mapping, Mapping::Text { .. })) {
            return record;
        }
        let file = self
            .files
            .get(self.present)
            .map_or("", |file| file.name.as_str());
        let note = format!("{file}: The JSON in the column {name:?} was unpacked to rows.");
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        Record { fields, ..record }
    }
}
