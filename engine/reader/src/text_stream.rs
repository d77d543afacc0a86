//! The text of a stream, one window at a time, with the position at which the window begins.

use std::io;

use memchr::memchr;

use super::{
    decode::Decoder,
    record::{Place, Position},
};

/// A line and its length without the line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Whole(usize),
    /// The text ends without a line break; the length may be 0.
    Last(usize),
    TooLong,
}

/// Text that is read forward. Text before the window is discarded.
pub(super) struct TextStream<'a> {
    decoder: Decoder<'a>,
    buffer: Vec<u8>,
    /// Where the window begins in the buffer.
    start: usize,
    /// The number of bytes before the window.
    offset: u64,
    position: Position,
    /// The most bytes that a row may have.
    row_limit: usize,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(decoder: Decoder<'a>, row_limit: usize) -> Self {
        Self {
            decoder,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            position: Position::default(),
            row_limit,
        }
    }

    /// The window: valid UTF-8, from the current position up to what has been read.
    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The first `len` bytes of the window, which must end at a character boundary.
    pub(super) fn text(&self, len: usize) -> &str {
        str::from_utf8(&self.window()[..len]).unwrap_or_default()
    }

    /// Extends the window; `false` at the end of the text.
    pub(super) fn more(&mut self) -> io::Result<bool> {
        if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let len = self.buffer.len();
        while self.buffer.len() == len {
            if !self.decoder.decode_more(&mut self.buffer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Moves the start of the window forward by `len` bytes.
    pub(super) fn advance(&mut self, len: usize) {
        let passed = &self.buffer[self.start..self.start + len];
        self.position.pass(passed);
        self.start += len;
        self.offset += len as u64;
        self.decoder.forget(self.offset);
    }

    /// Reads until the window contains a whole line or more than `most` bytes.
    pub(super) fn line(&mut self, most: usize) -> io::Result<Line> {
        let mut searched = 0;
        loop {
            if let Some(len) = memchr(b'\n', &self.window()[searched..]) {
                return Ok(Line::Whole(searched + len));
            }
            searched = self.window().len();
            if searched > most {
                return Ok(Line::TooLong);
            }
            if !self.more()? {
                return Ok(Line::Last(searched));
            }
        }
    }

    /// Skips the rest of a line, but not its line break. Returns the number of bytes skipped.
    pub(super) fn skip_line(&mut self) -> io::Result<u64> {
        let mut num_bytes = 0;
        loop {
            let window = self.window();
            let end = memchr(b'\n', window);
            let len = end.unwrap_or(window.len());
            num_bytes += len as u64;
            self.advance(len);
            if end.is_some() || !self.more()? {
                return Ok(num_bytes);
            }
        }
    }

    /// Moves the start of the window to this offset in the text.
    pub(super) fn advance_to(&mut self, offset: u64) -> io::Result<()> {
        while self.offset < offset {
            let len = (offset - self.offset).min(self.window().len() as u64);
            self.advance(len as usize);
            if self.offset < offset && !self.more()? {
                break;
            }
        }
        Ok(())
    }

    /// Skips whitespace; `false` if nothing else follows.
    pub(super) fn skip_space(&mut self) -> io::Result<bool> {
        loop {
            let window = self.window();
            let space = window.iter().position(|byte| !byte.is_ascii_whitespace());
            match space {
                Some(len) => {
                    self.advance(len);
                    return Ok(true);
                }
                None => {
                    let len = window.len();
                    self.advance(len);
                    if !self.more()? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    pub(super) fn row_limit(&self) -> usize {
        self.row_limit
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the window begins.
    pub(super) fn place(&self) -> Place {
        self.position.place()
    }

    /// The position of the first undecodable character in the first `len` bytes of the window.
    pub(super) fn first_replaced(&self, len: usize) -> Option<usize> {
        if self.decoder.num_replaced() == 0 {
            return None;
        }
        let signs = self.text(len).match_indices('\u{fffd}');
        let is_replaced = |at: usize| self.decoder.is_replaced(self.offset + at as u64);
        signs.map(|(at, _)| at).find(|&at| is_replaced(at))
    }

    pub(super) fn decoder(&self) -> &Decoder<'a> {
        &self.decoder
    }
}
