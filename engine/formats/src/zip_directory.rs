//! The directory at the end of a zip archive, as APPNOTE.TXT 6.3.10 describes it, with nothing in it believed.

/// The number of bytes at an archive's end in which its last records are looked for: the longest comment after them included.
pub const TAIL_BYTES: u64 = (END_BYTES + 0xFFFF + LOCATOR_BYTES + WIDE_END_BYTES) as u64;
/// The size of the header before an entry's data, without its name and extra fields.
pub const LOCAL_HEADER_BYTES: usize = 30;
/// The sizes of the records, without their parts of variable length.
const END_BYTES: usize = 22;
const LOCATOR_BYTES: usize = 20;
const WIDE_END_BYTES: usize = 56;
const HEADER_BYTES: usize = 46;
/// The number of the extra field with 64-bit sizes.
const ZIP64: u16 = 1;

/// Where an archive's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    pub num_entries: u64,
    pub start: u64,
    pub num_bytes: u64,
    /// The number of bytes before the archive, such as a program that unpacks it.
    pub shift: u64,
}

impl Directory {
    /// Finds the directory by the last bytes of an archive of `num_bytes` bytes, [`TAIL_BYTES`] of them or all; `None` if they
    /// are damaged.
    pub fn find(tail: &[u8], num_bytes: u64) -> Option<Self> {
        let tail_start = num_bytes.checked_sub(tail.len() as u64)?;
        let is_end = |at: &usize| {
            let record = &tail[*at..];
            record.starts_with(b"PK\x05\x06")
                && record.len() >= END_BYTES
                && record.len() >= END_BYTES + usize::from(u16_at(record, 20))
        };
        let at = (0..tail.len()).rev().find(is_end)?;
        let end = &tail[at..];
        let (mut size, mut offset) = (u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
        let mut num_entries = u64::from(u16_at(end, 10));
        let mut directory_end = tail_start + at as u64;
        let locator = at.checked_sub(LOCATOR_BYTES).map(|at| &tail[at..]);
        if let Some(locator) = locator.filter(|locator| locator.starts_with(b"PK\x06\x07")) {
            // It stands right before its locator, but where a program put more into it.
            let start = u64_at(locator, 8);
            let at = usize::try_from(start.checked_sub(tail_start)?).ok()?;
            let wide = tail.get(at..at.checked_add(WIDE_END_BYTES)?)?;
            if !wide.starts_with(b"PK\x06\x06") {
                return None;
            }
            (num_entries, size, offset) = (u64_at(wide, 32), u64_at(wide, 40), u64_at(wide, 48));
            directory_end = start;
        }
        let start = directory_end.checked_sub(size)?;
        Some(Self {
            num_entries,
            start,
            num_bytes: size,
            shift: start.checked_sub(offset)?,
        })
    }
}

/// An entry's record in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// With `/` between folders.
    pub name: String,
    num_name_bytes: usize,
    pub is_encrypted: bool,
    pub method: u16,
    pub crc: u32,
    pub num_stored_bytes: u64,
    pub num_bytes: u64,
    /// Where the header before its data is, from the archive's own begin on.
    pub header_start: u64,
}

impl Record {
    /// Reads the next record of a directory; `None` if it is damaged.
    pub fn next(rest: &mut &[u8]) -> Option<Self> {
        let header = rest.get(..HEADER_BYTES)?;
        if !header.starts_with(b"PK\x01\x02") {
            return None;
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(header, at)));
        let after = &rest[HEADER_BYTES..];
        let (name, after) = after.split_at_checked(name)?;
        let (extra, after) = after.split_at_checked(extra)?;
        let mut record = Self {
            name: String::from_utf8_lossy(name).replace('\\', "/"),
            num_name_bytes: name.len(),
            is_encrypted: u16_at(header, 8) & 1 != 0,
            method: u16_at(header, 10),
            crc: u32_at(header, 16),
            num_stored_bytes: u64::from(u32_at(header, 20)),
            num_bytes: u64::from(u32_at(header, 24)),
            header_start: u64::from(u32_at(header, 42)),
        };
        record.widen(extra);
        *rest = after.get(comment..)?;
        Some(record)
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

    /// Whether the name leads out of the archive.
    pub fn is_outside(&self) -> bool {
        let name = self.name.as_str();
        name.starts_with('/')
            || name.get(1..2) == Some(":")
            || name.split('/').any(|part| part == "..")
    }

    /// Whether it is a folder, or a file that a program put there for itself, as macOS does. A `.` alone is the folder
    /// itself, which some programs write before every name (`./train.jsonl`).
    pub fn is_aside(&self) -> bool {
        let is_hidden = |part: &str| (part.starts_with('.') && part != ".") || part == "__MACOSX";
        self.name.ends_with('/') || self.name.split('/').any(is_hidden)
    }

    /// Where it ends at the earliest, in a file that has `shift` bytes before the archive.
    pub fn end(&self, shift: u64) -> Option<u64> {
        let header = (LOCAL_HEADER_BYTES + self.num_name_bytes) as u64;
        let start = self.header_start.checked_add(shift)?;
        start
            .checked_add(header)?
            .checked_add(self.num_stored_bytes)
    }

    /// What its compression is called.
    pub fn method_name(&self) -> String {
        match self.method {
            9 => "deflate64".to_owned(),
            12 => "bzip2".to_owned(),
            14 => "lzma".to_owned(),
            93 => "zstd".to_owned(),
            95 => "xz".to_owned(),
            98 => "ppmd".to_owned(),
            method => format!("method {method}"),
        }
    }
}

/// Whether bytes of the archive belong to several entries, as no program writes them: a small file would stand for many.
pub fn do_overlap<'r>(records: impl Iterator<Item = &'r Record>) -> bool {
    let ranges = records.map(|record| (record.header_start, record.end(0).unwrap_or(u64::MAX)));
    let mut ranges: Vec<(u64, u64)> = ranges.collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|pair| pair[0].1 > pair[1].0)
}

/// The number of bytes from an entry's local header to its data; `None` if the header is damaged.
pub fn num_header_bytes(header: &[u8]) -> Option<u64> {
    if header.len() < LOCAL_HEADER_BYTES || !header.starts_with(b"PK\x03\x04") {
        return None;
    }
    let skipped = usize::from(u16_at(header, 26)) + usize::from(u16_at(header, 28));
    Some((LOCAL_HEADER_BYTES + skipped) as u64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_folders_are_aside_and_the_folder_itself_is_not() {
        for (name, is_aside) in [
            ("train.jsonl", false),
            ("./train.jsonl", false),
            ("data/./train.jsonl", false),
            (".train.jsonl", true),
            ("./.train.jsonl", true),
            (".git/train.jsonl", true),
            ("__MACOSX/train.jsonl", true),
            ("../train.jsonl", true),
            ("./", true),
            ("data/", true),
        ] {
            let name = name.to_owned();
            let record = Record {
                num_name_bytes: name.len(),
                name,
                is_encrypted: false,
                method: 0,
                crc: 0,
                num_stored_bytes: 0,
                num_bytes: 0,
                header_start: 0,
            };
            assert_eq!(record.is_aside(), is_aside, "{}", record.name);
        }
    }
}
