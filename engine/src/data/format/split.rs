//! Text to rows as they were written, each with its place. Only brackets and strings are looked at here, so that a
//! broken row is found out on its own and spoils no other.

use super::sniff::Container;
use crate::data::text::{is_char_start, line_and_column};

/// One row as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawRow<'text> {
    pub text: &'text str,
    /// 1-based place of its first character.
    pub line: usize,
    pub column: usize,
    /// Whether the file ends inside it.
    pub is_cut_off: bool,
}

impl RawRow<'_> {
    /// Line and column, 1-based, of the byte at `offset` in the row.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        match line_and_column(self.text, offset) {
            (1, column) => (self.line, self.column + column - 1),
            (line, column) => (self.line + line - 1, column),
        }
    }
}

/// A document whose rows cannot be told apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SplitError {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

/// The rows of a text, one after the other.
pub(super) struct RawRows<'text> {
    text: &'text str,
    container: Container,
    /// Next byte to look at.
    offset: usize,
    /// Line and column of `counted`, both 1-based, counted on from row to row.
    counted: usize,
    line: usize,
    column: usize,
    is_done: bool,
}

impl<'text> RawRows<'text> {
    pub(super) fn new(text: &'text str, container: Container) -> Self {
        let offset = match container {
            Container::Lines => 0,
            Container::Array { start } => start + 1,
        };
        Self {
            text,
            container,
            offset,
            counted: 0,
            line: 1,
            column: 1,
            is_done: false,
        }
    }

    fn row(&mut self, start: usize, end: usize, is_cut_off: bool) -> RawRow<'text> {
        self.count_to(start);
        RawRow {
            text: &self.text[start..end],
            line: self.line,
            column: self.column,
            is_cut_off,
        }
    }

    fn count_to(&mut self, offset: usize) {
        for &byte in &self.text.as_bytes()[self.counted..offset] {
            if byte == b'\n' {
                self.line += 1;
                self.column = 1;
            } else if is_char_start(byte) {
                self.column += 1;
            }
        }
        self.counted = offset;
    }

    fn next_line(&mut self) -> Option<RawRow<'text>> {
        while self.offset < self.text.len() {
            let rest = &self.text[self.offset..];
            let len = rest.find('\n').unwrap_or(rest.len());
            let is_last = self.offset + len == self.text.len();
            let start = self.offset + (rest[..len].len() - rest[..len].trim_start().len());
            let end = start + self.text[start..self.offset + len].trim_end().len();
            self.offset += len + 1;
            if start < end {
                return Some(self.row(start, end, is_last));
            }
        }
        None
    }

    fn next_element(&mut self) -> Option<Result<RawRow<'text>, SplitError>> {
        let rest = &self.text[self.offset..];
        let start = self.offset + (rest.len() - rest.trim_start().len());
        if self.text[start..].starts_with(']') && self.is_first() {
            self.is_done = true;
            return None;
        }
        let (len, closed_by) = element_len(&self.text[start..]);
        let end = start + self.text[start..start + len].trim_end().len();
        self.offset = start + len + 1;
        self.is_done = closed_by != Some(b',');
        if closed_by == Some(b'}') {
            self.count_to(start + len);
            return Some(Err(SplitError {
                line: self.line,
                column: self.column,
                what: "a `}` closes what a `[` opened".to_owned(),
            }));
        }
        Some(Ok(self.row(start, end, closed_by.is_none())))
    }

    /// Whether no row was read yet.
    fn is_first(&self) -> bool {
        self.counted == 0
    }
}

impl<'text> Iterator for RawRows<'text> {
    type Item = Result<RawRow<'text>, SplitError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.container {
            _ if self.is_done => None,
            Container::Lines => self.next_line().map(Ok),
            Container::Array { .. } => self.next_element(),
        }
    }
}

/// Bytes up to the comma or bracket that ends an element of an array, and that byte; `None` where the text ends first.
fn element_len(text: &str) -> (usize, Option<u8>) {
    let mut depth = 0usize;
    for (offset, byte) in structure(text) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b',' if depth > 0 => {}
            b',' | b']' | b'}' => return (offset, Some(byte)),
            _ => {}
        }
    }
    (text.len(), None)
}

/// Bytes of the bracketed value that a text begins with; `None` where the text ends inside it.
pub(super) fn end_of_value(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (offset, byte) in structure(text) {
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

/// A field of an object as it was written.
pub(super) struct Field<'text> {
    /// With its quotes.
    pub key: &'text str,
    /// Where its value begins in the text.
    pub value_start: usize,
}

/// The fields of the object that opens at `start`, as far as the text goes.
pub(super) fn fields(text: &str, start: usize) -> impl Iterator<Item = Field<'_>> {
    let mut depth = 0usize;
    let mut key_start = start + 1;
    let mut found = Vec::new();
    for (offset, byte) in structure(&text[start..]) {
        let offset = start + offset;
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => {
                let value = &text[offset + 1..];
                found.push(Field {
                    key: text[key_start..offset].trim(),
                    value_start: text.len() - value.trim_start().len(),
                });
            }
            b',' if depth == 1 => key_start = offset + 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found.into_iter()
}

/// Brackets, commas and colons outside strings, with their offsets.
fn structure(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut in_string = false;
    let mut escaped = false;
    text.bytes().enumerate().filter(move |&(_, byte)| {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            _ => {}
        }
        !in_string && matches!(byte, b'[' | b']' | b'{' | b'}' | b',' | b':')
    })
}
