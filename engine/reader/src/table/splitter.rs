//! Rows of a table to cells, quote by quote.
//!
//! A quote that begins a cell opens a quoted one only where another quote closes it: one with a delimiter, a line's end or the
//! text's end after it. Where that takes line breaks along, and the line by itself has as many cells as a row should have, the
//! quote may as well be part of a text, and then is kept: if quotes inside are not doubled, as whoever quotes a cell writes them.

use std::cell::OnceCell;

use memchr::{memchr2, memchr3};

/// Cells that are kept of a row; further ones are only counted.
pub(super) const MAX_CELLS: usize = 4097;

/// Bytes in which a quote must be closed once another one inside is not doubled; fewer where a file has quotes of which hardly any is.
pub(super) const MAX_DOUBTFUL: usize = 64 << 10;
pub(super) const MAX_DOUBTFUL_OF_MANY: usize = 1 << 10;

/// How rows are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Splitter {
    pub delimiter: u8,
    pub is_quoting: bool,
    /// Whether a backslash escapes what follows it, as databases write texts.
    pub is_escaping: bool,
    /// [`MAX_DOUBTFUL`], or less.
    pub most_doubtful: usize,
}

/// The cells of a row, one after the other, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Cells {
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Cells of a database that hold nothing at all (`\N`).
    nulls: Vec<usize>,
    pub count: usize,
    /// Cells whose quotes were taken off.
    pub num_quoted: usize,
}

impl Cells {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.nulls.clear();
        (self.count, self.num_quoted) = (0, 0);
    }

    fn end_cell(&mut self) {
        self.count += 1;
        if self.ends.len() < MAX_CELLS {
            self.ends.push(self.text.len());
        }
    }

    /// The cells that are kept; `None` for one that holds nothing at all.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        let mut start = 0;
        self.ends.iter().enumerate().map(move |(index, &end)| {
            let cell = self.text.get(start..end).unwrap_or_default();
            start = end;
            let is_null = self.nulls.binary_search(&index).is_ok();
            (!is_null).then(|| str::from_utf8(cell).unwrap_or_default())
        })
    }
}

/// A row that was split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Bytes of it, the line's end included.
    pub len: usize,
    /// Whether a quote opens that nothing closes, so that its line alone was taken.
    pub is_unclosed: bool,
    /// Whether it ends because the text does.
    pub is_at_end: bool,
    /// The number of bytes that were looked at in vain for a quote that closes a cell.
    pub num_vain: usize,
}

/// What stands in a quoted cell.
struct Quoted {
    /// The place after its closing quote and the spaces there.
    end: usize,
    has_line_end: bool,
    /// Whether a quote inside is not doubled.
    has_bare_quote: bool,
}

enum Close {
    At(Quoted),
    /// The text ends first.
    Missing,
    /// It is not a quoted cell.
    Refused,
    /// Nor is this one, which took a look at so many bytes to tell.
    Doubtful(usize),
}

/// What was seen of the quotes of a row.
#[derive(Debug, Default)]
struct Seen {
    /// Whether a quoted cell has line breaks, and whether such a cell has a quote that is not doubled.
    has_line_end: bool,
    has_bare_quote: bool,
    /// Whether nothing closes a quote.
    is_missing: bool,
    /// The number of bytes that were looked at in vain.
    num_vain: usize,
}

impl Splitter {
    /// Whether a cell of a text is `\N`, which databases write for nothing.
    pub(super) fn has_null(&self, text: &[u8]) -> bool {
        memchr::memmem::find_iter(text, br"\N").any(|at| {
            let is_edge = |byte: Option<&u8>| {
                byte.is_none_or(|&byte| byte == self.delimiter || b"\r\n".contains(&byte))
            };
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            is_edge(before) && is_edge(text.get(at + 2))
        })
    }

