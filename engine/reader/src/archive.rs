//! A zip of dataset files.

mod directory;

use std::{
    cell::Cell,
    io::{self, BufReader, Read, Seek, SeekFrom},
    rc::Rc,
};

use flate2::{Crc, bufread::DeflateDecoder};
use protocol::TextSplit;

use self::directory::{Entry, Method};
use super::{
    error::DatasetError,
    gzip::Gunzipped,
    open::{Held, held, read_stream},
    output::Output,
    sniff::Kind,
    source::{Bomb, Counting, Limited, Stream, StreamError, consumed, expansion_limit, read_full},
    xlsx,
    zstd::Unzstd,
};

/// Reads the entries of an archive in the order of their names. If some are tables or JSON, texts next to them are
/// taken for descriptions and skipped.
pub(super) fn read(
    name: &str,
    file: &mut Counting,
    num_bytes: u64,
    split: TextSplit,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let entries = directory::entries(name, file, num_bytes)?;
    let mut archive = Archive {
        file,
        limit: expansion_limit(num_bytes),
        used: 0,
    };
    if entries.iter().any(|entry| entry.name() == xlsx::WORKBOOK) {
        let mut workbook = Workbook {
            archive,
            entries: &entries,
        };
        return xlsx::read(name, &mut workbook, num_bytes, output);
    }
    let kinds = entries.iter().map(|entry| archive.kind(name, entry));
    let kinds: Vec<Result<IsTable, DatasetError>> = kinds.collect();
    let has_tables = kinds.iter().any(|kind| matches!(kind, Ok(IsTable(true))));
    let num_texts = kinds.iter().filter(|kind| kind.is_ok()).count();
    let split = match split {
        TextSplit::Automatic if num_texts > 1 => TextSplit::Document,
        split => split,
    };
    let (mut first_error, mut num_read) = (None, 0);
    for (entry, kind) in entries.iter().zip(kinds) {
        let full_name = entry.full_name(name);
        let read = match kind {
            Ok(IsTable(false)) if has_tables => {
                let note = "It was skipped, because other files in the archive are tables or JSON.";
                output.note(&full_name, note);
                continue;
            }
            Ok(_) => archive.read(&full_name, entry, split, output),
            Err(error) => Err(error),
        };
        match read {
            Ok(()) => num_read += 1,
            Err(error @ (DatasetError::Bomb { .. } | DatasetError::Source { .. })) => {
                return Err(error);
            }
            Err(error) => {
                // The note names the file itself.
                let what = error.to_string().replacen(&full_name, "it", 1);
                output.note(&full_name, &format!("It was skipped: {what}."));
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if num_read == 0 => Err(error),
        None if num_read == 0 => Err(DatasetError::Archive {
            file: name.to_owned(),
            what: "it contains no file with rows".to_owned(),
            remedy: "Put JSONL, JSON, CSV, Parquet or text files into it.",
        }),
        _ => Ok(()),
    }
}

/// Whether an entry is a table or JSON, not a text.
struct IsTable(bool);

struct Archive<'a, 'f> {
    file: &'a mut Counting<'f>,
    /// Bytes that all of it may become.
    limit: u64,
    /// Bytes that the entries read so far became.
    used: u64,
}

impl<'f> Archive<'_, 'f> {
    fn stream<'s>(&'s mut self, entry: &'s Entry) -> EntryStream<'s, 'f> {
        EntryStream {
            file: &mut *self.file,
            entry,
            limit: self.limit.saturating_sub(self.used),
            num_bytes: Rc::default(),
        }
    }

    fn kind(&mut self, archive: &str, entry: &Entry) -> Result<IsTable, DatasetError> {
        let name = entry.full_name(archive);
        let mut stream = self.stream(entry);
        let packed = packed(&name, &mut stream)?;
        let (inner, most_read) = (&mut stream, Rc::default());
        let stored = packed.stored();
        let held = match packed {
            Packed::No => held(&name, stored, inner)?,
            Packed::Gzip => held(&name, stored, &mut Gunzipped { inner, most_read })?,
            Packed::Zstd => held(&name, stored, &mut Unzstd { inner, most_read })?,
        };
        Ok(IsTable(match held {
            Held::Parquet | Held::Arrow => true,
            Held::Text(_, kind) => !matches!(kind, Kind::Text { .. }),
        }))
    }

    fn read(
        &mut self,
        name: &str,
        entry: &Entry,
        split: TextSplit,
        output: &mut Output,
    ) -> Result<(), DatasetError> {
        // What an entry says of itself, and what is left for it.
        if entry.num_bytes > self.limit.saturating_sub(self.used) {
            return Err(DatasetError::Bomb {
                file: name.to_owned(),
                bomb: Bomb::Content(self.limit),
            });
        }
        let mut stream = self.stream(entry);
        let num_bytes = Rc::clone(&stream.num_bytes);
        let packed = packed(name, &mut stream)?;
        let stored = packed.stored();
        let (inner, most_read) = (&mut stream, Rc::<Cell<u64>>::default());
        let num_unpacked = Rc::clone(&most_read);
        let read = match packed {
            Packed::No => read_stream(name, stored, inner, split, output),
            Packed::Gzip => {
                let mut stream = Gunzipped { inner, most_read };
                read_stream(name, stored, &mut stream, split, output)
            }
            Packed::Zstd => {
                let mut stream = Unzstd { inner, most_read };
                read_stream(name, stored, &mut stream, split, output)
            }
        };
        self.used += num_bytes.get().max(num_unpacked.get());
        read
    }
}

