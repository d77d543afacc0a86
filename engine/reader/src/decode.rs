//! Bytes to text, slice by slice, whatever the encoding.
//!
//! A byte-order mark decides. Without one a text is taken for ASCII until a byte says otherwise; what follows that byte
//! decides between UTF-8 and the encodings from before Unicode. So a stray byte in a long text of UTF-8 does not change
//! how the rest is read: it becomes U+FFFD, and its place is kept. Where files of both kinds were put together, each line
//! is read as what it is.

mod clean;
mod guess;
mod mixed;

use std::{
    collections::VecDeque,
    io::{self, Read},
    ops::Range,
};

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

pub(super) use self::clean::{Cleaned, Removed};
use self::mixed::OtherLines;
use super::{
    record::{Place, Position},
    source::{OddEnd, read_full, read_to_end},
};

/// Bytes that are read at once.
const SLICE_BYTES: usize = 256 << 10;
/// Bytes after the first one beyond ASCII that decide the encoding.
const EVIDENCE_BYTES: usize = 64 << 10;
/// Bytes before it that a guess sees, too.
const CONTEXT_BYTES: usize = 64;
/// Places of replaced characters that are kept apart.
const MAX_REPLACED: usize = 4096;
/// Characters of UTF-8 to each stray byte that make a text one of UTF-8.
const CHARS_PER_STRAY: usize = 3;

/// The encoding that the first bytes of a text tell, and how many of them are its mark.
pub(super) fn marked(head: &[u8]) -> Option<(&'static Encoding, usize)> {
    match head {
        [0xEF, 0xBB, 0xBF, ..] => Some((UTF_8, 3)),
        [0xFF, 0xFE, ..] => Some((UTF_16LE, 2)),
        [0xFE, 0xFF, ..] => Some((UTF_16BE, 2)),
        _ => unmarked_utf16(head).map(|encoding| (encoding, 0)),
    }
}

/// UTF-16 without a mark: nearly all NULs stand in the high halves of 16-bit units, as in Latin text.
fn unmarked_utf16(head: &[u8]) -> Option<&'static Encoding> {
    let nuls = |parity: usize| {
        let of_half = head.iter().skip(parity).step_by(2);
        of_half.filter(|&&byte| byte == 0).count()
    };
    let (even, odd) = (nuls(0), nuls(1));
    if even.max(odd) <= head.len() / 4 || even.min(odd) > head.len() / 64 {
        return None;
    }
    Some(if even > odd { UTF_16BE } else { UTF_16LE })
}

enum State {
    /// Nothing beyond ASCII yet.
    Ascii,
    Utf8,
    Other(encoding_rs::Decoder),
    /// UTF-8 but for some of its lines.
    Mixed(OtherLines),
}

/// Decodes a stream.
pub(super) struct Decoder<'a> {
    input: Box<dyn Read + 'a>,
    is_end: bool,
    odd_end: Option<OddEnd>,
    /// Bytes that were read but not decoded.
    raw: Vec<u8>,
    state: State,
    encoding: &'static Encoding,
    /// What could not be decoded, in characters.
    num_replaced: usize,
    first_replaced: Option<Place>,
    /// Bytes of text that stand for what could not be decoded, ascending, but for those that were forgotten. Where they
    /// are too many, the last range reaches over what lies between.
    replaced: VecDeque<Range<u64>>,
    /// Bytes of text that were decoded.
    num_decoded: u64,
    /// Where they end.
    position: Position,
    cleaned: Cleaned,
}

impl<'a> Decoder<'a> {
    /// A decoder of a text that begins with `head`, which is read from the input once more.
    pub(super) fn new(mut input: Box<dyn Read + 'a>, head: &[u8]) -> io::Result<Self> {
        let (state, encoding) = match marked(head) {
            Some((encoding, len)) => {
                read_full(&mut input, &mut vec![0; len])?;
                let other = State::Other(encoding.new_decoder_without_bom_handling());
                let is_utf8 = encoding == UTF_8;
                (if is_utf8 { State::Utf8 } else { other }, encoding)
            }
            None => (State::Ascii, UTF_8),
        };
        Ok(Self {
            input,
            is_end: false,
            odd_end: None,
            raw: Vec::new(),
            state,
            encoding,
            num_replaced: 0,
            first_replaced: None,
            replaced: VecDeque::new(),
            num_decoded: 0,
            position: Position::default(),
            cleaned: Cleaned::default(),
        })
    }

