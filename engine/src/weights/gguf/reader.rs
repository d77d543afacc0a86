//! Reads a GGUF header front to back in slices; every length is checked before anything is allocated for it.
//!
//! The buffer holds the slice being read. A request goes out when it runs dry, for at least `CHUNK_BYTES`:
//!
//! ```text
//! file    |....consumed....|--unread--|................................|
//! buffer             [......|--unread--]
//!                           start       end = offset + held()
//! ```

use super::error::{GgufError, GgufProblem, Place};
use crate::weights::source::ByteSource;

/// The number of bytes requested by one read, unless a single value is longer.
const CHUNK_BYTES: usize = 256 * 1024;

/// Little-endian values from the front of a file.
pub(super) struct HeaderReader<'a> {
    /// The whole file; only its front is read.
    source: &'a dyn ByteSource,
    /// Bytes after `max_header_bytes` are never read.
    max_header_bytes: u64,
    /// The bytes of the last reads; those before `start` are dropped at the next one.
    buffer: Vec<u8>,
    /// The next unread byte of `buffer`.
    start: usize,
    /// The position of that byte in the file.
    offset: u64,
}

impl<'a> HeaderReader<'a> {
    /// Starts at the file's first byte.
    pub fn new(source: &'a dyn ByteSource, max_header_bytes: u64) -> Self {
        Self {
            source,
            max_header_bytes,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
        }
    }

    /// Returns the position of the next byte in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns `problem` with the position of the next byte as its place.
    pub fn error(&self, problem: GgufProblem) -> GgufError {
        Place::Byte(self.offset).error(problem)
    }

    /// Checks that `count` items of at least `item_bytes` bytes can follow, and returns `count` for an
    /// allocation.
    ///
    /// # Errors
    /// [`GgufProblem::BeyondEnd`] with the largest possible count.
    pub fn check_count(
        &self,
        what: &'static str,
        count: u64,
        item_bytes: u64,
    ) -> Result<usize, GgufError> {
        let end = self.source.num_bytes().min(self.max_header_bytes);
        let limit = end.saturating_sub(self.offset) / item_bytes;
        usize::try_from(count)
            .ok()
            .filter(|_| count <= limit)
            .ok_or_else(|| self.error(GgufProblem::BeyondEnd { what, count, limit }))
    }

    /// Returns the next `num_bytes` bytes.
    ///
    /// # Errors
    /// [`GgufProblem::Truncated`], [`GgufProblem::HeaderTooLarge`], or a failure of the source.
    pub async fn take(&mut self, num_bytes: usize) -> Result<&[u8], GgufError> {
        if self.held() < num_bytes {
            self.fill(num_bytes).await?;
        }
        Ok(self.consume(num_bytes))
    }

    /// Returns the next `N` bytes.
    pub async fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N).await?);
        Ok(bytes)
    }

    /// Returns the next little-endian 32-bit number.
    pub async fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array().await?))
    }

    /// Returns the next little-endian 64-bit number.
    pub async fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array().await?))
    }

    /// Returns a string of at most `max_bytes` bytes: its length, then UTF-8. `what` names the length in
    /// messages.
    ///
    /// A header has a hundred thousand strings, so no nested future is awaited while the buffer lasts.
    ///
    /// # Errors
    /// [`GgufProblem::Count`] for a longer text, [`GgufProblem::Utf8`], and those of [`Self::take`].
    pub async fn text(&mut self, what: &'static str, max_bytes: u64) -> Result<&str, GgufError> {
        let at = self.offset;
        if self.held() < 8 {
            self.fill(8).await?;
        }
        let mut length = [0; 8];
        length.copy_from_slice(self.consume(8));
        let length = u64::from_le_bytes(length);
        if length > max_bytes {
            return Err(Place::Byte(at).error(GgufProblem::Count {
                what,
                count: length,
                limit: max_bytes,
            }));
        }
        let length = self.check_count(what, length, 1)?;
        if self.held() < length {
            self.fill(length).await?;
        }
        std::str::from_utf8(self.consume(length))
            .map_err(|_| Place::Byte(at).error(GgufProblem::Utf8))
    }

    /// Returns the number of bytes in the buffer that are still unread.
    fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Hands out the next bytes of the buffer.
    ///
    /// # Panics
    /// If the buffer holds fewer; callers fill it first.
    fn consume(&mut self, num_bytes: usize) -> &[u8] {
        let slice = &self.buffer[self.start..self.start + num_bytes];
        self.start += num_bytes;
        self.offset += num_bytes as u64;
        slice
    }

    /// Makes at least `num_bytes` bytes available in the buffer, which holds fewer.
    ///
    /// # Errors
    /// [`GgufProblem::Truncated`] if the file ends before, [`GgufProblem::HeaderTooLarge`] if they are past the
    /// limit.
    async fn fill(&mut self, num_bytes: usize) -> Result<(), GgufError> {
        let held = self.held();
        let (total, position) = (self.source.num_bytes(), self.offset + held as u64);
        let wanted = (num_bytes - held) as u64;
        let left = total.saturating_sub(position);
        if wanted > left {
            return Err(self.error(GgufProblem::Truncated {
                missing: wanted - left,
                num_bytes: total,
            }));
        }
        if position + wanted > self.max_header_bytes {
            return Err(self.error(GgufProblem::HeaderTooLarge(self.max_header_bytes)));
        }
        // `wanted` fits: it was a usize, and the larger CHUNK_BYTES is one.
        let num_bytes = left.min(wanted.max(CHUNK_BYTES as u64)) as usize;
        let bytes = self
            .source
            .read(position, num_bytes)
            .await
            .map_err(|error| self.error(error.into()))?;
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }
}
