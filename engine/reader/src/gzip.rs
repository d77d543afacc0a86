//! Reads the content of a gzip file: all of its members, as far as they are complete.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use flate2::bufread::GzDecoder;

use super::source::{Limited, OddEnd, Stream, consumed};

/// The number of bytes of the compressed file read at once.
const SLICE_BYTES: usize = 256 << 10;

/// A gzip file's content.
pub(super) struct Gunzipped<'a> {
    pub inner: &'a mut dyn Stream,
    /// The number of bytes that it became, in the reading of it that went furthest.
    pub most_read: Rc<Cell<u64>>,
}

impl Stream for Gunzipped<'_> {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        let limit = self.inner.limit();
        let most_read = Rc::clone(&self.most_read);
        let (compressed, count) = consumed(self.inner.open()?);
        let compressed = BufReader::with_capacity(SLICE_BYTES, compressed);
        let members = Members {
            present: Some(GzDecoder::new(compressed)),
        };
        Ok(Box::new(Limited::new(members, limit, count, most_read)))
    }

    fn num_stored_bytes(&self) -> u64 {
        self.inner.num_stored_bytes()
    }
}

/// Decompresses the members in sequence, and ends as gzip does: zeros after the last one are ignored; anything else
/// there, or a file that was cut off, is reported as an [`OddEnd`] once everything before it was returned.
struct Members<R> {
    /// `None` after the last one.
    present: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.present {
            let num_bytes = member.read(buffer).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => OddEnd::CutOff.into(),
                _ => error,
            })?;
            if num_bytes > 0 || buffer.is_empty() {
                return Ok(num_bytes);
            }
            self.present = match self.present.take() {
                Some(member) => next(member.into_inner())?,
                None => None,
            };
        }
        Ok(0)
    }
}

/// The next member, from the bytes after the previous one.
fn next<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    // Usually both bytes of the magic number are available; at the end of a slice there may be only one.
    if matches!(rest.fill_buf()?, [0x1F] | [0x1F, 0x8B, ..]) {
        return Ok(Some(GzDecoder::new(rest)));
    }
    loop {
        let bytes = rest.fill_buf()?;
        match bytes.len() {
            0 => return Ok(None),
            len if bytes.iter().all(|&byte| byte == 0) => rest.consume(len),
            _ => return Err(OddEnd::Followed.into()),
        }
    }
}
