//! Parquet to records, row group by row group.
//!
//! Apache's crate reads the footer and the schema. Its readers of pages, values and records are not used: they allocate
//! whatever a file claims and panic if the claim is false, which in wasm ends the worker.

mod column;
mod encoding;
mod pages;
mod row;
mod schema;
mod thrift;
pub(super) mod value;

use std::{
    cell::Cell,
    io::{self, SeekFrom},
    rc::Rc,
};

use self::{
    column::Column,
    pages::{PageError, Pages},
    row::Row,
    schema::Field,
    thrift::Thrift,
};
use super::{
    codec::Codec,
    error::DatasetError,
    features::Features,
    open::Seekable,
    output::Output,
    record::{Place, Record},
    source::{Bomb, expansion_limit, read_full, rows_limit},
};
use parquet::{
    basic::Compression,
    file::metadata::{
        ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
        ParquetStatisticsPolicy, RowGroupMetaData,
    },
};

/// `PAR1`, and before it the length of the footer.
const TAIL_BYTES: u64 = 8;
const MAGIC: &[u8] = b"PAR1";
const MAX_FOOTER_BYTES: u64 = 64 << 20;
/// Old versions of parquet-mr left the dictionary's header out of a column's size (PARQUET-816).
const UNCOUNTED_BYTES: u64 = 100;
const MAX_COLUMNS: usize = 4096;
const MAX_ROW_BYTES: usize = 16 << 20;
const MAX_ROW_VALUES: usize = 200_000;
/// The bytes that pages may take at once: so many, and a multiple of the file's size.
const ALWAYS_HELD_BYTES: u64 = 24 << 20;
const MAX_HELD: u64 = 2;
/// What a row counts for besides its texts where the rows are held to what a file may expand to: a few bytes can say
/// that a million rows are equal.
const ROW_COST: u64 = 64;

pub(super) fn read(
    name: &str,
    stored: &'static str,
    file: &mut dyn Seekable,
    num_bytes: u64,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let limit = expansion_limit(num_bytes);
    let mut reading = Reading {
        name,
        file,
        num_bytes,
        allowance: Rc::new(Cell::new(limit)),
        limit,
        most_held: MAX_HELD * num_bytes + ALWAYS_HELD_BYTES,
        rows_left: rows_limit(num_bytes),
    };
    let metadata = reading.metadata()?;
    let schema = metadata.file_metadata().schema_descr();
    if schema.num_columns() > MAX_COLUMNS {
        return Err(DatasetError::Table {
            file: name.to_owned(),
            num_columns: schema.num_columns(),
            most: MAX_COLUMNS,
        });
    }
    let fields = schema::fields(schema.root_schema())
        .ok_or_else(|| reading.damaged("its fields are nested too deeply"))?;
    output.file(name, &format!("Parquet{stored}"), "UTF-8");
    let pairs = metadata.file_metadata().key_value_metadata();
    let features = pairs
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "huggingface");
    let features = features.and_then(|pair| pair.value.as_deref());
    output.describe(features.and_then(Features::of_metadata));
    let mut left_out = vec![0; fields.len()];
    for group in metadata.row_groups() {
        reading.read_group(group, &fields, &mut left_out, output)?;
    }
    for (field, count) in fields.iter().zip(left_out).filter(|(_, count)| *count > 0) {
        let values = if count == 1 { "value of" } else { "values of" };
        let note = format!(
            "{count} {values} the column {:?} are not valid text, and were left out.",
            field.name
        );
        output.note(name, &note);
    }
    Ok(())
}

struct Reading<'a> {
    name: &'a str,
    file: &'a mut dyn Seekable,
    num_bytes: u64,
    /// Bytes that may still be decompressed, and that might be at first.
    allowance: Rc<Cell<u64>>,
    limit: u64,
    /// Bytes that pages may take at once.
    most_held: u64,
    /// The same for the rows that are made of them.
    rows_left: u64,
}