    /// Splits the row that a text begins with; `None` where the text must be longer to tell, and is not at its end.
    /// `expected`: cells that a row should have.
    pub(super) fn split(
        &self,
        text: &[u8],
        is_end: bool,
        expected: Option<usize>,
        cells: &mut Cells,
    ) -> Option<Split> {
        let line = Line { text, is_end };
        let alone = OnceCell::new();
        let fits_alone = || {
            let count = *alone.get_or_init(|| self.count_alone(line));
            expected.is_some() && count == expected
        };
        let mut seen = Seen::default();
        let whole = self.row(line, cells, Some(&fits_alone), &mut seen);
        if seen.is_missing && !is_end {
            return None;
        }
        let is_alone = seen.is_missing
            || seen.has_line_end && {
                let split = whole?;
                let fits = expected == Some(cells.count);
                fits_alone() && (seen.has_bare_quote || !fits)
                    || self.delimiter == b'\t' && self.are_rows(&text[..split.len], expected)
            };
        if !is_alone {
            return whole;
        }
        let split = self.row(line.first()?, cells, None, &mut Seen::default())?;
        Some(Split {
            is_at_end: split.len == text.len() && !has_line_end(text),
            is_unclosed: seen.is_missing && expected.is_some_and(|count| count != cells.count),
            num_vain: seen.num_vain,
            ..split
        })
    }

    /// Cells of the line by itself.
    fn count_alone(&self, line: Line) -> Option<usize> {
        let mut cells = Cells::default();
        self.row(line.first()?, &mut cells, None, &mut Seen::default())?;
        Some(cells.count)
    }

    /// Whether each of several lines by itself is a row of that many cells.
    fn are_rows(&self, text: &[u8], expected: Option<usize>) -> bool {
        let mut rest = text;
        while !rest.is_empty() {
            let line = Line {
                text: rest,
                is_end: true,
            };
            if expected.is_none() || self.count_alone(line) != expected {
                return false;
            }
            rest = &rest[line.first().map_or(rest.len(), |first| first.text.len())..];
        }
        true
    }

    /// Splits a row. `fits_alone`: whether its first line by itself has as many cells as it should, where it is not all
    /// there is.
    fn row(
        &self,
        line: Line,
        cells: &mut Cells,
        fits_alone: Option<&dyn Fn() -> bool>,
        seen: &mut Seen,
    ) -> Option<Split> {
        cells.clear();
        let Line { text, is_end } = line;
        let mut at = 0;
        loop {
            let opened = at + self.num_spaces(&text[at..]);
            let close = match text.get(opened) {
                Some(b'"') if self.is_quoting => self.close(line, opened + 1, fits_alone),
                _ => Close::Refused,
            };
            match close {
                Close::At(quoted) => {
                    self.unquote(&text[opened + 1..quoted.end], &mut cells.text);
                    cells.num_quoted += 1;
                    at = quoted.end;
                    seen.has_line_end |= quoted.has_line_end;
                    seen.has_bare_quote |= quoted.has_line_end && quoted.has_bare_quote;
                }
                close => {
                    seen.is_missing |= matches!(close, Close::Missing);
                    if let Close::Doubtful(num_bytes) = close {
                        seen.num_vain += num_bytes;
                    }
                    at = self.bare(text, at, cells);
                }
            }
            cells.end_cell();
            let is_at_end = at == text.len();
            let len = match text.get(at) {
                Some(&byte) if byte == self.delimiter => {
                    at += 1;
                    continue;
                }
                Some(b'\r') if text.get(at + 1) == Some(&b'\n') => at + 2,
                Some(_) => at + 1,
                None if is_end => at,
                None => return None,
            };
            return Some(Split {
                len,
                is_unclosed: false,
                is_at_end,
                num_vain: seen.num_vain,
            });
        }
    }

    /// Spaces between a delimiter and a quote, which some put there.
    fn num_spaces(&self, text: &[u8]) -> usize {
        text.iter().take_while(|byte| **byte == b' ').count()
    }

