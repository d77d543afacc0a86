//! Sources of bytes: files read in slices, and their contents, decompressed while reading.

use std::{
    cell::Cell,
    fmt,
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

/// The maximum number of bytes that a file may become, wherever they come from.
const MAX_EXPANDED_BYTES: u64 = 2 << 30;
/// The maximum ratio of what a file becomes to its size.
const MAX_EXPANSION: u64 = 200;
/// Small files may expand beyond that ratio, since a few equal rows do.
const ALWAYS_ALLOWED_BYTES: u64 = 1 << 20;
/// So may the rows of a format that stores equal texts once.
const ALWAYS_ALLOWED_ROW_BYTES: u64 = 64 << 20;
const MAX_ROW_BYTES: u64 = 16 << 20;
const ALWAYS_ALLOWED_IN_ROW: u64 = 4 << 20;
/// The number of bytes by which decompressed data may run ahead of that ratio: a bomb is told long before its end.
const AHEAD_BYTES: u64 = 16 << 20;
/// The number of bytes read between two signs of progress.
const PROGRESS_BYTES: u64 = 256 << 10;

/// What a file became too much of, and the limit on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bomb {
    /// Its content, decompressed.
    Content(u64),
    /// The rows that its content stands for.
    Rows(u64),
    /// What has to be held at once.
    Held(u64),
}

impl fmt::Display for Bomb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = format!("{MAX_EXPANSION} times its size, at least 1 MB and at most 2 GB");
        match *self {
            Self::Content(limit) => {
                write!(formatter, "expands to more than {} ({rule})", Size(limit))
            }
            Self::Rows(limit) => write!(
                formatter,
                "stands for rows of more than {} ({})",
                Size(limit),
                rule.replace("1 MB", "64 MB")
            ),
            Self::Held(limit) => write!(
                formatter,
                "has a part that expands to more than {} at once",
                Size(limit)
            ),
        }
    }
}

/// A number of bytes as people write it.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.0 as f64 / (1 << 20) as f64;
        match megabytes {
            1024.0.. => write!(formatter, "{:.1} GB", megabytes / 1024.0),
            _ => write!(formatter, "{megabytes:.1} MB"),
        }
    }
}

/// What stops a stream besides read errors; carried inside an [`io::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StreamError {
    #[error("it {0}")]
    Bomb(Bomb),
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
        .clamp(ALWAYS_ALLOWED_BYTES, MAX_EXPANDED_BYTES)
}

/// The maximum size of a row, which is held several times while it is read, from the file's size: a small file may stand for a
/// long row once it is decompressed.
pub(super) fn row_limit(num_bytes: u64) -> usize {
    (ALWAYS_ALLOWED_IN_ROW + 2 * num_bytes.min(MAX_ROW_BYTES)).min(MAX_ROW_BYTES) as usize
}

/// The maximum size of the rows that a file stands for where it stores equal ones once, from its size.
pub(super) fn rows_limit(num_bytes: u64) -> u64 {
    num_bytes
        .saturating_mul(MAX_EXPANSION)
        .clamp(ALWAYS_ALLOWED_ROW_BYTES, MAX_EXPANDED_BYTES)
}

/// Bytes that can be read repeatedly from the start.
pub(super) trait Stream {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>>;
    /// The size of the stored form, before any decompression.
    fn num_stored_bytes(&self) -> u64;
    /// The maximum number of bytes that its content may be decompressed to.
    fn limit(&self) -> u64 {
        expansion_limit(self.num_stored_bytes())
    }
}

/// Counts the bytes read, to report progress.
pub(super) struct Counting<'a> {
    pub source: &'a mut dyn Source,
    pub count: Rc<Cell<u64>>,
    /// Called as bytes are read, whether or not rows come of them.
    pub sign: Rc<dyn Fn() + 'a>,
    pub num_silent: u64,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let num_bytes = self.source.read(buffer)?;
        self.count.set(self.count.get() + num_bytes as u64);
        self.num_silent += num_bytes as u64;
        if self.num_silent >= PROGRESS_BYTES {
            self.num_silent = 0;
            (self.sign)();
        }
        Ok(num_bytes)
    }
}

/// Counts the compressed bytes that were decompressed so far.
pub(super) struct Consumed<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Consumed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let num_bytes = self.inner.read(buffer)?;
        self.count.set(self.count.get() + num_bytes as u64);
        Ok(num_bytes)
    }
}

/// A reader of compressed bytes, and the number of them that were read.
pub(super) fn consumed<R: Read>(inner: R) -> (Consumed<R>, Rc<Cell<u64>>) {
    let count = Rc::new(Cell::new(0));
    let reader = Consumed {
        inner,
        count: Rc::clone(&count),
    };
    (reader, count)
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
    /// The number of compressed bytes read.
    consumed: Rc<Cell<u64>>,
    num_read: u64,
    most_read: Rc<Cell<u64>>,
}

impl<R: Read> Limited<R> {
    /// `most_read`: the number of bytes that the content became, in the reading of it that went furthest.
    pub(super) fn new(
        inner: R,
        limit: u64,
        consumed: Rc<Cell<u64>>,
        most_read: Rc<Cell<u64>>,
    ) -> Self {
        Self {
            inner,
            limit,
            consumed,
            num_read: 0,
            most_read,
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
        self.most_read.set(self.most_read.get().max(self.num_read));
        let ahead = self.consumed.get().saturating_mul(MAX_EXPANSION) + AHEAD_BYTES;
        if self.num_read > self.limit.min(ahead) {
            let bomb = Bomb::Content(self.limit);
            return Err(io::Error::other(StreamError::Bomb(bomb)));
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
