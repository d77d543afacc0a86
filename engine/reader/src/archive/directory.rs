//! The files in a zip archive that may hold rows.

use std::io::{self, SeekFrom};

use formats::zip_directory::{
    Directory, LOCAL_HEADER_BYTES, Record, TAIL_BYTES, do_overlap, num_header_bytes,
};

use crate::{
    error::DatasetError,
    open::Seekable,
    source::{StreamError, read_full},
};

const MAX_ENTRIES: u64 = 1000;
/// Far more than so many entries have, all of which is held.
const MAX_DIRECTORY_BYTES: u64 = 16 << 20;

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
        let mut header = [0; LOCAL_HEADER_BYTES];
        file.seek(SeekFrom::Start(self.header_start))?;
        let len = read_full(&mut &mut *file, &mut header)?;
        let num_bytes = num_header_bytes(&header[..len]).ok_or_else(|| {
            let what = "an entry of the archive is damaged".to_owned();
            io::Error::other(StreamError::Damaged(what))
        })?;
        Ok(self.header_start + num_bytes)
    }
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
    let tail_bytes = num_bytes.min(TAIL_BYTES);
    let tail = bytes(file, num_bytes - tail_bytes, tail_bytes).map_err(reading)?;
    let directory = Directory::find(&tail, num_bytes).ok_or_else(damaged)?;
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
    if directory.num_bytes > MAX_DIRECTORY_BYTES {
        return Err(damaged());
    }
    let bytes = bytes(file, directory.start, directory.num_bytes).map_err(reading)?;
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    for _ in 0..directory.num_entries {
        records.push(Record::next(&mut rest).ok_or_else(damaged)?);
    }
    let do_overlap = do_overlap(records.iter());
    let mut entries = Vec::new();
    for record in records {
        let name = record.name.clone();
        if let Some((_, what)) = KNOWN
            .iter()
            .find(|(known, _)| is_or_ends_with(&name, known))
        {
            return Err(DatasetError::Binary {
                file: file_name.to_owned(),
                what: (*what).to_owned(),
            });
        }
        if do_overlap {
            let what = "several of its entries share the same bytes".to_owned();
            return Err(refused(what, "Unpack it, and drop the files."));
        }
        if record.is_outside() {
            let what = format!("its entry {name:?} points outside the archive");
            return Err(refused(what, "Unpack it, and drop the files."));
        }
        if record.is_aside() {
            continue;
        }
        if record.is_encrypted {
            let what = format!("its entry {name:?} is encrypted");
            return Err(refused(
                what,
                "Unpack it with its password, and drop the files.",
            ));
        }
        let method = match record.method {
            0 => Method::Stored,
            8 => Method::Deflate,
            _ => {
                let what = format!(
                    "its entry {name:?} is compressed with {}",
                    record.method_name()
                );
                return Err(refused(
                    what,
                    "Create the archive again with the usual compression (deflate).",
                ));
            }
        };
        let end = record.end(directory.shift);
        match record.header_start.checked_add(directory.shift) {
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

/// `len` bytes from `start` on; fewer where the file ends.
fn bytes(file: &mut dyn Seekable, start: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    file.seek(SeekFrom::Start(start))?;
    let len = read_full(&mut &mut *file, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}
