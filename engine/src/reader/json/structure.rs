//! The brackets, commas and colons of JSON, found without parsing it.

use memchr::memchr2;

/// Finds them one after the other; the text may grow between two calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Structure {
    /// Next byte to look at; beyond the text's end where that is in the middle of an escape.
    offset: usize,
    in_string: bool,
    string_start: usize,
    /// Where the last string stands, its quotes left out.
    last_string: (usize, usize),
}

/// Bytes that mean something outside of strings.
const STRUCTURAL: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"[]{},:\"";
    let mut index = 0;
    while index < bytes.len() {
        table[bytes[index] as usize] = true;
        index += 1;
    }
    table
};

impl Structure {
    /// The next bracket, comma or colon outside of strings, and where it is; `None` where the text ends first.
    pub(super) fn next(&mut self, text: &[u8]) -> Option<(usize, u8)> {
        loop {
            let rest = text.get(self.offset..)?;
            if self.in_string {
                let Some(len) = memchr2(b'"', b'\\', rest) else {
                    self.offset = text.len();
                    return None;
                };
                let at = self.offset + len;
                if text[at] == b'\\' {
                    self.offset = at + 2;
                } else {
                    self.offset = at + 1;
                    self.in_string = false;
                    self.last_string = (self.string_start, at);
                }
                continue;
            }
            let Some(len) = rest.iter().position(|&byte| STRUCTURAL[usize::from(byte)]) else {
                self.offset = text.len();
                return None;
            };
            let at = self.offset + len;
            self.offset = at + 1;
            if text[at] != b'"' {
                return Some((at, text[at]));
            }
            self.in_string = true;
            self.string_start = at + 1;
        }
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

/// Bytes of the bracketed value that a text begins with; `None` where the text ends inside it.
pub(super) fn end_of_value(text: &[u8]) -> Option<usize> {
    let mut structure = Structure::default();
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
