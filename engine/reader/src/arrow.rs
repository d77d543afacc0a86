//! Arrow's IPC format to records, as `Dataset.save_to_disk` and Feather leave it: a schema, dictionaries, batches of rows.
//!
//! Our own reader: Apache's crate takes memory as a file says and panics where that is not true. A file (`ARROW1`) holds
//! a stream, and is read as one; its footer only repeats where the batches are.

mod batch;
mod flat;
mod schema;
mod value;

use std::io::{self, Read};

use self::{
    batch::{Batch, BatchError, Dictionaries},
    flat::Table,
    schema::{Content, Field, Schema},
    value::Reading,
};
use super::{
    error::DatasetError,
    features::Features,
    output::Output,
    record::{Place, Record},
    source::{Bomb, OddEnd, Stream, read_to_end, rows_limit},
    text_file,
};

const MAGIC: &[u8] = b"ARROW1";
/// Before a message, and nothing in a length.
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Where the root of a message is that stands without its length.
const BARE_ROOT: i32 = 4;
const MAX_METADATA_BYTES: usize = 16 << 20;
const MAX_ROW_BYTES: usize = 16 << 20;
const MAX_ROW_VALUES: usize = 200_000;
/// What a row counts for in addition to its texts, as in Parquet.
const ROW_COST: u64 = 64;

/// Whether a file begins as an Arrow stream does: with a message that holds a schema.
pub(super) fn is_stream(head: &[u8]) -> bool {
    let Some(len) = head
        .strip_prefix(&CONTINUATION)
        .and_then(|rest| flat::i32_at(rest, 0))
        .and_then(|len| usize::try_from(len).ok())
        .filter(|&len| len <= MAX_METADATA_BYTES)
    else {
        return false;
    };
    // A long schema goes on after the head.
    let message = &head[8..head.len().min(8 + len)];
    Table::root(message).is_some_and(|message| message.byte(1) == Some(SCHEMA))
}

/// A message and its body.
type Message = (Vec<u8>, Vec<u8>);

/// What a message holds, by the numbers of `MessageHeader` in Arrow's `Message.fbs`.
const SCHEMA: u8 = 1;
const DICTIONARY: u8 = 2;
const BATCH: u8 = 3;

pub(super) fn read(
    name: &str,
    stored: &'static str,
    stream: &mut dyn Stream,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let num_stored_bytes = stream.num_stored_bytes();
    let input = stream
        .open()
        .map_err(|error| DatasetError::reading(name, &error))?;
    let mut reader = Reader {
        name,
        input,
        // What is held at once is hardly more than the file, but for what is compressed well.
        most: 3 * num_stored_bytes + (32 << 20),
        rows_left: rows_limit(num_stored_bytes),
        rows_limit: rows_limit(num_stored_bytes),
        end: None,
    };
    reader.skip_magic()?;
    let schema = reader.schema()?;
    output.file(name, &format!("Arrow{stored}"), "UTF-8");
    output.describe(schema.features.as_deref().and_then(Features::of_metadata));
    let mut dictionaries = Dictionaries::new();
    let mut num_left_out = vec![0; schema.fields.len()];
    while let Some((message, body)) = reader.message()? {
        let table = Table::root(&message).ok_or_else(|| reader.damaged("a message is damaged"))?;
        let header = table.table(2);
        match (table.byte(1).unwrap_or(0), header) {
            (DICTIONARY, Some(header)) => {
                let id = header.long(0).unwrap_or(0);
                let is_delta = header.byte(2) == Some(1);
                let field = dictionary_field(&schema.fields, id);
                let (Some(field), Some(data)) = (field, header.table(1)) else {
                    return Err(reader.damaged("a dictionary belongs to no column"));
                };
                let plain = Field {
                    dictionary: None,
                    ..field.clone()
                };
                let batches = dictionaries.entry(id).or_default();
                if !is_delta {
                    batches.clear();
                }
                let left = left(&dictionaries, reader.most);
                let batch = Batch::new(data, &body, &[plain], left)
                    .map_err(|error| reader.failed(error))?;
                dictionaries.entry(id).or_default().push(batch);
            }
            (BATCH, Some(header)) => {
                let left = left(&dictionaries, reader.most);
                let batch = Batch::new(header, &body, &schema.fields, left)
                    .map_err(|error| reader.failed(error))?;
                drop(body);
                reader.rows(&batch, &schema, &dictionaries, &mut num_left_out, output)?;
            }
            _ => {}
        }
    }
    for (field, count) in schema.fields.iter().zip(num_left_out) {
        field_note(name, field, count, output);
    }
    if let Some(OddEnd::Followed) = reader.end {
        output.note(name, text_file::FOLLOWED);
    } else if reader.end.is_some() {
        let note = "The file is cut off; all whole batches of rows before that were read. Download or write it again.";
        output.note(name, note);
    }
    Ok(())
}

