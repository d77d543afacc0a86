//! Texts that somebody put together from UTF-8 and an older encoding: each line is in one of the two.

use encoding_rs::Encoding;
use memchr::memchr2;

use super::{Decoder, guess};
use crate::record::Place;

/// Bytes without a line break that wait for one.
const MAX_WAITING: usize = 1 << 20;

/// The lines that are not UTF-8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OtherLines {
    encoding: &'static Encoding,
    pub count: usize,
    pub first: Option<Place>,
}

impl OtherLines {
    pub fn encoding(&self) -> &'static str {
        self.encoding.name()
    }
}

/// Tells by the bytes from the first one beyond ASCII on whether lines of UTF-8 stand among others.
///
/// Hardly any line of a language's own encoding is UTF-8 by accident where each byte is a letter; where letters have two
/// bytes, as in Chinese, some are.
pub(super) fn other_lines(evidence: &[u8], is_whole: bool) -> Option<OtherLines> {
    let mut others = Vec::new();
    let mut num_utf8 = 0;
    let mut lines: Vec<&[u8]> = evidence
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .collect();
    if !is_whole {
        lines.pop();
    }
    for line in lines.into_iter().filter(|line| !line.is_ascii()) {
        match str::from_utf8(line) {
            Ok(_) => num_utf8 += 1,
            Err(_) => {
                others.extend_from_slice(line);
                others.push(b'\n');
            }
        }
    }
    let encoding = (num_utf8 > 0 && !others.is_empty()).then(|| guess::guess(&others))?;
    encoding.is_single_byte().then_some(OtherLines {
        encoding,
        count: 0,
        first: None,
    })
}

impl Decoder<'_> {
    /// Decodes the whole lines that were read.
    pub(super) fn decode_mixed(&mut self, text: &mut Vec<u8>, mut lines: OtherLines) {
        let mut raw = std::mem::take(&mut self.raw);
        let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let end = match raw.iter().rposition(is_break) {
            _ if self.is_end => raw.len(),
            Some(at) => at + 1,
            None if raw.len() > MAX_WAITING => raw.len(),
            None => 0,
        };
        self.raw = raw.split_off(end);
        let mut rest = raw.as_slice();
        while !rest.is_empty() {
            let num_valid = match str::from_utf8(rest) {
                Ok(_) => rest.len(),
                Err(error) => {
                    let before = rest[..error.valid_up_to()].iter().rposition(is_break);
                    before.map_or(0, |at| at + 1)
                }
            };
            let (valid, others) = rest.split_at(num_valid);
            self.add(text, valid);
            let len = memchr2(b'\n', b'\r', others).map_or(others.len(), |at| at + 1);
            let (line, after) = others.split_at(len);
            if !line.is_empty() {
                lines.count += 1;
                lines.first.get_or_insert(self.position.place());
                let (line, _) = lines.encoding.decode_without_bom_handling(line);
                self.add(text, line.as_bytes());
            }
            rest = after;
        }
        self.state = super::State::Mixed(lines);
    }

    fn add(&mut self, text: &mut Vec<u8>, decoded: &[u8]) {
        let from = text.len();
        text.extend_from_slice(decoded);
        self.accept(text, from);
    }

    /// The lines that are not UTF-8, where some are.
    pub(crate) fn other_lines(&self) -> Option<OtherLines> {
        match self.state {
            super::State::Mixed(lines) if lines.count > 0 => Some(lines),
            _ => None,
        }
    }
}
