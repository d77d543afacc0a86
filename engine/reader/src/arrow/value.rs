//! The values in a record batch as JSON's.

use serde_json::{Map, Value};

use super::{
    batch::{Batch, Column, Dictionaries},
    flat::{i32_at, i64_at, u16_at},
    schema::{Content, Field},
};
use crate::parquet::value::{Meaning, float, half, of_f32};

/// Takes values out of batches, and counts what a row takes.
pub(super) struct Reading<'a> {
    pub dictionaries: &'a Dictionaries,
    pub num_values: usize,
    pub num_bytes: usize,
    pub most_values: usize,
    pub most_bytes: usize,
    /// The number of values that are not text, which were left out.
    pub num_left_out: usize,
}

impl Reading<'_> {
    pub(super) fn is_too_long(&self) -> bool {
        self.num_values > self.most_values || self.num_bytes > self.most_bytes
    }

    /// The value of a batch's field in a row.
    pub(super) fn field(
        &mut self,
        batch: &Batch,
        fields: &[Field],
        index: usize,
        row: usize,
    ) -> Value {
        match (fields.get(index), batch.columns.get(index)) {
            (Some(field), Some(column)) => self.value(batch, field, column, row),
            _ => Value::Null,
        }
    }

    fn value(&mut self, batch: &Batch, field: &Field, column: &Column, row: usize) -> Value {
        self.num_values += 1;
        if self.is_too_long() || row >= column.len {
            return Value::Null;
        }
        if column.has_nulls {
            let valid = batch.buffer(column, 0).get(row / 8);
            if valid.is_some_and(|byte| byte >> (row % 8) & 1 == 0) {
                return Value::Null;
            }
        }
        let value = match field.dictionary {
            Some((id, width)) => self.of_dictionary(batch, field, column, (id, width), row),
            None => self.plain(batch, field, column, row),
        };
        value.unwrap_or_default()
    }

    fn of_dictionary(
        &mut self,
        batch: &Batch,
        field: &Field,
        column: &Column,
        (id, width): (i64, usize),
        row: usize,
    ) -> Option<Value> {
        let index = int_at(batch.buffer(column, 1), row, width)?;
        let mut index = usize::try_from(index).ok()?;
        let batches = self.dictionaries.get(&id)?;
        let batch = batches.iter().find(|batch| {
            let is_there = index < batch.num_rows;
            if !is_there {
                index -= batch.num_rows;
            }
            is_there
        })?;
        // The dictionary holds plain values.
        let column = batch.columns.first()?;
        self.plain(batch, field, column, index)
    }

    fn plain(
        &mut self,
        batch: &Batch,
        field: &Field,
        column: &Column,
        row: usize,
    ) -> Option<Value> {
        let buffer = |number: usize| batch.buffer(column, number);
        match field.content {
            Content::Null | Content::Unread(..) => None,
            Content::Bool => buffer(1)
                .get(row / 8)
                .map(|byte| (byte >> (row % 8) & 1 == 1).into()),
            Content::Int(size, meaning) => {
                let number = int_at(buffer(1), row, size)?;
                Some(match (meaning, size) {
                    // Small numbers are signed until here.
                    (Meaning::Unsigned, 1) => Value::from(number as u8),
                    (Meaning::Unsigned, 2) => Value::from(number as u16),
                    (Meaning::Unsigned, 4) => Value::from(number as u32),
                    (meaning, _) => meaning.of_int64(number),
                })
            }
            Content::Float(size) => {
                let bytes = buffer(1).get(row.checked_mul(size)?..)?;
                Some(match size {
                    2 => float(half(u16_at(bytes, 0)?)),
                    4 => of_f32(f32::from_bits(i32_at(bytes, 0)? as u32)),
                    _ => float(f64::from_bits(i64_at(bytes, 0)? as u64)),
                })
            }
            Content::Bytes(size) => {
                let (start, end) = ends(buffer(1), row, size)?;
                self.text(buffer(2).get(start..end)?)
            }
            Content::FixedBytes(size, meaning) => {
                let start = row.checked_mul(size)?;
                let bytes = buffer(1).get(start..start.checked_add(size)?)?;
                match meaning {
                    Meaning::Decimal(_) => {
                        // Parquet's are big endian.
                        let bytes: Vec<u8> = bytes.iter().rev().copied().collect();
                        let skipped = bytes.len().saturating_sub(16);
                        meaning.of_bytes(&bytes[skipped..])
                    }
                    _ => self.text(bytes),
                }
            }
            Content::View => {
                let view = buffer(1).get(row.checked_mul(16)?..)?;
                let len = usize::try_from(i32_at(view, 0)?).ok()?;
                if len <= 12 {
                    return self.text(view.get(4..4 + len)?);
                }
                let number = usize::try_from(i32_at(view, 8)?).ok()?;
                let start = usize::try_from(i32_at(view, 12)?).ok()?;
                if number >= column.num_views {
                    return None;
                }
                self.text(buffer(2 + number).get(start..start.checked_add(len)?)?)
            }
            Content::Struct => {
                let children = field.children.iter().zip(&column.children);
                let fields = children.map(|(child, column)| {
                    (child.name.clone(), self.value(batch, child, column, row))
                });
                Some(Value::Object(fields.collect()))
            }
            Content::List(size) => {
                let (start, end) = ends(buffer(1), row, size)?;
                self.list(batch, field, column, start, end)
            }
            Content::FixedList(size) => {
                let start = row.checked_mul(size)?;
                self.list(batch, field, column, start, start.checked_add(size)?)
            }
            Content::Map => {
                let (start, end) = ends(buffer(1), row, 4)?;
                let (pairs, column) = (field.children.first()?, column.children.first()?);
                let [key, value] = pairs.children.as_slice() else {
                    return None;
                };
                let [keys, values] = column.children.as_slice() else {
                    return None;
                };
                let mut map = Map::new();
                for row in start..end.min(column.len) {
                    let key = match self.value(batch, key, keys, row) {
                        Value::String(key) => key,
                        key => key.to_string(),
                    };
                    map.insert(key, self.value(batch, value, values, row));
                    if self.is_too_long() {
                        break;
                    }
                }
                Some(Value::Object(map))
            }
        }
    }

    fn list(
        &mut self,
        batch: &Batch,
        field: &Field,
        column: &Column,
        start: usize,
        end: usize,
    ) -> Option<Value> {
        let (item, column) = (field.children.first()?, column.children.first()?);
        let mut list = Vec::new();
        for row in start..end.min(column.len) {
            list.push(self.value(batch, item, column, row));
            if self.is_too_long() {
                break;
            }
        }
        Some(Value::Array(list))
    }

    fn text(&mut self, bytes: &[u8]) -> Option<Value> {
        self.num_bytes += bytes.len();
        if self.is_too_long() {
            return None;
        }
        match str::from_utf8(bytes) {
            Ok(text) => Some(Value::String(text.to_owned())),
            Err(_) => {
                self.num_left_out += 1;
                None
            }
        }
    }
}

/// The whole number of that many bytes in a row.
fn int_at(bytes: &[u8], row: usize, size: usize) -> Option<i64> {
    let bytes = bytes.get(row.checked_mul(size)?..)?;
    Some(match size {
        1 => i64::from(*bytes.first()? as i8),
        2 => i64::from(u16_at(bytes, 0)? as i16),
        4 => i64::from(i32_at(bytes, 0)?),
        _ => i64_at(bytes, 0)?,
    })
}

/// Where a row's bytes or items begin and end.
fn ends(offsets: &[u8], row: usize, size: usize) -> Option<(usize, usize)> {
    let start = usize::try_from(int_at(offsets, row, size)?).ok()?;
    let end = usize::try_from(int_at(offsets, row.checked_add(1)?, size)?).ok()?;
    (start <= end).then_some((start, end))
}