/// The bytes that a batch may have next to the dictionaries.
fn left(dictionaries: &Dictionaries, most: u64) -> u64 {
    let batches = dictionaries.values().flatten();
    let held: u64 = batches.map(Batch::num_bytes).sum();
    most.saturating_sub(held)
}

/// Tells of values of a field that were not read.
fn field_note(file: &str, field: &Field, count: usize, output: &mut Output) {
    if let Content::Unread(what, ..) = field.content {
        let note = format!(
            "The column {:?} was not read: its values are {what}, which is not supported.",
            field.name
        );
        output.note(file, &note);
    }
    if count > 0 {
        let values = if count == 1 { "value of" } else { "values of" };
        let note = format!(
            "{count} {values} the column {:?} are not valid text, and were left out.",
            field.name
        );
        output.note(file, &note);
    }
}

/// The field that has the dictionary of that number.
fn dictionary_field(fields: &[Field], id: i64) -> Option<&Field> {
    fields.iter().find_map(|field| match field.dictionary {
        Some((number, _)) if number == id => Some(field),
        _ => dictionary_field(&field.children, id),
    })
}

struct Reader<'a> {
    name: &'a str,
    input: Box<dyn Read + 'a>,
    /// Bytes of a message, before and after decompression.
    most: u64,
    /// Bytes that rows may still become.
    rows_left: u64,
    rows_limit: u64,
    end: Option<OddEnd>,
}

