//! A zip whose files are written front to back and uncompressed, without ever being held in memory: a file's checksum
//! comes after it (in a data descriptor), since it is known only then. The layout is that of PKWARE's APPNOTE 6.3.
//!
//! ```text
//! local header   sizes and checksum 0 (flag 3) | zip64: sizes ffffffff, extra field 0001 with zeros
//! file           stored
//! descriptor     50 4b 07 08 | crc | sizes of 4 bytes, or of 8 in a zip64 entry
//! directory      the real sizes; in a zip64 entry in the extra field 0001, with the offset
//! end            50 4b 06 06 and 50 4b 06 07 come first where the directory begins beyond 4 GiB
//! ```
//!
//! The size of a file is said before it is written, since it decides whether its entry is zip64.

use crc32fast::Hasher;
use protocol::Failure;

use crate::export::archive::{MODE, STORED, UTF8, VERSION, put_kind, put_sizes};

/// Sizes and offsets from this value on do not fit into 32 bits and need the zip64 form. The value itself stands for
/// "look into the extra field".
pub const ZIP64_FROM: u64 = u32::MAX as u64;
/// A data descriptor follows (bit 3); names are UTF-8 (bit 11).
const FLAGS: u16 = UTF8 | 0x0008;
/// The version of the format that has zip64: 4.5.
const ZIP64_VERSION: u16 = 45;

/// A file that is written front to back, which the engine never holds as a whole. In the browser its pieces become a
/// blob.
pub trait FileSink {
    /// Appends bytes.
    ///
    /// # Errors
    /// Why nothing more can be written, such as a full disk.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

/// A file in the zip, as the directory will list it.
struct Entry {
    name: String,
    /// The offset of its local header.
    start: u64,
    /// Its bytes so far; all of them once it has ended.
    num_bytes: u64,
    /// The CRC-32 of its bytes; 0 until it has ended.
    crc: u32,
    is_zip64: bool,
}

/// A zip being written to a sink, one file at a time: [`Self::begin`], [`Self::write`] as often as needed,
/// [`Self::end`].
pub(super) struct Zip<'a> {
    sink: &'a mut dyn FileSink,
    /// The number of bytes written so far, which is the offset of what comes next.
    at: u64,
    zip64_from: u64,
    entries: Vec<Entry>,
    /// The checksum of the file that was begun last.
    hasher: Hasher,
}

impl<'a> Zip<'a> {
    /// Begins a zip at the start of `sink`; `zip64_from` is [`ZIP64_FROM`], except in tests.
    pub fn new(sink: &'a mut dyn FileSink, zip64_from: u64) -> Self {
        Self {
            sink,
            at: 0,
            zip64_from,
            entries: Vec::new(),
            hasher: Hasher::new(),
        }
    }

    /// Writes to the sink and counts.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.sink.write(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Begins a file of `num_bytes` bytes. The caller writes exactly as many.
    ///
    /// # Errors
    /// Those of the sink, as for all that follows here.
    pub fn begin(&mut self, name: &str, num_bytes: u64) -> Result<(), Failure> {
        let is_zip64 = num_bytes >= self.zip64_from || self.at >= self.zip64_from;
        let start = self.at;
        let size = if is_zip64 { u32::MAX } else { 0 };
        let mut header = Vec::new();
        header.extend(0x0403_4b50u32.to_le_bytes());
        put_kind(&mut header, version(is_zip64), FLAGS, STORED);
        let extra = if is_zip64 { 20 } else { 0 };
        put_sizes(&mut header, [0, size, size], name, extra);
        header.extend(name.as_bytes());
        if is_zip64 {
            header.extend([1, 0, 16, 0]);
            header.extend([0; 16]);
        }
        self.put(&header)?;
        self.hasher = Hasher::new();
        self.entries.push(Entry {
            name: name.to_owned(),
            start,
            num_bytes: 0,
            crc: 0,
            is_zip64,
        });
        Ok(())
    }

    /// Appends to the file that was begun last.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.hasher.update(bytes);
        if let Some(entry) = self.entries.last_mut() {
            entry.num_bytes += bytes.len() as u64;
        }
        self.put(bytes)
    }

    /// Ends the file that was begun last: writes its checksum and size after it.
    pub fn end(&mut self) -> Result<(), Failure> {
        let crc = std::mem::take(&mut self.hasher).finalize();
        let mut descriptor = Vec::from(0x0807_4b50u32.to_le_bytes());
        descriptor.extend(crc.to_le_bytes());
        if let Some(entry) = self.entries.last_mut() {
            entry.crc = crc;
            for size in [entry.num_bytes; 2] {
                let bytes = size.to_le_bytes();
                descriptor.extend(&bytes[..if entry.is_zip64 { 8 } else { 4 }]);
            }
        }
        self.put(&descriptor)
    }

    /// Adds a whole small file, such as a config.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.begin(name, bytes.len() as u64)?;
        self.write(bytes)?;
        self.end()
    }

    /// Writes the directory, and the records at the end of it, in one piece.
    pub fn finish(mut self) -> Result<(), Failure> {
        let mut directory = Vec::new();
        for entry in &self.entries {
            let narrow = |number: u64| {
                if entry.is_zip64 {
                    u32::MAX
                } else {
                    number as u32
                }
            };
            directory.extend(0x0201_4b50u32.to_le_bytes());
            // Made on Unix.
            directory.extend([version(entry.is_zip64) as u8, 3]);
            put_kind(&mut directory, version(entry.is_zip64), FLAGS, STORED);
            let extra = if entry.is_zip64 { 28 } else { 0 };
            let size = narrow(entry.num_bytes);
            put_sizes(&mut directory, [entry.crc, size, size], &entry.name, extra);
            // No comment, first disk, no internal attributes.
            directory.extend([0; 6]);
            directory.extend(MODE.to_le_bytes());
            directory.extend(narrow(entry.start).to_le_bytes());
            directory.extend(entry.name.as_bytes());
            if entry.is_zip64 {
                directory.extend([1, 0, 24, 0]);
                for number in [entry.num_bytes, entry.num_bytes, entry.start] {
                    directory.extend(number.to_le_bytes());
                }
            }
        }
        let (start, size, count) = (self.at, directory.len(), self.entries.len() as u64);
        let is_zip64 = start >= self.zip64_from;
        if is_zip64 {
            let end = start + size as u64;
            directory.extend(0x0606_4b50u32.to_le_bytes());
            directory.extend(44u64.to_le_bytes());
            directory.extend([45, 3, 45, 0]);
            directory.extend([0; 8]);
            for number in [count, count, size as u64, start] {
                directory.extend(number.to_le_bytes());
            }
            directory.extend(0x0706_4b50u32.to_le_bytes());
            directory.extend([0; 4]);
            directory.extend(end.to_le_bytes());
            directory.extend(1u32.to_le_bytes());
        }
        directory.extend(0x0605_4b50u32.to_le_bytes());
        directory.extend([0; 4]);
        // Shards are far fewer than 65,535.
        directory.extend([(count as u16).to_le_bytes(); 2].concat());
        directory.extend((size as u32).to_le_bytes());
        let narrow_start = if is_zip64 { u32::MAX } else { start as u32 };
        directory.extend(narrow_start.to_le_bytes());
        directory.extend([0; 2]);
        self.put(&directory)
    }
}

/// The version that a reader of the entry needs.
fn version(is_zip64: bool) -> u16 {
    if is_zip64 { ZIP64_VERSION } else { VERSION }
}
