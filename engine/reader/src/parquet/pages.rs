//! Finds and decompresses the pages of a column in a row group, within limits.

use std::{cell::Cell, rc::Rc};

use super::thrift::{STRUCT, TRUE, Thrift};
use crate::codec::{Codec, decompress};

/// The maximum size of a page's header; statistics in it may be as long as texts.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// The maximum number of values in a page, all of which are decoded at once.
const MAX_PAGE_VALUES: u32 = 4 << 20;
/// The kinds of pages; index pages are skipped.
const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;
/// The encoding of levels that replaced the retired one.
const RLE: i64 = 3;

/// Why a column cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PageError {
    Damaged(String),
    /// It expands to more than is allowed.
    Bomb,
    /// Its pages take more at once than is allowed.
    Held,
}

impl PageError {
    pub(super) fn damaged(what: &str) -> Self {
        Self::Damaged(what.to_owned())
    }

    pub(super) fn values() -> Self {
        Self::damaged("the values of a page are damaged")
    }
}

/// A page, decompressed.
pub(super) struct Page {
    pub is_dictionary: bool,
    pub bytes: Vec<u8>,
    pub num_values: usize,
    /// Its number in parquet.thrift.
    pub encoding: i64,
    /// The size of the levels, if the page does not contain it.
    pub def_bytes: Option<usize>,
    pub rep_bytes: Option<usize>,
    /// The maximum size of its decoded values.
    pub most_bytes: usize,
}

/// The pages in sequence.
pub(super) struct Pages {
    pub bytes: Vec<u8>,
    pub at: usize,
    pub codec: Codec,
    /// The number of bytes that may still be decompressed, over the whole file.
    pub allowance: Rc<Cell<u64>>,
    /// The number of bytes that pages of all columns may still take at once.
    pub room: Rc<Cell<u64>>,
    /// The number of remaining values.
    pub num_values: u64,
    pub has_defs: bool,
    pub has_reps: bool,
}

/// The numbers of a header of any kind of page.
struct Header {
    kind: i64,
    num_bytes: usize,
    num_stored_bytes: usize,
    num_values: u32,
    encoding: i64,
    def_encoding: i64,
    rep_encoding: i64,
    def_bytes: usize,
    rep_bytes: usize,
    is_compressed: bool,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut thrift = Thrift::new(bytes);
        let mut header = Self {
            kind: -1,
            num_bytes: 0,
            num_stored_bytes: 0,
            num_values: 0,
            encoding: 0,
            def_encoding: RLE,
            rep_encoding: RLE,
            def_bytes: 0,
            rep_bytes: 0,
            is_compressed: true,
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

    /// Reads the fields that only one kind of page has: `holder` is 5 for data, 7 for a dictionary, 8 for data of
    /// version 2.
    fn read_details(&mut self, holder: i64, thrift: &mut Thrift) -> Option<()> {
        let mut last = 0;
        while let Some((number, kind)) = thrift.field(&mut last)? {
            match (holder, number, kind) {
                (_, 1, 5) => self.num_values = thrift.int()?.try_into().ok()?,
                (5 | 7, 2, 5) | (8, 4, 5) => self.encoding = thrift.int()?,
                (5, 3, 5) => self.def_encoding = thrift.int()?,
                (5, 4, 5) => self.rep_encoding = thrift.int()?,
                (8, 5, 5) => self.def_bytes = thrift.int()?.try_into().ok()?,
                (8, 6, 5) => self.rep_bytes = thrift.int()?.try_into().ok()?,
                (8, 7, 1 | 2) => self.is_compressed = kind == TRUE,
                (_, _, kind) => thrift.pass_field(kind)?,
            }
        }
        Some(())
    }

    /// The size of the levels, which are not compressed in version 2.
    fn level_bytes(&self) -> usize {
        match self.kind {
            DATA_V2 => self.def_bytes.saturating_add(self.rep_bytes),
            _ => 0,
        }
    }
}

impl Pages {
    /// Takes room for so many bytes.
    pub(super) fn hold(&self, num_bytes: u64) -> Result<(), PageError> {
        let left = self.room.get().checked_sub(num_bytes);
        self.room.set(left.ok_or(PageError::Held)?);
        Ok(())
    }

    pub(super) fn release(&self, num_bytes: u64) {
        self.room.set(self.room.get() + num_bytes);
    }

    pub(super) fn next(&mut self) -> Result<Option<Page>, PageError> {
        while self.num_values > 0 && self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            let head = &rest[..rest.len().min(MAX_HEADER_BYTES)];
            let (header, len) = Header::read(head)
                .ok_or_else(|| PageError::damaged("the header of a page is damaged"))?;
            let end = len.saturating_add(header.num_stored_bytes);
            let stored = rest
                .get(len..end)
                .ok_or_else(|| PageError::damaged("a page is cut off"))?;
            if ![DATA, DICTIONARY, DATA_V2].contains(&header.kind) {
                self.at += end;
                continue;
            }
            let page = self.page(&header, stored)?;
            self.at += end;
            if !page.is_dictionary {
                self.num_values = self.num_values.saturating_sub(header.num_values.into());
            }
            return Ok(Some(page));
        }
        Ok(None)
    }

    fn page(&self, header: &Header, stored: &[u8]) -> Result<Page, PageError> {
        if header.num_values > MAX_PAGE_VALUES {
            return Err(PageError::damaged("a page has too many values"));
        }
        let is_data = header.kind == DATA;
        if is_data
            && (self.has_defs && header.def_encoding != RLE
                || self.has_reps && header.rep_encoding != RLE)
        {
            return Err(PageError::damaged(
                "the levels of a page use a retired encoding",
            ));
        }
        let of_version_2 = |len: usize| (header.kind == DATA_V2).then_some(len);
        let bytes = self.decompressed(header, stored)?;
        Ok(Page {
            is_dictionary: header.kind == DICTIONARY,
            bytes,
            num_values: header.num_values as usize,
            encoding: header.encoding,
            def_bytes: of_version_2(header.def_bytes),
            rep_bytes: of_version_2(header.rep_bytes),
            most_bytes: usize::try_from(self.room.get()).unwrap_or(usize::MAX),
        })
    }

    fn decompressed(&self, header: &Header, stored: &[u8]) -> Result<Vec<u8>, PageError> {
        let is_bare = header.kind == DATA_V2 && !header.is_compressed;
        if is_bare || self.codec == Codec::None {
            return Ok(stored.to_vec());
        }
        let levels = stored.split_at_checked(header.level_bytes());
        let num_bytes = header.num_bytes.checked_sub(header.level_bytes());
        let (Some((levels, stored)), Some(num_bytes)) = (levels, num_bytes) else {
            let what = "the levels of a page are longer than the page";
            return Err(PageError::damaged(what));
        };
        if num_bytes as u64 > self.room.get() {
            return Err(PageError::Held);
        }
        let left = self.allowance.get().checked_sub(num_bytes as u64);
        self.allowance.set(left.ok_or(PageError::Bomb)?);
        // A page of only nulls may consist of levels only.
        let rest = match num_bytes {
            0 => Vec::new(),
            _ => decompress(self.codec, stored, num_bytes).map_err(|what| {
                PageError::Damaged(format!("a page cannot be decompressed: {what}"))
            })?,
        };
        Ok(match levels {
            [] => rest,
            levels => [levels, &rest].concat(),
        })
    }
}
