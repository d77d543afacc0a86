//! A record, put together from the values of its columns.

use serde_json::{Map, Value};

use super::{
    MAX_ROW_BYTES, MAX_ROW_VALUES,
    column::Column,
    schema::{Content, Field, Repeated},
};

/// A record that is being put together.
pub(super) struct Row<'a> {
    pub columns: &'a mut [Column],
    pub num_values: usize,
    pub num_bytes: usize,
}

impl Row<'_> {
    pub(super) fn is_too_long(&self) -> bool {
        self.num_values > MAX_ROW_VALUES || self.num_bytes > MAX_ROW_BYTES
    }

    /// Whether the first of a field's columns has that definition level at its present place.
    fn reaches(&self, field: &Field, level: u32) -> bool {
        let first = self.columns.get(field.columns.start);
        first.and_then(Column::def).is_some_and(|def| def >= level)
    }

    pub(super) fn value(&mut self, field: &Field) -> Value {
        self.num_values += 1;
        if field.columns.is_empty() || self.is_too_long() {
            return Value::Null;
        }
        if !self.reaches(field, field.present) {
            self.pass(field);
            return Value::Null;
        }
        match &field.content {
            Content::Leaf => {
                let value = match self.columns.get_mut(field.columns.start) {
                    Some(column) => column.take(),
                    None => Value::Null,
                };
                self.num_bytes += value.as_str().map_or(0, str::len);
                value
            }
            Content::Struct(fields) => {
                let values = fields
                    .iter()
                    .map(|field| (field.name.clone(), self.value(field)));
                Value::Object(values.collect())
            }
            Content::List(repeated, item) => {
                let mut list = Vec::new();
                self.each(field, *repeated, |row| {
                    list.push(row.value(item));
                });
                Value::Array(list)
            }
            Content::Map(repeated, pair) => {
                let [key, value] = pair.as_ref();
                let mut map = Map::new();
                self.each(field, *repeated, |row| {
                    let key = match row.value(key) {
                        Value::String(key) => key,
                        key => key.to_string(),
                    };
                    map.insert(key, row.value(value));
                });
                Value::Object(map)
            }
        }
    }

    /// Calls `item` at the begin of each item of a list. Every call moves on, or the row is too long.
    fn each(&mut self, list: &Field, repeated: Repeated, mut item: impl FnMut(&mut Self)) {
        if !self.reaches(list, repeated.filled) {
            self.pass(list);
            return;
        }
        loop {
            item(self);
            let first = self.columns.get(list.columns.start);
            if self.is_too_long() || first.is_none_or(|column| column.rep() < repeated.further) {
                return;
            }
        }
    }

    /// Passes over a field that is null, or a list without items.
    fn pass(&mut self, field: &Field) {
        let columns = self.columns.get_mut(field.columns.clone());
        columns
            .unwrap_or_default()
            .iter_mut()
            .for_each(Column::pass);
    }
}