impl Reader<'_> {
    fn damaged(&self, what: &str) -> DatasetError {
        DatasetError::Arrow {
            file: self.name.to_owned(),
            what: what.to_owned(),
            remedy: "Download or write the file again.",
        }
    }

    fn bomb(&self, bomb: Bomb) -> DatasetError {
        DatasetError::Bomb {
            file: self.name.to_owned(),
            bomb,
        }
    }

    fn failed(&self, error: BatchError) -> DatasetError {
        match error {
            BatchError::Damaged(what) => self.damaged(what),
            BatchError::Codec(what) => self.damaged(&what),
            BatchError::Bomb => self.bomb(Bomb::Held(self.most)),
        }
    }

    /// As many bytes as that; fewer where the file ends.
    fn bytes(&mut self, len: u64) -> Result<Vec<u8>, DatasetError> {
        let mut bytes = Vec::new();
        let read = (&mut self.input)
            .take(len)
            .read_to_end(&mut bytes)
            .map(|_| None)
            .or_else(|error: io::Error| OddEnd::of(error).map(Some));
        match read {
            Ok(end) => self.end = self.end.or(end),
            Err(error) => return Err(DatasetError::reading(self.name, &error)),
        }
        if (bytes.len() as u64) < len && !bytes.is_empty() {
            self.end.get_or_insert(OddEnd::CutOff);
        }
        Ok(bytes)
    }

    /// A file's mark, and two bytes after it.
    fn skip_magic(&mut self) -> Result<(), DatasetError> {
        let mut head = [0; 8];
        let read = read_to_end(&mut self.input, &mut head);
        let (len, _) = read.map_err(|error| DatasetError::reading(self.name, &error))?;
        if !head.starts_with(MAGIC) {
            let before = io::Cursor::new(head[..len].to_vec());
            let rest = std::mem::replace(&mut self.input, Box::new(io::empty()));
            self.input = Box::new(before.chain(rest));
        }
        Ok(())
    }

    /// The next message and its body; `None` at the end.
    fn message(&mut self) -> Result<Option<Message>, DatasetError> {
        let mut prefix = self.bytes(4)?;
        if prefix == CONTINUATION {
            prefix = self.bytes(4)?;
        }
        let len = flat::i32_at(&prefix, 0).unwrap_or(0);
        if len == 0 {
            return Ok(None);
        }
        // No message is that short: it is where the message's own root is.
        if len == BARE_ROOT {
            return Ok(Some((self.bare_message(prefix)?, Vec::new())));
        }
        let len = usize::try_from(len).ok();
        let len = len.filter(|&len| len <= MAX_METADATA_BYTES);
        let len = len.ok_or_else(|| self.damaged("a message has an impossible length"))?;
        let message = self.bytes(len as u64)?;
        if message.len() < len {
            return Ok(None);
        }
        let table = Table::root(&message).ok_or_else(|| self.damaged("a message is damaged"))?;
        let body = u64::try_from(table.long(3).unwrap_or(0));
        let body = body.map_err(|_| self.damaged("a message has an impossible length"))?;
        if body > self.most {
            return Err(self.bomb(Bomb::Held(self.most)));
        }
        let bytes = self.bytes(body)?;
        Ok((bytes.len() as u64 == body).then_some((message, bytes)))
    }

    /// A message without its length, as Polars writes a file's schema, whose length is only in the file's footer: it goes
    /// on to the mark of the next one, which stands at a multiple of eight bytes.
    fn bare_message(&mut self, mut message: Vec<u8>) -> Result<Vec<u8>, DatasetError> {
        message.extend(self.bytes(4)?);
        while message.len() <= MAX_METADATA_BYTES {
            let part = self.bytes(8)?;
            if part.len() < 8 {
                break;
            }
            if part.starts_with(&CONTINUATION) {
                let rest = std::mem::replace(&mut self.input, Box::new(io::empty()));
                self.input = Box::new(io::Cursor::new(part).chain(rest));
                break;
            }
            message.extend(part);
        }
        Ok(message)
    }

    fn schema(&mut self) -> Result<Schema, DatasetError> {
        let message = self.message()?;
        let (message, _) = message.ok_or_else(|| self.damaged("it is cut off"))?;
        let table = Table::root(&message).filter(|table| table.byte(1) == Some(SCHEMA));
        let schema = table.and_then(|table| Schema::parse(table.table(2)?));
        let schema = schema.ok_or_else(|| self.damaged("its schema is damaged"))?;
        if schema.is_big_endian {
            return Err(DatasetError::Arrow {
                file: self.name.to_owned(),
                what: "its numbers are big-endian, which is not supported".to_owned(),
                remedy: "Write it as Parquet: `dataset.to_parquet(path)`.",
            });
        }
        Ok(schema)
    }

    fn rows(
        &mut self,
        batch: &Batch,
        schema: &Schema,
        dictionaries: &Dictionaries,
        num_left_out: &mut [usize],
        output: &mut Output,
    ) -> Result<(), DatasetError> {
        for row in 0..batch.num_rows {
            let mut reading = Reading {
                dictionaries,
                num_values: 0,
                num_bytes: 0,
                most_values: MAX_ROW_VALUES,
                most_bytes: MAX_ROW_BYTES,
                num_left_out: 0,
            };
            let mut record = Vec::with_capacity(schema.fields.len());
            for (index, field) in schema.fields.iter().enumerate() {
                if let Content::Unread(..) = field.content {
                    continue;
                }
                let before = reading.num_left_out;
                let value = reading.field(batch, &schema.fields, index, row);
                num_left_out[index] += reading.num_left_out - before;
                record.push((field.name.clone(), value));
            }
            let cost = ROW_COST + reading.num_bytes as u64 + reading.num_values as u64;
            self.rows_left = self
                .rows_left
                .checked_sub(cost)
                .ok_or_else(|| self.bomb(Bomb::Rows(self.rows_limit)))?;
            if reading.is_too_long() {
                let what = format!(
                    "the row has more than the {MAX_ROW_BYTES} bytes or {MAX_ROW_VALUES} values allowed"
                );
                output.fault(Place::default(), what, "Split the row.");
                continue;
            }
            output.record(Record {
                place: Place::default(),
                fields: record,
                text: None,
            });
        }
        Ok(())
    }
}
