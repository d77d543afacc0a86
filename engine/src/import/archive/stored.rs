//! A file that lies in an archive as it is: a range of the archive's bytes, read without a copy of the whole.

use std::{future::Future, pin::Pin, rc::Rc};

use crate::weights::source::{ByteSource, SourceError};

/// The number of bytes read at once.
pub(super) const SLICE_BYTES: u64 = 1 << 20;

/// A part of an archive's bytes.
pub(super) struct Part {
    /// The whole archive, which its files share.
    pub archive: Rc<dyn ByteSource>,
    /// Where the file's first byte is in the archive; with `num_bytes` it was checked to lie inside.
    pub start: u64,
    /// The number of bytes as stored, so of a deflated file its compressed size.
    pub num_bytes: u64,
}

impl Part {
    /// Returns the bytes from `offset` on: a slice of them, or what is left; none at the end.
    ///
    /// # Errors
    /// A failure of the archive.
    pub(super) async fn slice(&self, offset: u64) -> Result<Vec<u8>, SourceError> {
        let len = self.num_bytes.saturating_sub(offset).min(SLICE_BYTES);
        match len {
            0 => Ok(Vec::new()),
            len => self.archive.read(self.start + offset, len as usize).await,
        }
    }

    /// Returns the CRC-32 of all its bytes.
    ///
    /// # Errors
    /// A failure of the archive.
    pub(super) async fn crc(&self) -> Result<u32, SourceError> {
        let mut crc = crc32fast::Hasher::new();
        let mut offset = 0;
        while offset < self.num_bytes {
            let slice = self.slice(offset).await?;
            crc.update(&slice);
            offset += slice.len() as u64;
        }
        Ok(crc.finalize())
    }
}

impl ByteSource for Part {
    fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        match self.end_of(offset, num_bytes) {
            Ok(_) => self.archive.read(self.start + offset, num_bytes),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}
