//! The brackets, commas and colons of JSON, found without parsing it.

use memchr::{memchr, memchr2};

use crate::python;

/// What strings stand in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Quotes {
    #[default]
    Double,
    /// Single or double ones, as Python prints them.
    Either,
}

impl Quotes {
    /// Tells by the first quote of a text.
    pub(super) fn of(text: &str) -> Self {
        let text = &text[python::start_of_value(text)..];
        match text.find(['"', '\'']) {
            Some(at) if text[at..].starts_with('\'') => Self::Either,
            _ => Self::Double,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    /// A string in quotes of this kind.
    String(u8),
    LineComment,
    BlockComment,
}

/// Finds them one after the other; the text may grow between two calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Structure {
    quotes: Quotes,
    /// Next byte to look at; beyond the text's end where that is in the middle of an escape.
    offset: usize,
    inside: Inside,
    string_start: usize,
    /// Where the last string stands, its quotes left out.
    last_string: (usize, usize),
}

/// Bytes that mean something outside of strings.
const STRUCTURAL: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"[]{},:\"'/#";
    let mut index = 0;
    while index < bytes.len() {
        table[bytes[index] as usize] = true;
        index += 1;
    }
    table
};

impl Structure {
    pub(super) fn new(quotes: Quotes) -> Self {
        Self {
            quotes,
            ..Self::default()
        }
    }

    /// The next bracket, comma or colon outside of strings and comments, and where it is; `None` where the text ends
    /// first.
    pub(super) fn next(&mut self, text: &[u8]) -> Option<(usize, u8)> {
        loop {
            let rest = text.get(self.offset..)?;
            match self.inside {
                Inside::String(quote) => self.pass_string(text, rest, quote)?,
                Inside::LineComment => match memchr2(b'\n', b'\r', rest) {
                    Some(len) => {
                        self.offset += len;
                        self.inside = Inside::Nothing;
                    }
                    None => {
                        self.offset = text.len();
                        return None;
                    }
                },
                Inside::BlockComment => match memchr(b'*', rest) {
                    Some(len) if len + 1 < rest.len() => {
                        self.offset += len + 1;
                        if rest[len + 1] == b'/' {
                            self.offset += 1;
                            self.inside = Inside::Nothing;
                        }
                    }
                    end => {
                        self.offset += end.unwrap_or(rest.len());
                        return None;
                    }
                },
                Inside::Nothing => {
                    let Some(len) = rest.iter().position(|&byte| STRUCTURAL[usize::from(byte)])
                    else {
                        self.offset = text.len();
                        return None;
                    };
                    let at = self.offset + len;
                    self.offset = at + 1;
                    match text[at] {
                        b'\'' if self.quotes == Quotes::Double => {}
                        quote @ (b'"' | b'\'') => {
                            self.inside = Inside::String(quote);
                            self.string_start = at + 1;
                        }
                        b'/' => match text.get(at + 1) {
                            Some(b'/') if may_be_comment(text, at) => {
                                self.inside = Inside::LineComment;
                            }
                            Some(b'*') if may_be_comment(text, at) => {
                                self.offset += 1;
                                self.inside = Inside::BlockComment;
                            }
                            Some(_) => {}
                            None => {
                                self.offset = at;
                                return None;
                            }
                        },
                        b'#' if may_be_comment(text, at) => self.inside = Inside::LineComment,
                        b'#' => {}
                        byte => return Some((at, byte)),
                    }
                }
            }
        }
    }

    /// Moves on to the next escape or the quote that ends a string; `None` where the text ends first.
    fn pass_string(&mut self, text: &[u8], rest: &[u8], quote: u8) -> Option<()> {
        let Some(len) = memchr2(quote, b'\\', rest) else {
            self.offset = text.len();
            return None;
        };
        let at = self.offset + len;
        if text[at] == b'\\' {
            self.offset = at + 2;
        } else {
            self.offset = at + 1;
            self.inside = Inside::Nothing;
            self.last_string = (self.string_start, at);
        }
        Some(())
    }

    /// The first `len` bytes of the text were taken away.
    pub(super) fn forget(&mut self, len: usize) {
        self.offset = self.offset.saturating_sub(len);
        self.string_start = self.string_start.saturating_sub(len);
        let (start, end) = self.last_string;
        self.last_string = (start.saturating_sub(len), end.saturating_sub(len));
    }

    /// The string before the present place, as it is written: a field's name, where the present place is a colon.
    pub(super) fn last_string<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let (start, end) = self.last_string;
        text.get(start..end).unwrap_or_default()
    }
}

/// Whether a comment may begin at `at`: at the start of a line or after something that is complete. In the middle of words
/// it is part of a text whose quotes are broken, which must not take the rest of its line along.
fn may_be_comment(text: &[u8], at: usize) -> bool {
    let before = text[..at].trim_ascii_end();
    if before.len() < at
        && text[before.len()..at]
            .iter()
            .any(|byte| b"\r\n".contains(byte))
    {
        return true;
    }
    let is_word = |word: &&[u8]| before.ends_with(word);
    let words: [&[u8]; 4] = [b"true", b"false", b"null", b"None"];
    match before.last() {
        None => true,
        Some(byte) => {
            b",[{}]\"'/".contains(byte)
                || before.len() < at && (byte.is_ascii_digit() || words.iter().any(is_word))
        }
    }
}

/// Bytes of the bracketed value that a text begins with; `None` where the text ends inside it.
pub(super) fn end_of_value(text: &[u8], quotes: Quotes) -> Option<usize> {
    let mut structure = Structure::new(quotes);
    let mut depth = 0usize;
    while let Some((offset, byte)) = structure.next(text) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}
