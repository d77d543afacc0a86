//! An adapter's files out of a zip, such as a run leaves or a desktop makes of a folder.
//!
//! Nothing is unpacked ahead: a stored file is a part of the archive's own bytes, and a deflated one is
//! inflated up to where it is read. Both are compared with their checksums before anything in them counts.
//!
//! ```text
//! tail of the archive -> Directory -> [Record]     only the files of an adapter, by their names
//!                                         |  method 0  Part      a range of the archive
//!                                         |  method 8  Inflated  deflate, from front to back
//! ```
//!
//! The sizes in the directory are claims. They are bounded together before any file is opened, entries may not
//! overlap, and the pass for the checksum ends as soon as a file grows past its claim.

mod inflated;
mod stored;

use std::rc::Rc;

use formats::zip_directory::{
    Directory, LOCAL_HEADER_BYTES, Record, TAIL_BYTES, do_overlap, num_header_bytes,
};

use self::{inflated::Inflated, stored::Part};
use super::{ArchiveError, ImportError};
use crate::weights::{checkpoint::NamedSource, source::ByteSource};

/// The maximum number of bytes of an archive. An adapter of every module of a large model has fewer.
const MAX_ARCHIVE_BYTES: u64 = 1 << 30;
/// The maximum number of entries of an archive. A folder of checkpoints has fewer.
const MAX_ENTRIES: u64 = 1000;
/// The maximum number of bytes of the directory, which is read whole.
const MAX_DIRECTORY_BYTES: u64 = 16 << 20;
/// The factor of the limit: the files in an archive may come to this times its size, plus [`ALWAYS_ALLOWED_BYTES`].
///
/// An adapter hardly shrinks, except for one whose matrices are still zeros. Its numbers take up to twice as
/// much again once they are read.
const MAX_EXPANSION: u64 = 2;
/// Bytes that the files may come to in any archive, however small.
const ALWAYS_ALLOWED_BYTES: u64 = 16 << 20;
/// The names of an adapter's files, in whatever folder of the archive.
const WANTED: [&str; 4] = [
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapters.safetensors",
    "adapter.gguf",
];
/// The compression method of files that are stored as they are.
const STORED: u16 = 0;
/// The compression method deflate (RFC 1951).
const DEFLATED: u16 = 8;

/// Returns the files as they are, or those of the archive if a single zip was given. Names become
/// `archive/path`. A zip without an adapter's files is passed on as it is: PyTorch's checkpoints are zips, too.
///
/// # Errors
/// [`ImportError::Archive`], [`ImportError::TooLarge`], or a failure of the source.
pub(super) async fn unpacked(files: Vec<NamedSource>) -> Result<Vec<NamedSource>, ImportError> {
    let [file] = files.as_slice() else {
        return Ok(files);
    };
    if file.source.num_bytes() < 4 || file.source.read(0, 4).await? != b"PK\x03\x04" {
        return Ok(files);
    }
    let num_bytes = file.source.num_bytes();
    if num_bytes > MAX_ARCHIVE_BYTES {
        let file = file.name.clone();
        return Err(ImportError::TooLarge { file, num_bytes });
    }
    let (records, shift) = records(&*file.source).await?;
    if records.is_empty() {
        // A model saved by PyTorch is a zip too; what it is, and why it is refused, is said later.
        return Ok(files);
    }
    let limit = MAX_EXPANSION * num_bytes + ALWAYS_ALLOWED_BYTES;
    let total = records
        .iter()
        .fold(0u64, |total, record| total.saturating_add(record.num_bytes));
    if total > limit {
        return Err(ArchiveError::Bomb { total, limit }.into());
    }
    let [
        NamedSource {
            name: archive_name,
            source,
        },
    ] = <[NamedSource; 1]>::try_from(files).map_err(|_| ArchiveError::Directory)?;
    let archive: Rc<dyn ByteSource> = source.into();
    let mut unpacked = Vec::new();
    for record in records {
        // The directory does not say how long the local header is, so it is read for its two lengths alone.
        let header_start = record.header_start + shift;
        let header = archive.read(header_start, LOCAL_HEADER_BYTES).await?;
        let damaged = || ArchiveError::Entry(record.name.clone());
        let start = header_start + num_header_bytes(&header).ok_or_else(damaged)?;
        let end = start.checked_add(record.num_stored_bytes);
        if end.is_none_or(|end| end > num_bytes) {
            return Err(damaged().into());
        }
        let part = Part {
            archive: archive.clone(),
            start,
            num_bytes: record.num_stored_bytes,
        };
        let (source, crc): (Box<dyn ByteSource>, u32) = if record.method == STORED {
            let crc = part.crc().await?;
            (Box::new(part), crc)
        } else {
            let inflated = Inflated::new(part, record.num_bytes, &record.name);
            let crc = inflated.crc().await?;
            (Box::new(inflated), crc)
        };
        if crc != record.crc || source.num_bytes() != record.num_bytes {
            return Err(damaged().into());
        }
        let name = format!("{archive_name}/{}", record.name);
        unpacked.push(NamedSource { name, source });
    }
    Ok(unpacked)
}

/// Returns the records of an adapter's files, and the number of bytes before the archive.
///
/// Files of other names are not looked at beyond their overlap, so a damaged log does not cost the adapter.
/// Folders and what macOS adds (`__MACOSX`) are passed over.
///
/// # Errors
/// [`ImportError::Archive`] for whatever makes an entry unreadable or suspicious.
async fn records(archive: &dyn ByteSource) -> Result<(Vec<Record>, u64), ImportError> {
    let num_bytes = archive.num_bytes();
    let tail_bytes = num_bytes.min(TAIL_BYTES);
    let tail = archive.read(num_bytes - tail_bytes, tail_bytes as usize);
    let directory = Directory::find(&tail.await?, num_bytes).ok_or(ArchiveError::Directory)?;
    let num_entries = directory.num_entries;
    if num_entries > MAX_ENTRIES || directory.num_bytes > MAX_DIRECTORY_BYTES {
        return Err(ArchiveError::TooManyEntries { num_entries }.into());
    }
    let bytes = archive.read(directory.start, directory.num_bytes as usize);
    let bytes = bytes.await?;
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    for _ in 0..num_entries {
        records.push(Record::next(&mut rest).ok_or(ArchiveError::Directory)?);
    }
    if do_overlap(records.iter()) {
        return Err(ArchiveError::Overlap.into());
    }
    records.retain(|record| {
        let is_wanted = |wanted: &&str| record.name.rsplit('/').next() == Some(*wanted);
        // A `..` counts as a hidden folder, too, but such a name is refused rather than passed over.
        (!record.is_aside() || record.is_outside()) && WANTED.iter().any(is_wanted)
    });
    for record in &records {
        let is_inside = record
            .end(directory.shift)
            .is_some_and(|end| end <= num_bytes);
        if record.is_encrypted {
            return Err(ArchiveError::Encrypted(record.name.clone()).into());
        }
        if ![STORED, DEFLATED].contains(&record.method) {
            let (name, method) = (record.name.clone(), record.method_name());
            return Err(ArchiveError::Method { name, method }.into());
        }
        if record.is_outside() {
            return Err(ArchiveError::Outside(record.name.clone()).into());
        }
        if !is_inside {
            return Err(ArchiveError::Entry(record.name.clone()).into());
        }
    }
    Ok((records, directory.shift))
}
