//! A zip whose files are written front to back and uncompressed, without ever being held in memory: a file's checksum
//! comes after it (in a data descriptor), since it is known only then. The layout is that of PKWARE's APPNOTE 6.3.

use crc32fast::Hasher;
use protocol::Failure;

use crate::export::archive::{MODE, STORED, UTF8, VERSION, put_kind, put_sizes};

/// Sizes and offsets from this value on do not fit into 32 bits and need the zip64 form.
pub const ZIP64_FROM: u64 = u32::MAX as u64;
/// A data descriptor follows; names are UTF-8.
const FLAGS: u16 = UTF8 | 0x0008;
/// The version of the format that has zip64.
const ZIP64_VERSION: u16 = 45;

/// A file that is written front to back, which the engine never holds as a whole.
pub trait FileSink {
    /// Appends bytes.
    ///
    /// # Errors
    /// Why nothing more can be written, such as a full disk.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

/// A file in the zip.
struct Entry {
    name: String,
    start: u64,
    num_bytes: u64,
    crc: u32,
    is_zip64: bool,
}

/// A zip being written to a sink.
pub(super) struct Zip<'a> {
    sink: &'a mut dyn FileSink,
    at: u64,
    zip64_from: u64,
    entries: Vec<Entry>,
    hasher: Hasher,
}

impl<'a> Zip<'a> {
    pub fn new(sink: &'a mut dyn FileSink, zip64_from: u64) -> Self {
        Self {
            sink,
            at: 0,
            zip64_from,
            entries: Vec::new(),
            hasher: Hasher::new(),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.sink.write(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Begins a file of `num_bytes` bytes.
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

    /// Ends the file that was begun last.
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

    /// Adds a whole small file.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.begin(name, bytes.len() as u64)?;
        self.write(bytes)?;
        self.end()
    }

    /// Writes the directory.
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

fn version(is_zip64: bool) -> u16 {
    if is_zip64 { ZIP64_VERSION } else { VERSION }
}
