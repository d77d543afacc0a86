//! Bytes to text, slice by slice, whatever the encoding.
//!
//! A byte-order mark decides. Without one a text is taken for ASCII until a byte says otherwise; what follows that byte
//! decides between UTF-8 and the encodings from before Unicode. So a stray byte in a long text of UTF-8 does not change
//! how the rest is read: it becomes U+FFFD, and its place is kept.

use std::io::{self, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use memchr::{memchr_iter, memrchr};

use super::{record::Place, source::read_full, text_stream::num_chars};

/// Bytes that are read at once.
const SLICE_BYTES: usize = 256 << 10;
/// Bytes behind the first one beyond ASCII that decide the encoding.
const EVIDENCE_BYTES: usize = 64 << 10;
/// Bytes before it that a guess sees, too.
const CONTEXT_BYTES: usize = 64;
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
}

/// Decodes a stream.
pub(super) struct Decoder<'a> {
    input: Box<dyn Read + 'a>,
    is_end: bool,
    /// Bytes that were read but not decoded.
    raw: Vec<u8>,
    state: State,
    encoding: &'static Encoding,
    /// What could not be decoded, in characters.
    num_replaced: usize,
    first_replaced: Option<Place>,
    /// Where the decoded text ends, as long as nothing was replaced.
    line: usize,
    column: usize,
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
            raw: Vec::new(),
            state,
            encoding,
            num_replaced: 0,
            first_replaced: None,
            line: 1,
            column: 1,
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
        }
        Ok(true)
    }

    fn read_raw(&mut self) -> io::Result<()> {
        if self.is_end {
            return Ok(());
        }
        let len = self.raw.len();
        self.raw.resize(len + SLICE_BYTES, 0);
        let num_bytes = read_full(&mut self.input, &mut self.raw[len..])?;
        self.raw.truncate(len + num_bytes);
        self.is_end = num_bytes < SLICE_BYTES;
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
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        let context = offset.saturating_sub(CONTEXT_BYTES);
        detector.feed(&self.raw[context..offset + evidence.len()], true);
        self.encoding = detector.guess(None, Utf8Detection::Deny);
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
                        None if self.is_end => rest.len() - error.valid_up_to(),
                        None => 0,
                    },
                ),
            };
            let from = text.len();
            text.extend_from_slice(&rest[..len]);
            self.count(&text[from..]);
            rest = &rest[len + stray..];
            if stray == 0 {
                break;
            }
            self.replace(text);
        }
        // A character that the next slice completes.
        self.raw = rest.to_vec();
    }

    fn decode_other(&mut self, text: &mut Vec<u8>) {
        let raw = std::mem::take(&mut self.raw);
        let mut rest = raw.as_slice();
        loop {
            let State::Other(decoder) = &mut self.state else {
                return;
            };
            let from = text.len();
            let room = decoder.max_utf8_buffer_length_without_replacement(rest.len());
            text.resize(from + room.unwrap_or(4 * rest.len() + 16), 0);
            let (result, num_read, num_written) =
                decoder.decode_to_utf8_without_replacement(rest, &mut text[from..], self.is_end);
            text.truncate(from + num_written);
            self.count(&text[from..]);
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
        self.count(&text[from..]);
    }

    fn replace(&mut self, text: &mut Vec<u8>) {
        text.extend_from_slice("\u{fffd}".as_bytes());
        self.num_replaced += 1;
        self.first_replaced.get_or_insert(Place {
            line: Some(self.line),
            column: Some(self.column),
        });
    }

    fn count(&mut self, decoded: &[u8]) {
        if self.num_replaced > 0 {
            return;
        }
        let from = match memrchr(b'\n', decoded) {
            Some(last) => {
                self.line += memchr_iter(b'\n', decoded).count();
                self.column = 1;
                last + 1
            }
            None => 0,
        };
        self.column += num_chars(&decoded[from..]);
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
