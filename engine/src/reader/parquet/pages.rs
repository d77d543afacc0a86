//! The pages of a column in a row group, found and decompressed under limits.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding},
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
};

use super::{
    codec::decompress,
    thrift::{STRUCT, TRUE, Thrift},
};
use crate::reader::source::StreamError;

/// Bytes that a page's header is looked for in; statistics in it may be as long as texts.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// Values of a page: those of lists are read as far as their row goes, which may be all of the page.
const MAX_PAGE_VALUES: u32 = 4 << 20;
/// Kinds of pages; those of indices are passed over.
const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

/// Bytes that may still be decompressed, over all the file. Shared, as the crate wants readers that can be sent.
pub(super) type Allowance = Arc<AtomicU64>;

/// Pages one after the other.
pub(super) struct Pages {
    pub rest: Bytes,
    pub compression: Compression,
    pub allowance: Allowance,
    /// What the allowance was at first.
    pub limit: u64,
    /// Values that are still to come.
    pub num_values: u64,
}

/// The numbers of a header of any kind of page.
#[derive(Default)]
struct Header {
    kind: i64,
    num_bytes: usize,
    num_stored_bytes: usize,
    num_values: u32,
    encoding: i64,
    def_encoding: i64,
    rep_encoding: i64,
    num_nulls: u32,
    num_rows: u32,
    def_bytes: usize,
    rep_bytes: usize,
    is_compressed: bool,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut thrift = Thrift::new(bytes);
        let mut header = Self {
            kind: -1,
            def_encoding: 3,
            rep_encoding: 3,
            is_compressed: true,
            ..Self::default()
        };
        let mut last = 0;
        while let Some((number, kind)) = thrift.field(&mut last)? {
            match (number, kind) {
                (1, 5) => header.kind = thrift.int()?,
                (2, 5) => header.num_bytes = thrift.int()?.try_into().ok()?,
                (3, 5) => header.num_stored_bytes = thrift.int()?.try_into().ok()?,
                (5 | 7 | 8, STRUCT) => header.read_details(number, &mut thrift)?,
                (_, kind) => thrift.pass_field(kind)?,
            }
        }
        Some((header, bytes.len() - thrift.num_left()))
    }

    /// What only one kind of page has: `holder` is 5 for data, 7 for a dictionary, 8 for data of version 2.
    fn read_details(&mut self, holder: i64, thrift: &mut Thrift) -> Option<()> {
        let mut last = 0;
        while let Some((number, kind)) = thrift.field(&mut last)? {
            match (holder, number, kind) {
                (_, 1, 5) => self.num_values = thrift.int()?.try_into().ok()?,
                (5 | 7, 2, 5) | (8, 4, 5) => self.encoding = thrift.int()?,
                (5, 3, 5) => self.def_encoding = thrift.int()?,
                (5, 4, 5) => self.rep_encoding = thrift.int()?,
                (8, 2, 5) => self.num_nulls = thrift.int()?.try_into().ok()?,
                (8, 3, 5) => self.num_rows = thrift.int()?.try_into().ok()?,
                (8, 5, 5) => self.def_bytes = thrift.int()?.try_into().ok()?,
                (8, 6, 5) => self.rep_bytes = thrift.int()?.try_into().ok()?,
                (8, 7, 1 | 2) => self.is_compressed = kind == TRUE,
                (_, _, kind) => thrift.pass_field(kind)?,
            }
        }
        Some(())
    }

    /// Bytes of levels, which are not compressed in version 2.
    fn level_bytes(&self) -> usize {
        match self.kind {
            DATA_V2 => self.def_bytes.saturating_add(self.rep_bytes),
            _ => 0,
        }
    }
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

fn encoding(number: i64) -> Result<Encoding> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(damaged("a page has an unknown encoding")),
    })
}

impl Pages {
    fn next_page(&mut self) -> Result<Option<Page>> {
        while self.num_values > 0 && !self.rest.is_empty() {
            let head = &self.rest[..self.rest.len().min(MAX_HEADER_BYTES)];
            let (header, len) =
                Header::read(head).ok_or_else(|| damaged("the header of a page is damaged"))?;
            let stored_end = len.saturating_add(header.num_stored_bytes);
            if stored_end > self.rest.len() {
                return Err(damaged("a page is cut off"));
            }
            let stored = self.rest.slice(len..stored_end);
            self.rest = self.rest.slice(stored_end..);
            if ![DATA, DICTIONARY, DATA_V2].contains(&header.kind) {
                continue;
            }
            // A page without values would end the column for the crate.
            if header.kind != DICTIONARY && header.num_values == 0 {
                continue;
            }
            if header.num_values > MAX_PAGE_VALUES {
                return Err(damaged("a page has too many values"));
            }
            let bytes = self.decompressed(&header, stored)?;
            if header.kind != DICTIONARY {
                self.num_values = self.num_values.saturating_sub(header.num_values.into());
            }
            return page(&header, bytes).map(Some);
        }
        Ok(None)
    }

    fn decompressed(&self, header: &Header, stored: Bytes) -> Result<Bytes> {
        let num_levels = header.level_bytes();
        let (Some(_), Some(num_bytes)) = (
            stored.get(..num_levels),
            header.num_bytes.checked_sub(num_levels),
        ) else {
            return Err(damaged("the levels of a page are longer than itself"));
        };
        let is_bare = header.kind == DATA_V2 && !header.is_compressed;
        if is_bare || self.compression == Compression::UNCOMPRESSED {
            return Ok(stored);
        }
        let spent = self.allowance.fetch_update(Relaxed, Relaxed, |left| {
            left.checked_sub(header.num_bytes as u64)
        });
        if spent.is_err() {
            let limit = self.limit;
            return Err(ParquetError::External(Box::new(StreamError::Bomb {
                limit,
            })));
        }
        let mut bytes = stored[..num_levels].to_vec();
        // A page of nulls alone may have nothing but levels.
        if num_bytes > 0 {
            let rest = decompress(self.compression, &stored[num_levels..], num_bytes);
            let rest =
                rest.map_err(|what| damaged(&format!("a page cannot be decompressed: {what}")))?;
            bytes = match num_levels {
                0 => rest,
                _ => [bytes, rest].concat(),
            };
        }
        Ok(Bytes::from(bytes))
    }
}

fn page(header: &Header, buf: Bytes) -> Result<Page> {
    let values_encoding = encoding(header.encoding)?;
    let num_values = header.num_values;
    Ok(match header.kind {
        DICTIONARY => Page::DictionaryPage {
            buf,
            num_values,
            encoding: values_encoding,
            is_sorted: false,
        },
        DATA_V2 => Page::DataPageV2 {
            buf,
            num_values,
            encoding: values_encoding,
            num_nulls: header.num_nulls,
            num_rows: header.num_rows,
            def_levels_byte_len: header.def_bytes as u32,
            rep_levels_byte_len: header.rep_bytes as u32,
            is_compressed: false,
            statistics: None,
        },
        _ => Page::DataPage {
            buf,
            num_values,
            encoding: values_encoding,
            def_level_encoding: encoding(header.def_encoding)?,
            rep_level_encoding: encoding(header.rep_encoding)?,
            statistics: None,
        },
    })
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.next_page()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(damaged("pages are read in order"))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(damaged("pages are read in order"))
    }

    /// Rows may go on in the next page, where there is one.
    fn at_record_boundary(&mut self) -> Result<bool> {
        Ok(self.num_values == 0 || self.rest.is_empty())
    }
}
