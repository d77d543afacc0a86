//! A zip in memory: weights as they are, since they do not shrink, and texts deflated. The layout is that of PKWARE's
//! APPNOTE 6.3, without zip64. The same files make the same zip.
//!
//! ```text
//! local header   50 4b 03 04 | version flags method time date | crc packed unpacked | lengths | name
//! file           stored or deflated
//! ...            (the two above, for every file)
//! directory      50 4b 01 02 | the same fields | attributes | offset of the local header | name (for every file)
//! end            50 4b 05 06 | disks | number of files, twice | size and offset of the directory | comment length
//! ```
//!
//! All numbers are little endian. A merged model is too large for this and has a writer of its own, [`super::merged`],
//! which shares the helpers below.

use crc32fast::hash;
use miniz_oxide::deflate::compress_to_vec;

use super::ExportError;

/// 1980-01-01 in MS-DOS form, the earliest date of a zip: a real one would change the bytes of equal exports.
const DATE: u16 = 0x21;
/// Unix mode of a regular file that the owner can write and all can read, in the upper half of the external attributes.
pub(super) const MODE: u32 = 0o100_644 << 16;
/// The flag that says that names are UTF-8 (bit 11).
pub(super) const UTF8: u16 = 0x0800;
/// The version of the format that stored and deflated files need.
pub(super) const VERSION: u16 = 20;
/// The method of a file that is in the zip as it is.
pub(super) const STORED: u16 = 0;
/// The method of a deflated file.
const DEFLATED: u16 = 8;
/// A usual effort: more gains little on a log.
const LEVEL: u8 = 6;

/// A zip being written. What was added stays in memory until [`Self::finish`].
#[derive(Default)]
pub(super) struct Archive {
    /// The local headers and files so far.
    bytes: Vec<u8>,
    /// The directory so far, which follows the last file.
    directory: Vec<u8>,
    num_files: u16,
}

impl Archive {
    /// Adds a file as it is.
    ///
    /// # Errors
    /// [`ExportError::TooLarge`] if the file or its offset does not fit into 32 bits.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        self.put(name, bytes, STORED, bytes)
    }

    /// Adds a file that shrinks, deflated; as it is if it does not shrink.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_text(&mut self, name: &str, text: &str) -> Result<(), ExportError> {
        let bytes = text.as_bytes();
        let deflated = compress_to_vec(bytes, LEVEL);
        if deflated.len() < bytes.len() {
            self.put(name, bytes, DEFLATED, &deflated)
        } else {
            self.add(name, bytes)
        }
    }

    /// Adds a file whose bytes in the zip are `packed`; checksum and unpacked size are those of `bytes`.
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
    ///
    /// # Errors
    /// [`ExportError::TooLarge`] if the whole reaches 4 GiB.
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
///
/// # Errors
/// [`ExportError::TooLarge`] from 4 GiB - 1 on.
fn size_in_zip(bytes: &[u8]) -> Result<u32, ExportError> {
    let size = u32::try_from(bytes.len()).ok();
    size.filter(|&size| size < u32::MAX)
        .ok_or(ExportError::TooLarge)
}

/// Appends the version needed, flags, method, time and date: 10 bytes that both kinds of headers have.
pub(super) fn put_kind(header: &mut Vec<u8>, version: u16, flags: u16, method: u16) {
    for field in [version, flags, method, 0, DATE] {
        header.extend(field.to_le_bytes());
    }
}

/// Appends the checksum, the sizes packed and unpacked, and the lengths of the name and of the extra field after it: 16
/// bytes that both kinds of headers have. `sizes` is `[crc, packed, unpacked]`.
pub(super) fn put_sizes(header: &mut Vec<u8>, sizes: [u32; 3], name: &str, extra: u16) {
    for field in sizes {
        header.extend(field.to_le_bytes());
    }
    header.extend((name.len() as u16).to_le_bytes());
    header.extend(extra.to_le_bytes());
}
