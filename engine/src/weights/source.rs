//! Where the bytes of a model file come from: they are read by slices, never whole.
//!
//! A [`ByteSource`] hides whether the bytes are in a browser's `File`, in the origin's storage, in memory, or
//! in several files in a row. Reads are futures without `Send`, since a browser's file handle stays on its
//! thread.

use std::{future::Future, pin::Pin, rc::Rc};

/// A file that is read by slices: a browser `File`, an OPFS file, memory, a file on disk in tests.
///
/// Its length is fixed for as long as it is held. Implementations read with exact lengths or fail; they never
/// return a shorter slice.
pub trait ByteSource {
    /// Returns the size of the whole file in bytes.
    fn num_bytes(&self) -> u64;

    /// Returns the SHA-256 of the whole file in lower-case hexadecimal if it was computed from these very bytes
    /// before, so that a file that was verified when it was stored is not hashed twice; otherwise `None`.
    fn sha256_hex(&self) -> Option<&str> {
        None
    }

    /// Returns the offset just past `num_bytes` bytes from `offset` on.
    ///
    /// # Errors
    /// [`SourceError::OutOfRange`] if that lies past the file's end. Sums that overflow count as past the end.
    fn end_of(&self, offset: u64, num_bytes: usize) -> Result<u64, SourceError> {
        let end = offset.saturating_add(num_bytes as u64);
        if end > self.num_bytes() {
            return Err(SourceError::OutOfRange {
                offset,
                end,
                num_bytes: self.num_bytes(),
            });
        }
        Ok(end)
    }

    /// Reads exactly `num_bytes` bytes from `offset` on.
    ///
    /// # Errors
    /// [`SourceError::OutOfRange`] if the range leaves the file, [`SourceError::Read`] if the bytes cannot be
    /// had any more.
    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>>;
}

/// Why a slice could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The range `offset..end` leaves the file of `num_bytes` bytes.
    #[error("bytes {offset}..{end} lie outside the file of {num_bytes} bytes")]
    OutOfRange {
        offset: u64,
        end: u64,
        num_bytes: u64,
    },
    /// The place of the bytes failed: a file that was moved or changed, storage that was cleared, a damaged
    /// archive. Holds a message for the user.
    #[error("the file could not be read: {0}")]
    Read(String),
}

/// Several files read as one, in a row: the shards of a safetensors checkpoint.
///
/// ```text
/// file 0: 100 bytes   file 1: 50 bytes        parts: (0, file 0), (100, file 1)      num_bytes: 150
/// read(90, 20) = the last 10 bytes of file 0, then the first 10 of file 1
/// ```
pub struct Joined {
    /// The files with the offset at which each begins, ascending.
    parts: Vec<(u64, Box<dyn ByteSource>)>,
    /// The size of all files together.
    num_bytes: u64,
}

impl Joined {
    /// Joins the files in the given order; an empty list makes an empty file.
    pub fn new(sources: Vec<Box<dyn ByteSource>>) -> Self {
        let mut num_bytes = 0u64;
        let parts = sources.into_iter().map(|source| {
            let start = num_bytes;
            num_bytes = num_bytes.saturating_add(source.num_bytes());
            (start, source)
        });
        Self {
            parts: parts.collect(),
            num_bytes,
        }
    }
}

impl ByteSource for Joined {
    fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    /// Known only for a single file: the hash of a concatenation does not follow from those of its parts.
    fn sha256_hex(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [(_, only)] => only.sha256_hex(),
            _ => None,
        }
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        Box::pin(async move {
            let end = self.end_of(offset, num_bytes)?;
            let mut bytes = Vec::new();
            for (start, source) in &self.parts {
                // What of this part is wanted, counted from its own start.
                let from = offset.saturating_sub(*start);
                let to = end.saturating_sub(*start).min(source.num_bytes());
                if from < to {
                    let read = source.read(from, (to - from) as usize).await?;
                    // Most reads lie within one file, and its bytes are passed on without a copy.
                    if read.len() == num_bytes {
                        return Ok(read);
                    }
                    bytes.extend(read);
                }
            }
            Ok(bytes)
        })
    }
}

/// A file with several owners, such as an archive whose entries are files themselves.
impl ByteSource for Rc<dyn ByteSource> {
    fn num_bytes(&self) -> u64 {
        (**self).num_bytes()
    }

    fn sha256_hex(&self) -> Option<&str> {
        (**self).sha256_hex()
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        (**self).read(offset, num_bytes)
    }
}

/// A file held in memory.
impl ByteSource for Vec<u8> {
    fn num_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        let end = self.end_of(offset, num_bytes);
        let slice = end.map(|end| self[offset as usize..end as usize].to_vec());
        Box::pin(std::future::ready(slice))
    }
}