/// An archive that is an Excel workbook.
struct Workbook<'e, 'a, 'f> {
    archive: Archive<'a, 'f>,
    entries: &'e [Entry],
}

impl xlsx::Parts for Workbook<'_, '_, '_> {
    fn with(
        &mut self,
        name: &str,
        read: &mut dyn FnMut(&mut dyn Stream) -> io::Result<()>,
    ) -> io::Result<bool> {
        match self.entries.iter().find(|entry| entry.name() == name) {
            Some(entry) => read(&mut self.archive.stream(entry)).map(|()| true),
            None => Ok(false),
        }
    }
}

/// How an entry is compressed besides.
#[derive(Clone, Copy)]
enum Packed {
    No,
    Gzip,
    Zstd,
}

impl Packed {
    /// What is said after its format.
    fn stored(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Gzip => ", gzipped",
            Self::Zstd => ", compressed by zstd",
        }
    }
}

fn packed(name: &str, stream: &mut EntryStream) -> Result<Packed, DatasetError> {
    let mut head = [0; 4];
    let read = stream
        .open()
        .and_then(|mut input| read_full(&mut input, &mut head));
    let len = read.map_err(|error| DatasetError::reading(name, &error))?;
    Ok(match &head[..len] {
        [0x1F, 0x8B, ..] => Packed::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD] => Packed::Zstd,
        _ => Packed::No,
    })
}

/// An entry, decompressed.
struct EntryStream<'a, 'f> {
    file: &'a mut Counting<'f>,
    entry: &'a Entry,
    limit: u64,
    /// Bytes that it became, in the reading of it that went furthest.
    num_bytes: Rc<Cell<u64>>,
}

impl Stream for EntryStream<'_, '_> {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        let start = self.entry.data_start(self.file)?;
        self.file.seek(SeekFrom::Start(start))?;
        self.file.count.set(self.entry.before);
        let stored = (&mut *self.file).take(self.entry.num_stored_bytes);
        let (stored, count) = consumed(stored);
        let bytes: Box<dyn Read> = match self.entry.method {
            Method::Stored => Box::new(stored),
            Method::Deflate => Box::new(DeflateDecoder::new(BufReader::with_capacity(
                64 << 10,
                stored,
            ))),
        };
        Ok(Box::new(Checked {
            inner: Limited::new(bytes, self.limit, count, Rc::clone(&self.num_bytes)),
            crc: Crc::new(),
            entry: self.entry,
            num_read: 0,
        }))
    }

    fn limit(&self) -> u64 {
        self.limit.min(expansion_limit(self.num_stored_bytes()))
    }

    fn num_stored_bytes(&self) -> u64 {
        self.entry.num_stored_bytes
    }
}

/// Compares an entry with its checksum once it was read to the end.
struct Checked<'a, R> {
    inner: R,
    crc: Crc,
    entry: &'a Entry,
    num_read: u64,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.crc.update(&buffer[..len]);
        self.num_read += len as u64;
        let is_end = len == 0 && !buffer.is_empty();
        let is_sound = self.crc.sum() == self.entry.crc && self.num_read == self.entry.num_bytes;
        if is_end && !is_sound || self.num_read > self.entry.num_bytes {
            let what = "its checksum does not match".to_owned();
            return Err(io::Error::other(StreamError::Damaged(what)));
        }
        Ok(len)
    }
}
