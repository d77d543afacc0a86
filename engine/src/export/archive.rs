//! A zip in memory: weights as they are, since they do not shrink, and texts deflated. The layout is that of PKWARE's
//! APPNOTE 6.3, without zip64. The same files make the same zip.

use crc32fast::hash;
use miniz_oxide::deflate::compress_to_vec;

use super::ExportError;

/// 1980-01-01.
const DATE: u16 = 0x21;
/// Unix mode of a regular file that the owner can write and all can read.
pub(super) const MODE: u32 = 0o100_644 << 16;
/// Names are UTF-8.
pub(super) const UTF8: u16 = 0x0800;
/// The version of the format that stored and deflated files need.
pub(super) const VERSION: u16 = 20;
pub(super) const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// A usual effort: more gains little on a log.
const LEVEL: u8 = 6;

/// A zip being written.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    num_files: u16,
}

impl Archive {
    /// Adds a file as it is.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        self.put(name, bytes, STORED, bytes)
    }

    /// Adds a file that shrinks.
    pub fn add_text(&mut self, name: &str, text: &str) -> Result<(), ExportError> {
        let bytes = text.as_bytes();
        let deflated = compress_to_vec(bytes, LEVEL);
        if deflated.len() < bytes.len() {
            self.put(name, bytes, DEFLATED, &deflated)
        } else {
            self.add(name, bytes)
        }
    }

    fn put(
        &mut self,
        name: &str,
        bytes: &[u8],
        method: u16,
        packed: &[u8],
    ) -> Result<(), ExportError> {
        let start = size_in_zip(&self.bytes)?;
        let sizes = [hash(bytes), size_in_zip(packed)?, size_in_zip(bytes)?];
        self.bytes.extend(0x0403_4b50u32.to_le_bytes());
        put_kind(&mut self.bytes, VERSION, UTF8, method);
        put_sizes(&mut self.bytes, sizes, name, 0);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(packed);

        let directory = &mut self.directory;
        directory.extend(0x0201_4b50u32.to_le_bytes());
        // Made on Unix.
        directory.extend([VERSION as u8, 3]);
        put_kind(directory, VERSION, UTF8, method);
        put_sizes(directory, sizes, name, 0);
        // No comment, first disk, no internal attributes.
        directory.extend([0; 6]);
        directory.extend(MODE.to_le_bytes());
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
        self.num_files += 1;
        Ok(())
    }

    /// The bytes of the zip, with the directory at its end.
    pub fn finish(mut self) -> Result<Vec<u8>, ExportError> {
        let start = size_in_zip(&self.bytes)?;
        let size = size_in_zip(&self.directory)?;
        self.bytes.append(&mut self.directory);
        self.bytes.extend(0x0605_4b50u32.to_le_bytes());
        self.bytes.extend([0; 4]);
        self.bytes
            .extend([self.num_files.to_le_bytes(); 2].concat());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend([0; 2]);
        size_in_zip(&self.bytes)?;
        Ok(self.bytes)
    }
}

/// The number of bytes, which a zip writes in 32 bits; the largest number is for zip64.
fn size_in_zip(bytes: &[u8]) -> Result<u32, ExportError> {
    let size = u32::try_from(bytes.len()).ok();
    size.filter(|&size| size < u32::MAX)
        .ok_or(ExportError::TooLarge)
}

/// The version needed, flags, method, time and date.
pub(super) fn put_kind(header: &mut Vec<u8>, version: u16, flags: u16, method: u16) {
    for field in [version, flags, method, 0, DATE] {
        header.extend(field.to_le_bytes());
    }
}

/// The checksum, the sizes packed and unpacked, and the lengths of the name and of what follows it.
pub(super) fn put_sizes(header: &mut Vec<u8>, sizes: [u32; 3], name: &str, extra: u16) {
    for field in sizes {
        header.extend(field.to_le_bytes());
    }
    header.extend((name.len() as u16).to_le_bytes());
    header.extend(extra.to_le_bytes());
}