    /// Looks for the quote that closes a cell whose text begins at `start`.
    fn close(&self, line: Line, start: usize, fits_alone: Option<&dyn Fn() -> bool>) -> Close {
        let Line { text, is_end } = line;
        let mut at = start;
        let mut quoted = Quoted {
            end: 0,
            has_line_end: false,
            has_bare_quote: false,
        };
        loop {
            let Some(len) = memchr2(b'"', b'\\', &text[at..]) else {
                return Close::Missing;
            };
            let found = at + len;
            quoted.has_line_end |= has_line_end(&text[at..found]);
            let is_doubtful = quoted.has_line_end && quoted.has_bare_quote;
            if is_doubtful
                && (found - start > self.most_doubtful || fits_alone.is_some_and(|fits| fits()))
            {
                return Close::Doubtful(found - start);
            }
            if text[found] == b'\\' {
                at = (found + 1 + usize::from(self.is_escaping)).min(text.len());
                continue;
            }
            if text.get(found + 1) == Some(&b'"') {
                at = found + 2;
                continue;
            }
            let end = found + 1 + self.num_spaces(&text[found + 1..]);
            match text.get(end) {
                Some(&byte) if byte == self.delimiter || byte == b'\r' || byte == b'\n' => {
                    quoted.end = end;
                    return Close::At(quoted);
                }
                None if is_end => {
                    quoted.end = end;
                    return Close::At(quoted);
                }
                None => return Close::Missing,
                Some(_) => {
                    quoted.has_bare_quote = true;
                    at = found + 1;
                }
            }
        }
    }

    /// What stands in quotes, `written` with the closing one and spaces after it.
    fn unquote(&self, written: &[u8], text: &mut Vec<u8>) {
        let end = written.iter().rposition(|&byte| byte == b'"').unwrap_or(0);
        let mut rest = &written[..end];
        while let Some(at) = memchr2(b'"', b'\\', rest) {
            text.extend_from_slice(&rest[..at]);
            let after = &rest[at + 1..];
            match (rest[at], after.first()) {
                (b'"', Some(b'"')) => {
                    text.push(b'"');
                    rest = &after[1..];
                }
                (b'\\', Some(&escaped)) if self.is_escaping => {
                    text.push(unescaped(escaped));
                    rest = &after[1..];
                }
                (byte, _) => {
                    text.push(byte);
                    rest = after;
                }
            }
        }
        text.extend_from_slice(rest);
    }

    /// A cell without quotes around it; returns where it ends.
    fn bare(&self, text: &[u8], start: usize, cells: &mut Cells) -> usize {
        let begin = cells.text.len();
        let mut at = start;
        loop {
            let rest = &text[at..];
            let end = memchr3(self.delimiter, b'\n', b'\r', rest).unwrap_or(rest.len());
            let escape = match self.is_escaping {
                true => memchr::memchr(b'\\', &rest[..end]),
                false => None,
            };
            let len = escape.unwrap_or(end);
            cells.text.extend_from_slice(&rest[..len]);
            at += len;
            match (escape, text.get(at + 1)) {
                (Some(_), Some(b'N')) if cells.text.len() == begin && at == start => {
                    // Nothing else may stand in the cell.
                    let after = text.get(at + 2);
                    let is_all = after.is_none_or(|byte| {
                        *byte == self.delimiter || *byte == b'\n' || *byte == b'\r'
                    });
                    if is_all {
                        cells.nulls.push(cells.ends.len());
                        return at + 2;
                    }
                    cells.text.push(b'N');
                    at += 2;
                }
                (Some(_), Some(&escaped)) => {
                    cells.text.push(unescaped(escaped));
                    at += 2;
                }
                (Some(_), None) => {
                    cells.text.push(b'\\');
                    at += 1;
                }
                (None, _) => return at,
            }
        }
    }
}

/// A row's begin, and whether all of the text is there.
#[derive(Clone, Copy)]
struct Line<'t> {
    text: &'t [u8],
    is_end: bool,
}

impl Line<'_> {
    /// The first line by itself, if it is there as a whole.
    fn first(self) -> Option<Self> {
        let Some(end) = memchr2(b'\r', b'\n', self.text) else {
            return self.is_end.then_some(self);
        };
        let is_double = self.text[end..].starts_with(b"\r\n");
        Some(Self {
            text: &self.text[..end + 1 + usize::from(is_double)],
            is_end: true,
        })
    }
}

fn has_line_end(text: &[u8]) -> bool {
    memchr2(b'\r', b'\n', text).is_some()
}

/// What an escaped byte stands for, in the exports of MySQL and PostgreSQL.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        byte => byte,
    }
}
