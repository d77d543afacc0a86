//! Where the bytes of a model file come from: read by slices, never whole.

use std::{future::Future, pin::Pin, rc::Rc};

/// A file that is read by slices: a browser `File`, an OPFS file, memory, a file of the tests.
pub trait ByteSource {
    fn num_bytes(&self) -> u64;

    /// The SHA-256 of the whole in hexadecimal, where it was taken from these very bytes before.
    fn sha256_hex(&self) -> Option<&str> {
        None
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
        let slice = offset
            .checked_add(num_bytes as u64)
            .filter(|&end| end <= self.len() as u64)
            .map(|end| self[offset as usize..end as usize].to_vec())
            .ok_or(SourceError::OutOfRange {
                offset,
                end: offset.saturating_add(num_bytes as u64),
                num_bytes: self.len() as u64,
            });
        Box::pin(std::future::ready(slice))
    }
}
