//! A record batch: its buffers, decompressed, and which of them belong to which field.

use std::collections::HashMap;

use super::{
    flat::{Table, i64_at},
    schema::{Content, Field},
};
use crate::codec::{self, Codec};

/// Why a batch cannot be read.
#[derive(Debug)]
pub(super) enum BatchError {
    Damaged(&'static str),
    Codec(String),
    Bomb,
}

impl From<&'static str> for BatchError {
    fn from(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}

/// A field's values in a batch: numbers of its buffers, and those of the fields inside it.
#[derive(Debug)]
pub(super) struct Column {
    pub len: usize,
    pub has_nulls: bool,
    first_buffer: usize,
    /// Buffers that views point into.
    pub num_views: usize,
    pub children: Vec<Column>,
}

/// The values of some rows.
#[derive(Debug)]
pub(super) struct Batch {
    pub num_rows: usize,
    buffers: Vec<Vec<u8>>,
    pub columns: Vec<Column>,
}

/// Batches of a dictionary's values, one after another.
pub(super) type Dictionaries = HashMap<i64, Vec<Batch>>;

impl Batch {
    /// Reads the batch that `table` describes. `most`: bytes that its buffers may have.
    pub(super) fn new(
        table: Table,
        body: &[u8],
        fields: &[Field],
        most: u64,
    ) -> Result<Self, BatchError> {
        let num_rows = table.long(0).unwrap_or(0);
        let num_rows = usize::try_from(num_rows).map_err(|_| "a batch has a negative length")?;
        let codec = match table.table(3) {
            None => None,
            Some(compression) => Some(match compression.byte(0).unwrap_or(0) {
                0 => Codec::Lz4Frame,
                1 => Codec::Zstd,
                _ => return Err("a batch is compressed in an unknown way".into()),
            }),
        };
        let buffers = buffers(table, body, codec, most)?;
        let mut layout = Layout {
            table,
            num_nodes: 0,
            num_buffers: 0,
            num_views: 0,
        };
        let columns = fields
            .iter()
            .map(|field| layout.column(field))
            .collect::<Option<Vec<_>>>()
            .ok_or("a batch does not describe all fields")?;
        let batch = Self {
            num_rows,
            buffers,
            columns,
        };
        let are_whole = fields
            .iter()
            .zip(&batch.columns)
            .all(|(field, column)| column.len >= num_rows && batch.is_whole(field, column));
        match are_whole {
            true => Ok(batch),
            false => Err("a batch has fewer values than it says".into()),
        }
    }

    /// Whether the first buffers of values are as long as their number says, so that no more rows come out than bytes went
    /// in.
    fn is_whole(&self, field: &Field, column: &Column) -> bool {
        let buffer = |number: usize| self.buffer(column, number).len();
        let has = |number: usize, size: usize| {
            column
                .len
                .checked_mul(size)
                .is_some_and(|needed| buffer(number) >= needed)
        };
        if let Some((_, width)) = field.dictionary {
            return has(1, width);
        }
        match field.content {
            Content::Null | Content::Unread(..) => true,
            Content::Struct => {
                let children = field.children.iter().zip(&column.children);
                let mut children = children;
                children
                    .all(|(field, child)| child.len >= column.len && self.is_whole(field, child))
            }
            Content::Bool => buffer(1) >= column.len.div_ceil(8),
            Content::Int(size, _) | Content::Float(size) => has(1, size),
            Content::FixedBytes(size, _) => has(1, size),
            Content::View => has(1, 16),
            Content::Bytes(size) | Content::List(size) => column.len == 0 || has(1, size),
            Content::Map => column.len == 0 || has(1, 4),
            Content::FixedList(_) => true,
        }
    }

    /// The bytes that it takes.
    pub(super) fn num_bytes(&self) -> u64 {
        let buffers = self.buffers.iter();
        buffers.map(|buffer| buffer.len() as u64).sum()
    }

    /// A buffer of a field; an empty one where it has none of that number.
    pub(super) fn buffer(&self, column: &Column, number: usize) -> &[u8] {
        self.buffers
            .get(column.first_buffer + number)
            .map_or(&[], Vec::as_slice)
    }
}

/// Buffers as a batch lists them: one after another, with that many for the views of texts.
struct Layout<'b> {
    table: Table<'b>,
    num_nodes: usize,
    num_buffers: usize,
    num_views: usize,
}

impl Layout<'_> {
    fn column(&mut self, field: &Field) -> Option<Column> {
        let nodes = self.table.vector(1, 16)?;
        let len = usize::try_from(nodes.long(2 * self.num_nodes)?).ok()?;
        let num_nulls = nodes.long(2 * self.num_nodes + 1)?;
        self.num_nodes += 1;
        let first_buffer = self.num_buffers;
        let mut num_views = 0;
        let (num_buffers, has_validity) = match field.content {
            _ if field.dictionary.is_some() => (2, true),
            Content::Null => (0, false),
            Content::Struct | Content::FixedList(_) => (1, true),
            Content::Bool | Content::Int(..) | Content::Float(_) | Content::FixedBytes(..) => {
                (2, true)
            }
            Content::List(_) | Content::Map => (2, true),
            Content::Bytes(_) => (3, true),
            Content::View => {
                let counts = self.table.vector(4, 8)?;
                num_views = usize::try_from(counts.long(self.num_views)?).ok()?;
                self.num_views += 1;
                (num_views.checked_add(2)?, true)
            }
            Content::Unread(_, count, has_validity) => {
                (count + usize::from(has_validity), has_validity)
            }
        };
        self.num_buffers = self.num_buffers.checked_add(num_buffers)?;
        let children = match field.dictionary {
            // They lie in the dictionary's own batches.
            Some(_) => Vec::new(),
            None => field
                .children
                .iter()
                .map(|child| self.column(child))
                .collect::<Option<_>>()?,
        };
        Some(Column {
            len,
            has_nulls: has_validity && num_nulls != 0,
            first_buffer,
            num_views,
            children,
        })
    }
}

fn buffers(
    table: Table,
    body: &[u8],
    codec: Option<Codec>,
    most: u64,
) -> Result<Vec<Vec<u8>>, BatchError> {
    let Some(places) = table.vector(2, 16) else {
        return Ok(Vec::new());
    };
    let mut left = most;
    let mut buffers = Vec::with_capacity(places.len);
    for index in 0..places.len {
        let number = |at: usize| {
            places
                .long(at)
                .and_then(|number| usize::try_from(number).ok())
        };
        let range = number(2 * index).zip(number(2 * index + 1));
        let stored = range.and_then(|(start, len)| body.get(start..start.checked_add(len)?));
        let stored = stored.ok_or("a buffer lies outside its batch")?;
        let (data, len) = match codec {
            Some(_) if !stored.is_empty() => {
                let len = i64_at(stored, 0).ok_or("a buffer is cut off")?;
                (&stored[8..], len)
            }
            _ => (stored, -1),
        };
        let len = match len {
            // It is not compressed.
            -1 => data.len(),
            len => usize::try_from(len).map_err(|_| "a buffer has a negative length")?,
        };
        left = left.checked_sub(len as u64).ok_or(BatchError::Bomb)?;
        let bytes = match codec {
            Some(codec) if len != data.len() || i64_at(stored, 0) != Some(-1) => {
                if stored.is_empty() {
                    Vec::new()
                } else {
                    codec::decompress(codec, data, len).map_err(BatchError::Codec)?
                }
            }
            _ => data.to_vec(),
        };
        buffers.push(bytes);
    }
    Ok(buffers)
}
