//! Sources of bytes: files read in slices, and their contents, decompressed while reading.

use std::{
    cell::Cell,
    io::{self, Read, Seek, SeekFrom},
    rc::Rc,
};

/// The source of a file: slices of a `File` in a worker, a `Cursor` or a file natively.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// A file that was dropped.
pub struct Input {
    pub name: String,
    pub num_bytes: u64,
    pub source: Box<dyn Source>,
}

/// The maximum number of decompressed bytes, wherever they come from.
pub(super) const MAX_DECOMPRESSED_BYTES: u64 = 2 << 30;
/// The maximum ratio of decompressed to compressed bytes.
const MAX_EXPANSION: u64 = 200;
/// Small files may expand beyond that ratio, since a few equal rows do.
const ALWAYS_ALLOWED_BYTES: u64 = 1 << 20;

/// What stops a stream besides read errors; carried inside an [`io::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StreamError {
    #[error("it expands to more than {limit} bytes")]
    Bomb { limit: u64 },
    #[error("its compressed data is damaged: {0}")]
    Damaged(String),
    #[error("{0}")]
    OddEnd(OddEnd),
}

/// An unusual end of compressed data that can be read up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OddEnd {
    #[error("its compressed data is cut off")]
    CutOff,
    #[error("there is something after its compressed data")]
    Followed,
}

impl OddEnd {
    /// Converts an error into such an end, or returns other errors.
    pub(super) fn of(error: io::Error) -> io::Result<Self> {
        let stopped = error.get_ref().and_then(|inner| inner.downcast_ref());
        match stopped {
            Some(StreamError::OddEnd(end)) => Ok(*end),
            _ => Err(error),
        }
    }
}

impl From<OddEnd> for io::Error {
    fn from(end: OddEnd) -> Self {
        Self::other(StreamError::OddEnd(end))
    }
}

/// The maximum size of decompressed data, from its compressed size.
pub(super) fn expansion_limit(num_bytes: u64) -> u64 {
    num_bytes
        .saturating_mul(MAX_EXPANSION)
        .clamp(ALWAYS_ALLOWED_BYTES, MAX_DECOMPRESSED_BYTES)
}

/// Bytes that can be read repeatedly from the start.
pub(super) trait Stream {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>>;
    /// The size of the stored form, before any decompression.
    fn num_stored_bytes(&self) -> u64;
}

/// Counts the bytes read, to report progress.
pub(super) struct Counting<'a> {
    pub source: &'a mut dyn Source,
    pub count: Rc<Cell<u64>>,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let num_bytes = self.source.read(buffer)?;
        self.count.set(self.count.get() + num_bytes as u64);
        Ok(num_bytes)
    }
}

impl Seek for Counting<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

/// A file without compression.
pub(super) struct Plain<'a> {
    pub file: Counting<'a>,
    pub num_bytes: u64,
}

impl Stream for Plain<'_> {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.count.set(0);
        Ok(Box::new(&mut self.file))
    }

    fn num_stored_bytes(&self) -> u64 {
        self.num_bytes
    }
}

/// A decompressor with a limit. Its own errors become [`StreamError::Damaged`].
pub(super) struct Limited<R> {
    inner: R,
    limit: u64,
    num_read: u64,
}

impl<R: Read> Limited<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            limit,
            num_read: 0,
        }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let num_bytes = match self.inner.read(buffer) {
            Ok(num_bytes) => num_bytes,
            Err(error) if is_of_decompressor(&error) => {
                return Err(io::Error::other(StreamError::Damaged(error.to_string())));
            }
            Err(error) => return Err(error),
        };
        self.num_read += num_bytes as u64;
        if self.num_read > self.limit {
            let limit = self.limit;
            return Err(io::Error::other(StreamError::Bomb { limit }));
        }
        Ok(num_bytes)
    }
}

fn is_of_decompressor(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::InvalidInput | Kind::InvalidData | Kind::UnexpectedEof
    )
}

/// Reads until the buffer is full or the stream ends.
pub(super) fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    match read_to_end(reader, buffer)? {
        (len, None) => Ok(len),
        (_, Some(end)) => Err(end.into()),
    }
}

/// Like [`read_full`], for a stream that may have an unusual end.
pub(super) fn read_to_end(
    reader: &mut dyn Read,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OddEnd>)> {
    let mut len = 0;
    while len < buffer.len() {
        match reader.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(num_bytes) => len += num_bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok((len, Some(OddEnd::of(error)?))),
        }
    }
    Ok((len, None))
}