impl Reading<'_> {
    fn damaged(&self, what: &str) -> DatasetError {
        DatasetError::Parquet {
            file: self.name.to_owned(),
            what: what.to_owned(),
            remedy: "Download or write the file again.",
        }
    }

    fn failed(&self, error: PageError) -> DatasetError {
        match error {
            PageError::Damaged(what) => self.damaged(&what),
            PageError::Bomb => self.bomb(Bomb::Content(self.limit)),
            PageError::Held => self.bomb(Bomb::Held(self.most_held)),
        }
    }

    fn bomb(&self, bomb: Bomb) -> DatasetError {
        DatasetError::Bomb {
            file: self.name.to_owned(),
            bomb,
        }
    }

    /// `len` bytes from `start` on, which must be in the file.
    fn bytes(&mut self, start: u64, len: u64) -> Result<Vec<u8>, DatasetError> {
        if start
            .checked_add(len)
            .is_none_or(|end| end > self.num_bytes)
        {
            return Err(self.damaged("a part of it should lie beyond its end"));
        }
        let mut bytes = vec![0; len as usize];
        let read = self
            .file
            .seek(SeekFrom::Start(start))
            .and_then(|_| read_full(&mut &mut *self.file, &mut bytes))
            .and_then(|read| match read == bytes.len() {
                true => Ok(()),
                false => Err(io::Error::other("it ends too early")),
            });
        read.map_err(|error| DatasetError::reading(self.name, &error))?;
        Ok(bytes)
    }

    fn metadata(&mut self) -> Result<ParquetMetaData, DatasetError> {
        let tail_start = self.num_bytes.checked_sub(TAIL_BYTES);
        let tail_start = tail_start.ok_or_else(|| self.damaged("it is cut off"))?;
        let tail = self.bytes(tail_start, TAIL_BYTES)?;
        let (len, magic) = tail.split_at(4);
        if magic != MAGIC {
            return Err(self.damaged("it is cut off: the footer is missing"));
        }
        let len = len
            .iter()
            .rev()
            .fold(0, |len, &byte| len << 8 | u64::from(byte));
        let start = tail_start
            .checked_sub(len)
            .filter(|_| len <= MAX_FOOTER_BYTES);
        let start = start.ok_or_else(|| self.damaged("its footer has an impossible length"))?;
        let footer = self.bytes(start, len)?;
        // The crate allocates for lists what they say.
        Thrift::new(&footer)
            .pass_struct()
            .ok_or_else(|| self.damaged("its footer is damaged"))?;
        // Nothing is chosen by statistics, and some of what writers put there is odd.
        let options = ParquetMetaDataOptions::new()
            .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        ParquetMetaDataReader::decode_metadata_with_options(&footer, Some(&options))
            .map_err(|error| self.damaged(&error.to_string()))
    }

    fn read_group(
        &mut self,
        group: &RowGroupMetaData,
        fields: &[Field],
        left_out: &mut [usize],
        output: &mut Output,
    ) -> Result<(), DatasetError> {
        let mut columns = Vec::with_capacity(group.num_columns());
        let room = Rc::new(Cell::new(self.most_held));
        let mut num_stored = 0;
        for chunk in group.columns() {
            let pages = self.pages(chunk, &room)?;
            num_stored += pages.bytes.len() as u64 - UNCOUNTED_BYTES.min(pages.bytes.len() as u64);
            if num_stored > self.num_bytes {
                return Err(self.damaged("several of its columns share the same bytes"));
            }
            columns.push(Column::new(chunk.column_descr(), pages));
        }
        if columns.is_empty() {
            return Ok(());
        }
        for _ in 0..group.num_rows() {
            self.read_row(&mut columns, fields, output)?;
        }
        for (count, field) in left_out.iter_mut().zip(fields) {
            let columns = columns.get(field.columns.clone()).unwrap_or_default();
            *count += columns
                .iter()
                .map(|column| column.num_left_out)
                .sum::<usize>();
        }
        Ok(())
    }

    /// The pages of a column, which are read at once as they are stored.
    fn pages(
        &mut self,
        chunk: &ColumnChunkMetaData,
        room: &Rc<Cell<u64>>,
    ) -> Result<Pages, DatasetError> {
        let name = chunk.column_path();
        let codec = match chunk.compression() {
            Compression::UNCOMPRESSED => Codec::None,
            Compression::SNAPPY => Codec::Snappy,
            Compression::GZIP(_) => Codec::Gzip,
            Compression::BROTLI(_) => Codec::Brotli,
            Compression::ZSTD(_) => Codec::Zstd,
            Compression::LZ4_RAW => Codec::Lz4Block,
            Compression::LZ4 => Codec::Lz4OfHadoop,
            Compression::LZO => {
                return Err(DatasetError::Parquet {
                    file: self.name.to_owned(),
                    what: format!(
                        "the column {name} is compressed with LZO, which is not supported"
                    ),
                    remedy: "Write the file again with Snappy or zstd.",
                });
            }
        };
        // Some writers say 0 where there is no dictionary.
        let dictionary = chunk.dictionary_page_offset().filter(|&start| start > 0);
        let data = chunk.data_page_offset();
        let start = dictionary.map_or(data, |start| start.min(data));
        let range = (u64::try_from(start), u64::try_from(chunk.compressed_size()));
        let (Ok(start), Ok(len)) = range else {
            return Err(self.damaged("a column's place is negative"));
        };
        let left = self
            .num_bytes
            .checked_sub(start)
            .filter(|&left| len <= left);
        let left = left.ok_or_else(|| self.damaged("a column should lie beyond its end"))?;
        Ok(Pages {
            bytes: self.bytes(start, left.min(len + UNCOUNTED_BYTES))?,
            at: 0,
            codec,
            allowance: Rc::clone(&self.allowance),
            room: Rc::clone(room),
            num_values: u64::try_from(chunk.num_values()).unwrap_or(0),
            has_defs: chunk.column_descr().max_def_level() > 0,
            has_reps: chunk.column_descr().max_rep_level() > 0,
        })
    }

    fn read_row(
        &mut self,
        columns: &mut [Column],
        fields: &[Field],
        output: &mut Output,
    ) -> Result<(), DatasetError> {
        for column in columns.iter_mut() {
            column.begin().map_err(|error| self.failed(error))?;
        }
        let mut row = Row {
            columns,
            num_values: 0,
            num_bytes: 0,
        };
        let mut record = Vec::with_capacity(fields.len());
        for field in fields {
            record.push((field.name.clone(), row.value(field)));
        }
        for column in row.columns.iter_mut() {
            column.check().map_err(|error| self.failed(error))?;
        }
        let cost = ROW_COST + row.num_bytes as u64 + row.num_values as u64;
        self.rows_left = self
            .rows_left
            .checked_sub(cost)
            .ok_or_else(|| self.bomb(Bomb::Rows(rows_limit(self.num_bytes))))?;
        if row.is_too_long() {
            let what = format!(
                "the row has more than the {MAX_ROW_BYTES} bytes or {MAX_ROW_VALUES} values allowed"
            );
            output.fault(Place::default(), what, "Split the row.");
            return Ok(());
        }
        output.record(Record {
            place: Place::default(),
            fields: record,
            text: None,
        });
        Ok(())
    }
}
