//! What is inside a zstd file: all of its frames, as far as they are whole.

use std::{
    cell::Cell,
    error::Error,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::{
    codec::MAX_WINDOW_BYTES,
    source::{Limited, OddEnd, Stream, StreamError, consumed},
};

/// Bytes of the compressed file that are read at once.
const SLICE_BYTES: usize = 256 << 10;
/// What a frame begins with, and one that holds nothing to decompress, whose first half byte may be any.
const FRAME: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const SKIPPED: [u8; 3] = [0x2A, 0x4D, 0x18];

/// A zstd file's content.
pub(super) struct Unzstd<'a> {
    pub inner: &'a mut dyn Stream,
    /// The number of bytes that it became, in the reading of it that went furthest.
    pub most_read: Rc<Cell<u64>>,
}

impl Stream for Unzstd<'_> {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        let limit = self.inner.limit();
        let most_read = Rc::clone(&self.most_read);
        let (compressed, count) = consumed(self.inner.open()?);
        let compressed = BufReader::with_capacity(SLICE_BYTES, compressed);
        let frames = Frames {
            present: Present::Between(compressed),
        };
        Ok(Box::new(Limited::new(frames, limit, count, most_read)))
    }

    fn num_stored_bytes(&self) -> u64 {
        self.inner.num_stored_bytes()
    }
}

/// Decompresses frames one after the other, and ends as [`super::gzip`] does.
struct Frames<R: Read> {
    present: Present<R>,
}

enum Present<R: Read> {
    Between(R),
    Inside(R, Box<FrameDecoder>),
    Done,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.present, Present::Done) {
                Present::Between(input) => self.present = next(input)?,
                Present::Inside(mut input, mut frame) => {
                    while frame.can_collect() == 0 && !frame.is_finished() {
                        let strategy = BlockDecodingStrategy::UptoBlocks(1);
                        let decoded = frame.decode_blocks(&mut input, strategy);
                        decoded.map_err(|error| failed(&error))?;
                    }
                    let num_bytes = frame.read(buffer)?;
                    self.present = match num_bytes {
                        0 => Present::Between(input),
                        _ => Present::Inside(input, frame),
                    };
                    if num_bytes > 0 {
                        return Ok(num_bytes);
                    }
                }
                Present::Done => return Ok(0),
            }
        }
    }
}

/// The frame after another one.
fn next<R: BufRead>(mut input: R) -> io::Result<Present<R>> {
    let mut mark = [0; 4];
    let len = input.fill_buf()?.len().min(mark.len());
    mark[..len].copy_from_slice(&input.fill_buf()?[..len]);
    if len == 0 {
        return Ok(Present::Done);
    }
    // What a slice ends with may be the begin of a mark.
    let is_begun = FRAME.starts_with(&mark[..len]);
    let is_skipped = mark[0] & 0xF0 == 0x50 && mark[1..len.max(1)] == SKIPPED[..len.max(1) - 1];
    if !is_begun && !is_skipped {
        return Err(OddEnd::Followed.into());
    }
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW_BYTES);
    match decoder.init(&mut input) {
        Ok(()) => Ok(Present::Inside(input, Box::new(decoder))),
        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
            length,
            ..
        })) => {
            let len = u64::from(length);
            match io::copy(&mut (&mut input).take(len), &mut io::sink())? == len {
                true => Ok(Present::Between(input)),
                false => Err(OddEnd::CutOff.into()),
            }
        }
        Err(error) => Err(failed(&error)),
    }
}

/// What stops a stream: its end, where there should be more, or what is wrong with it.
fn failed(error: &FrameDecoderError) -> io::Error {
    if let FrameDecoderError::WindowSizeTooBig { .. } = error {
        let what = "it was compressed with a window of more than 32 MB (zstd --long)".to_owned();
        return io::Error::other(StreamError::Damaged(what));
    }
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        let cause_of_io = cause.downcast_ref::<io::Error>();
        if cause_of_io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return OddEnd::CutOff.into();
        }
        source = cause.source();
    }
    io::Error::other(StreamError::Damaged(error.to_string()))
}
