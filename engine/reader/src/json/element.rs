//! An element of an array or object, which may take several lines.

use std::io;

use super::{
    row::RawRow,
    structure::{Quotes, Structure},
};
use crate::{python, record::Place, text_stream::TextStream};

/// A row as far as it was read.
pub(super) struct Element {
    structure: Structure,
    quotes: Quotes,
    pub place: Place,
    /// Bytes of it that are kept.
    most: usize,
    /// Bytes of it in the window.
    pub len: usize,
    /// Bytes before the window, where it is too long to be kept.
    pub num_dropped: u64,
    pub is_cut_off: bool,
}

impl Element {
    /// An element that begins where the stream is, and of which `most` bytes are kept.
    pub(super) fn begin(stream: &TextStream, quotes: Quotes, most: usize) -> Self {
        Self {
            structure: Structure::new(quotes),
            quotes,
            place: stream.place(),
            most,
            len: 0,
            num_dropped: 0,
            is_cut_off: false,
        }
    }

    /// Reads to the comma or bracket that ends an element of an array, which is returned and no part of it; or, where
    /// `is_value`, to the bracket that closes its own first one.
    pub(super) fn read(
        &mut self,
        stream: &mut TextStream,
        is_value: bool,
    ) -> io::Result<Option<u8>> {
        let mut depth = 0usize;
        loop {
            while let Some((at, byte)) = self.structure.next(stream.window()) {
                match byte {
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' if depth > 0 => {
                        depth -= 1;
                        if is_value && depth == 0 {
                            self.len = at + 1;
                            return Ok(Some(byte));
                        }
                    }
                    b',' | b']' | b'}' if depth == 0 => {
                        self.len = at;
                        return Ok(Some(byte));
                    }
                    _ => {}
                }
            }
            let len = stream.window().len();
            if len > self.most {
                self.structure.forget(len);
                stream.advance(len);
                self.num_dropped += len as u64;
            }
            if !stream.more()? {
                self.len = stream.window().len();
                self.is_cut_off = true;
                return Ok(None);
            }
        }
    }

    /// Moves after it.
    pub(super) fn pass(&self, stream: &mut TextStream) {
        stream.advance(self.len);
    }

    /// Its text in the window. `is_named`: it stands after a name and a colon.
    pub(super) fn row<'s>(&self, stream: &'s TextStream, is_named: bool) -> RawRow<'s> {
        let text = stream.text(self.len).trim_end();
        let start = if is_named {
            start_of_value(text, self.quotes)
        } else {
            0
        };
        RawRow {
            text: &text[start..],
            place: self.place.further(text, start),
            is_cut_off: self.is_cut_off,
            broken_at: stream
                .first_replaced(self.len)
                .and_then(|at| at.checked_sub(start)),
        }
    }

    /// Whether no value stands here, but comments at most.
    pub(super) fn is_bare(&self, stream: &TextStream) -> bool {
        self.is_empty(stream) || self.num_dropped == 0 && python::is_comment(stream.text(self.len))
    }

    /// Whether nothing but white space stands here.
    pub(super) fn is_empty(&self, stream: &TextStream) -> bool {
        self.num_dropped == 0 && stream.text(self.len).trim().is_empty()
    }
}

/// Where the value begins in `"name": value`.
fn start_of_value(text: &str, quotes: Quotes) -> usize {
    match Structure::new(quotes).next(text.as_bytes()) {
        Some((colon, b':')) => text.len() - text[colon + 1..].trim_start().len(),
        _ => 0,
    }
}