    /// The encoding as far as it is known.
    pub(super) fn encoding(&self) -> &'static str {
        self.encoding.name()
    }

    pub(super) fn num_replaced(&self) -> usize {
        self.num_replaced
    }

    /// Place of the first character that could not be decoded.
    pub(super) fn first_replaced(&self) -> Option<Place> {
        self.first_replaced
    }

    /// What was taken out of the text.
    pub(super) fn cleaned(&self) -> &Cleaned {
        &self.cleaned
    }

    /// Whether the byte of text at `offset` stands for something that could not be decoded.
    pub(super) fn is_replaced(&self, offset: u64) -> bool {
        let at = self.replaced.partition_point(|range| range.end <= offset);
        let range = self.replaced.get(at);
        range.is_some_and(|range| range.contains(&offset))
    }

    /// Nobody will ask about the text before `offset` any more.
    pub(super) fn forget(&mut self, offset: u64) {
        while self
            .replaced
            .pop_front_if(|range| range.end <= offset)
            .is_some()
        {}
    }

    /// How the stream ended, where that was not as it should; known once the text was read to its end.
    pub(super) fn odd_end(&self) -> Option<OddEnd> {
        self.odd_end
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.odd_end == Some(OddEnd::CutOff)
    }

    /// Appends the next piece of text, which may be empty; `false` at the end of the stream.
    pub(super) fn decode_more(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        if self.is_end && self.raw.is_empty() {
            return Ok(false);
        }
        self.read_raw()?;
        if let State::Ascii = self.state {
            let len = Encoding::ascii_valid_up_to(&self.raw);
            if len == self.raw.len() {
                self.append(text, len);
                self.raw.clear();
                return Ok(true);
            }
            if self.raw.len() - len < EVIDENCE_BYTES && !self.is_end {
                self.read_raw()?;
            }
            self.decide(len);
        }
        match self.state {
            State::Ascii | State::Utf8 => self.decode_utf8(text),
            State::Other(_) => self.decode_other(text),
            State::Mixed(lines) => self.decode_mixed(text, lines),
        }
        Ok(true)
    }

    fn read_raw(&mut self) -> io::Result<()> {
        if self.is_end {
            return Ok(());
        }
        let len = self.raw.len();
        self.raw.resize(len + SLICE_BYTES, 0);
        let (num_bytes, odd_end) = read_to_end(&mut self.input, &mut self.raw[len..])?;
        self.raw.truncate(len + num_bytes);
        self.is_end = num_bytes < SLICE_BYTES;
        self.odd_end = odd_end;
        Ok(())
    }

    /// Chooses the encoding by the bytes from the first one beyond ASCII on, which is at `offset`.
    fn decide(&mut self, offset: usize) {
        let evidence = &self.raw[offset..];
        let evidence = &evidence[..evidence.len().min(EVIDENCE_BYTES)];
        let (num_chars, num_strays) = count_utf8(evidence);
        if num_strays == 0 || num_chars > CHARS_PER_STRAY * num_strays {
            self.state = State::Utf8;
            return;
        }
        let is_whole = self.is_end && evidence.len() == self.raw.len() - offset;
        if let Some(lines) = mixed::other_lines(evidence, is_whole) {
            self.state = State::Mixed(lines);
            return;
        }
        let context = offset.saturating_sub(CONTEXT_BYTES);
        self.encoding = guess::guess(&self.raw[context..offset + evidence.len()]);
        self.state = State::Other(self.encoding.new_decoder_without_bom_handling());
    }

    fn decode_utf8(&mut self, text: &mut Vec<u8>) {
        let raw = std::mem::take(&mut self.raw);
        let mut rest = raw.as_slice();
        loop {
            let (len, stray) = match str::from_utf8(rest) {
                Ok(_) => (rest.len(), 0),
                Err(error) => (
                    error.valid_up_to(),
                    match error.error_len() {
                        Some(len) => len,
                        None if self.is_end && !self.is_cut_off() => {
                            rest.len() - error.valid_up_to()
                        }
                        None => 0,
                    },
                ),
            };
            let from = text.len();
            text.extend_from_slice(&rest[..len]);
            self.accept(text, from);
            rest = &rest[len + stray..];
            if stray == 0 {
                break;
            }
            self.replace(text);
        }
        // A character that the next slice completes, if there is one.
        if !self.is_end {
            self.raw = rest.to_vec();
        }
    }

    fn decode_other(&mut self, text: &mut Vec<u8>) {
        let raw = std::mem::take(&mut self.raw);
        let mut rest = raw.as_slice();
        let is_last = self.is_end && !self.is_cut_off();
        loop {
            let State::Other(decoder) = &mut self.state else {
                return;
            };
            let from = text.len();
            let room = decoder.max_utf8_buffer_length_without_replacement(rest.len());
            text.resize(from + room.unwrap_or(4 * rest.len() + 16), 0);
            let (result, num_read, num_written) =
                decoder.decode_to_utf8_without_replacement(rest, &mut text[from..], is_last);
            text.truncate(from + num_written);
            self.accept(text, from);
            rest = &rest[num_read..];
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.replace(text),
            }
        }
    }

    /// Appends the first `len` raw bytes, which are ASCII.
    fn append(&mut self, text: &mut Vec<u8>, len: usize) {
        let from = text.len();
        text.extend_from_slice(&self.raw[..len]);
        self.accept(text, from);
    }

    fn replace(&mut self, text: &mut Vec<u8>) {
        let sign = "\u{fffd}".as_bytes();
        let place = self.position.place();
        text.extend_from_slice(sign);
        self.position.pass(sign);
        let start = self.num_decoded;
        self.num_decoded += sign.len() as u64;
        let is_full = self.replaced.len() == MAX_REPLACED;
        match self.replaced.back_mut() {
            Some(last) if last.end == start || is_full => last.end = self.num_decoded,
            _ => self.replaced.push_back(start..self.num_decoded),
        }
        self.num_replaced += 1;
        self.first_replaced.get_or_insert(place);
    }

    /// Takes note of the text that was decoded from the byte `from` on, cleaned.
    fn accept(&mut self, text: &mut Vec<u8>, from: usize) {
        self.cleaned.clean(text, from, self.position);
        let decoded = &text[from..];
        self.num_decoded += decoded.len() as u64;
        self.position.pass(decoded);
    }
}

/// Characters of more than one byte, and bytes that begin none. A character cut off by the end is neither.
fn count_utf8(bytes: &[u8]) -> (usize, usize) {
    let (mut num_chars, mut num_strays) = (0, 0);
    let mut rest = bytes;
    while let Err(error) = str::from_utf8(rest) {
        num_chars += num_beyond_ascii(&rest[..error.valid_up_to()]);
        let Some(len) = error.error_len() else {
            return (num_chars, num_strays);
        };
        num_strays += 1;
        rest = &rest[error.valid_up_to() + len..];
    }
    (num_chars + num_beyond_ascii(rest), num_strays)
}

fn num_beyond_ascii(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte >= 0xC0).count()
}
