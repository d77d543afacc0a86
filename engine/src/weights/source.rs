//! Where the bytes of a model file come from: read by slices, never whole.

use std::{future::Future, pin::Pin, rc::Rc};

/// A file that is read by slices: a browser `File`, an OPFS file, memory, a file of the tests.
pub trait ByteSource {
    fn num_bytes(&self) -> u64;

    /// The SHA-256 of the whole in hexadecimal, where it was taken from these very bytes before.
    fn sha256_hex(&self) -> Option<&str> {
        None
    }

    /// Where `num_bytes` bytes from `offset` on end.
    ///
    /// # Errors
    /// Where that is past the file's end.
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
    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>>;
}

/// A slice that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("bytes {offset}..{end} lie outside the file of {num_bytes} bytes")]
    OutOfRange {
        offset: u64,
        end: u64,
        num_bytes: u64,
    },
    #[error("the file could not be read: {0}")]
    Read(String),
}

/// Several files as one, one after the other.
pub struct Joined {
    /// Each with where it begins.
    parts: Vec<(u64, Box<dyn ByteSource>)>,
    num_bytes: u64,
}

impl Joined {
    /// Joins the files in their order.
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

/// A file that several hold.
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
