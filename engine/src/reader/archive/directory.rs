//! The directory at the end of a zip archive, as APPNOTE.TXT 6.3.10 describes it.

use std::io::{self, BufReader, Read, SeekFrom};

use crate::reader::{
    error::DatasetError,
    open::Seekable,
    source::{StreamError, read_full},
};

const MAX_ENTRIES: u64 = 1000;
/// The sizes of the records, without their parts of variable length.
const END_BYTES: usize = 22;
const LOCATOR_BYTES: u64 = 20;
const HEADER_BYTES: usize = 46;
const LOCAL_HEADER_BYTES: u64 = 30;
/// The longest comment after the last record.
const MAX_COMMENT_BYTES: u64 = 0xFFFF;
/// The number of the extra field with 64-bit sizes.
const ZIP64: u16 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflate,
}

/// A file in an archive.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    name: String,
    pub method: Method,
    pub crc: u32,
    pub num_stored_bytes: u64,
    pub num_bytes: u64,
    header_start: u64,
    /// The stored bytes of the entries before it.
    pub before: u64,
}

impl Entry {
    /// Its name inside the archive.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn full_name(&self, archive: &str) -> String {
        format!("{archive}/{}", self.name)
    }

    /// Where its data begins: after a second header.
    pub(super) fn data_start(&self, file: &mut dyn Seekable) -> io::Result<u64> {
        let mut header = [0; LOCAL_HEADER_BYTES as usize];
        file.seek(SeekFrom::Start(self.header_start))?;
        let len = read_full(&mut &mut *file, &mut header)?;
        if len < header.len() || !header.starts_with(b"PK\x03\x04") {
            let what = "an entry of the archive is damaged".to_owned();
            return Err(io::Error::other(StreamError::Damaged(what)));
        }
        let skipped = u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        Ok(self.header_start + LOCAL_HEADER_BYTES + skipped)
    }
}

/// Where the directory is.
struct Directory {
    num_entries: u64,
    start: u64,
    /// The bytes before the archive, such as a program that unpacks it.
    shift: u64,
}

/// The entries by which Office documents and other zip-based formats are recognized.
const KNOWN: [(&str, &str); 8] = [
    ("word/document.xml", "a Word document"),
    ("xl/workbook.bin", "a binary Excel workbook"),
    ("ppt/presentation.xml", "a PowerPoint presentation"),
    ("META-INF/container.xml", "an e-book"),
    ("META-INF/manifest.xml", "an OpenDocument file"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
    ("AndroidManifest.xml", "an Android app"),
    ("data.pkl", "a PyTorch model"),
];

/// The files of an archive that may hold rows, by name.
pub(super) fn entries(
    file_name: &str,
    file: &mut dyn Seekable,
    num_bytes: u64,
) -> Result<Vec<Entry>, DatasetError> {
    let reading = |error: io::Error| DatasetError::reading(file_name, &error);
    let refused = |what: String, remedy: &'static str| DatasetError::Archive {
        file: file_name.to_owned(),
        what,
        remedy,
    };
    let damaged = || {
        refused(
            "its directory is damaged".to_owned(),
            "Download or pack it again.",
        )
    };
    let directory = directory(file, num_bytes)
        .map_err(reading)?
        .ok_or_else(damaged)?;
    if directory.num_entries > MAX_ENTRIES {
        let what = format!(
            "it has {} entries, more than the {MAX_ENTRIES} allowed",
            directory.num_entries
        );
        return Err(refused(
            what,
            "Unpack it, and combine the rows into fewer files.",
        ));
    }
    file.seek(SeekFrom::Start(directory.start))
        .map_err(reading)?;
    let mut input = BufReader::new(&mut *file);
    let mut entries = Vec::new();
    for _ in 0..directory.num_entries {
        let record = Record::read(&mut input)
            .map_err(reading)?
            .ok_or_else(damaged)?;
        let name = String::from_utf8_lossy(&record.name).replace('\\', "/");
        if let Some((_, what)) = KNOWN
            .iter()
            .find(|(known, _)| is_or_ends_with(&name, known))
        {
            return Err(DatasetError::Binary {
                file: file_name.to_owned(),
                what: (*what).to_owned(),
            });
        }
        let parts = || name.split('/');
        if name.starts_with('/') || name.get(1..2) == Some(":") || parts().any(|part| part == "..")
        {
            let what = format!("its entry {name:?} points outside the archive");
            return Err(refused(what, "Unpack it, and drop the files."));
        }
        if name.ends_with('/') || parts().any(|part| part.starts_with('.') || part == "__MACOSX") {
            continue;
        }
        if record.flags & 1 != 0 {
            let what = format!("its entry {name:?} is encrypted");
            return Err(refused(
                what,
                "Unpack it with its password, and drop the files.",
            ));
        }
        let method = match record.method {
            0 => Method::Stored,
            8 => Method::Deflate,
            method => {
                let what = format!(
                    "its entry {name:?} is compressed with {}",
                    method_name(method)
                );
                return Err(refused(
                    what,
                    "Create the archive again with the usual compression (deflate).",
                ));
            }
        };
        let header_start = record.header_start.checked_add(directory.shift);
        let end = header_start.and_then(|start| start.checked_add(record.num_stored_bytes));
        match header_start {
            Some(header_start) if end.is_some_and(|end| end <= num_bytes) => entries.push(Entry {
                name,
                method,
                crc: record.crc,
                num_stored_bytes: record.num_stored_bytes,
                num_bytes: record.num_bytes,
                header_start,
                before: 0,
            }),
            _ => return Err(damaged()),
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let mut before = 0;
    for entry in &mut entries {
        entry.before = before;
        before += entry.num_stored_bytes;
    }
    Ok(entries)
}

fn is_or_ends_with(name: &str, known: &str) -> bool {
    let before = name.strip_suffix(known);
    before.is_some_and(|before| before.is_empty() || known == "data.pkl" && before.ends_with('/'))
}

fn method_name(method: u16) -> String {
    match method {
        9 => "deflate64".to_owned(),
        12 => "bzip2".to_owned(),
        14 => "lzma".to_owned(),
        93 => "zstd".to_owned(),
        95 => "xz".to_owned(),
        98 => "ppmd".to_owned(),
        method => format!("method {method}"),
    }
}

/// A file's record in the directory.
struct Record {
    flags: u16,
    method: u16,
    crc: u32,
    num_stored_bytes: u64,
    num_bytes: u64,
    header_start: u64,
    name: Vec<u8>,
}

impl Record {
    fn read(input: &mut dyn Read) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER_BYTES];
        let mut input = input;
        if read_full(&mut input, &mut header)? < HEADER_BYTES || !header.starts_with(b"PK\x01\x02")
        {
            return Ok(None);
        }
        let mut rest = [28, 30, 32].map(|at| vec![0; usize::from(u16_at(&header, at))]);
        for bytes in &mut rest {
            if read_full(&mut input, bytes)? < bytes.len() {
                return Ok(None);
            }
        }
        let [name, extra, _] = rest;
        let mut record = Self {
            flags: u16_at(&header, 8),
            method: u16_at(&header, 10),
            crc: u32_at(&header, 16),
            num_stored_bytes: u64::from(u32_at(&header, 20)),
            num_bytes: u64::from(u32_at(&header, 24)),
            header_start: u64::from(u32_at(&header, 42)),
            name,
        };
        record.widen(&extra);
        Ok(Some(record))
    }

    /// Reads sizes that do not fit into 32 bits from the extra fields.
    fn widen(&mut self, extra: &[u8]) {
        let mut extra = extra;
        while extra.len() >= 4 {
            let (number, len) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
            let Some(field) = extra.get(4..4 + len) else {
                return;
            };
            if number == ZIP64 {
                let mut wide = field.chunks_exact(8).map(|bytes| u64_at(bytes, 0));
                for size in [
                    &mut self.num_bytes,
                    &mut self.num_stored_bytes,
                    &mut self.header_start,
                ] {
                    if *size == u64::from(u32::MAX) {
                        *size = wide.next().unwrap_or(*size);
                    }
                }
            }
            extra = &extra[4 + len..];
        }
    }
}

