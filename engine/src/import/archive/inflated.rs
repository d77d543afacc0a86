//! A file that lies deflated in an archive.
//!
//! It is inflated as it is read, from front to back, and from its beginning again where a reader goes back:
//! what is held is a slice of the archive and deflate's window of 32 KB, whatever the file's size.
//!
//! ```text
//! archive  |....used....|slice...|......     place.next: where the next slice begins
//! file     |..........offset                 what came out so far
//! ```

use std::{cell::RefCell, future::Future, pin::Pin};

use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    inflate::stream::{InflateState, inflate},
};

use super::stored::{Part, SLICE_BYTES};
use crate::weights::source::{ByteSource, SourceError};

/// A deflated file, as a source of its inflated bytes.
pub(super) struct Inflated {
    /// Its compressed bytes.
    part: Part,
    /// Its size once inflated, as the archive says and [`Self::crc`] checks.
    num_bytes: u64,
    /// Its path in the archive, for messages.
    name: String,
    /// How far the last read got, where the next one goes on.
    place: RefCell<Place>,
}

/// How far a file is inflated.
struct Place {
    /// Deflate's own state with its window of 32 KB.
    state: Box<InflateState>,
    /// The compressed bytes that were read last, at most `SLICE_BYTES`.
    slice: Vec<u8>,
    /// The number of the slice's bytes that were inflated.
    num_used: usize,
    /// Where the next slice begins, from the start of the compressed bytes.
    next: u64,
    /// The number of bytes that came out.
    offset: u64,
    /// Whether deflate's end marker was read.
    is_at_end: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            state: InflateState::new_boxed(DataFormat::Raw),
            slice: Vec::new(),
            num_used: 0,
            next: 0,
            offset: 0,
            is_at_end: false,
        }
    }
}

impl Inflated {
    /// Takes a file of which the archive says that it has `num_bytes` bytes; nothing is read yet.
    pub(super) fn new(part: Part, num_bytes: u64, name: &str) -> Self {
        Self {
            part,
            num_bytes,
            name: name.to_owned(),
            place: RefCell::default(),
        }
    }

    /// Makes the error for data that does not inflate.
    fn damaged(&self) -> SourceError {
        SourceError::Read(format!("{} in the archive is damaged", self.name))
    }

    /// Inflates until the buffer is full or the file ends; returns the number of bytes.
    ///
    /// # Errors
    /// Data that does not inflate, or ends without its end marker.
    async fn fill(&self, place: &mut Place, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let mut len = 0;
        while len < buffer.len() && !place.is_at_end {
            if place.num_used == place.slice.len() {
                place.slice = self.part.slice(place.next).await?;
                place.next += place.slice.len() as u64;
                place.num_used = 0;
            }
            let is_last = place.slice.is_empty();
            let input = &place.slice[place.num_used..];
            let step = inflate(&mut place.state, input, &mut buffer[len..], MZFlush::None);
            place.num_used += step.bytes_consumed;
            place.offset += step.bytes_written as u64;
            len += step.bytes_written;
            match step.status {
                Ok(MZStatus::StreamEnd) => place.is_at_end = true,
                // It only wants more to read, or more room. Past the last slice there is nothing more to read,
                // so without output the loop would never end.
                Ok(_) | Err(MZError::Buf) if step.bytes_written > 0 || !is_last => {}
                _ => return Err(self.damaged()),
            }
        }
        Ok(len)
    }

    /// Returns the CRC-32 of all its bytes.
    ///
    /// # Errors
    /// Damaged data, or another size than the archive says.
    pub(super) async fn crc(&self) -> Result<u32, SourceError> {
        let mut crc = crc32fast::Hasher::new();
        let mut place = Place::default();
        let mut buffer = vec![0; SLICE_BYTES as usize];
        loop {
            let len = self.fill(&mut place, &mut buffer).await?;
            crc.update(&buffer[..len]);
            // A file that states too little of its size is not read on to see how large it becomes.
            if len == 0 && place.offset == self.num_bytes {
                return Ok(crc.finalize());
            } else if len == 0 || place.offset > self.num_bytes {
                return Err(self.damaged());
            }
        }
    }
}

impl ByteSource for Inflated {
    fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        Box::pin(async move {
            self.end_of(offset, num_bytes)?;
            // Taken out, so that it is not borrowed while a slice is awaited.
            let mut place = self.place.take();
            if place.offset > offset {
                place = Place::default();
            }
            let mut skipped = Vec::new();
            while place.offset < offset {
                skipped.resize((offset - place.offset).min(SLICE_BYTES) as usize, 0);
                if self.fill(&mut place, &mut skipped).await? == 0 {
                    return Err(self.damaged());
                }
            }
            let mut bytes = vec![0; num_bytes];
            match self.fill(&mut place, &mut bytes).await? == num_bytes {
                true => {
                    self.place.replace(place);
                    Ok(bytes)
                }
                false => Err(self.damaged()),
            }
        })
    }
}