fn directory(file: &mut dyn Seekable, num_bytes: u64) -> io::Result<Option<Directory>> {
    let tail_bytes = num_bytes.min(END_BYTES as u64 + MAX_COMMENT_BYTES);
    let tail_start = num_bytes - tail_bytes;
    let mut tail = vec![0; tail_bytes as usize];
    file.seek(SeekFrom::Start(tail_start))?;
    let len = read_full(&mut &mut *file, &mut tail)?;
    tail.truncate(len);
    let is_end = |at: &usize| {
        let record = &tail[*at..];
        record.starts_with(b"PK\x05\x06")
            && record.len() >= END_BYTES
            && record.len() >= END_BYTES + usize::from(u16_at(record, 20))
    };
    let Some(at) = (0..tail.len()).rev().find(is_end) else {
        return Ok(None);
    };
    let end = &tail[at..];
    let end_start = tail_start + at as u64;
    let (mut size, mut offset) = (u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    let mut num_entries = u64::from(u16_at(end, 10));
    let mut directory_end = end_start;
    let locator = at.checked_sub(LOCATOR_BYTES as usize).map(|at| &tail[at..]);
    if let Some(locator) = locator.filter(|locator| locator.starts_with(b"PK\x06\x07")) {
        let mut wide = [0; 56];
        let start = u64_at(locator, 8);
        file.seek(SeekFrom::Start(start.min(num_bytes)))?;
        let len = read_full(&mut &mut *file, &mut wide)?;
        if len < wide.len() || !wide.starts_with(b"PK\x06\x06") {
            return Ok(None);
        }
        (num_entries, size, offset) = (u64_at(&wide, 32), u64_at(&wide, 40), u64_at(&wide, 48));
        directory_end = start;
    }
    let start = directory_end.checked_sub(size);
    let shift = start.and_then(|start| start.checked_sub(offset));
    Ok(start.zip(shift).map(|(start, shift)| Directory {
        num_entries,
        start,
        shift,
    }))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    little_endian(bytes, at, 2) as u16
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    little_endian(bytes, at, 4) as u32
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    little_endian(bytes, at, 8)
}

/// A number of `len` bytes; 0 if the bytes end too early.
fn little_endian(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}
