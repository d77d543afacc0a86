//! Characters that belong to no text: NULs, and byte-order marks where files were put one after another.

use memchr::memchr2;

use crate::record::{Place, Position};

/// U+FEFF in UTF-8.
const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// How many of them were taken out of a text, and where the first was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub count: usize,
    pub first: Option<Place>,
}

impl Removed {
    fn add(&mut self, place: impl FnOnce() -> Place) {
        self.count += 1;
        self.first.get_or_insert_with(place);
    }
}

/// What was taken out of a text so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cleaned {
    pub nuls: Removed,
    pub marks: Removed,
}

impl Cleaned {
    /// Takes them out of `text` from the byte `from` on, which stands at `position`. A mark between two values of JSON
    /// becomes a line break.
    pub(super) fn clean(&mut self, text: &mut Vec<u8>, from: usize, position: Position) {
        let Some(first) = next(&text[from..]) else {
            return;
        };
        let dirty = text.split_off(from + first);
        let mut rest = dirty.as_slice();
        loop {
            let place = || {
                let mut position = position;
                position.pass(&text[from..]);
                position.place()
            };
            if rest.first() == Some(&0) {
                self.nuls.add(place);
                rest = &rest[1..];
            } else {
                self.marks.add(place);
                if matches!(text.last(), Some(b'}' | b']')) {
                    text.push(b'\n');
                }
                rest = &rest[MARK.len()..];
            }
            let len = next(rest);
            text.extend_from_slice(&rest[..len.unwrap_or(rest.len())]);
            match len {
                Some(len) => rest = &rest[len..],
                None => return,
            }
        }
    }
}

/// Where the next one stands.
fn next(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(0, MARK[0], &text[at..])?;
        if text[at] == 0 || text[at..].starts_with(&MARK) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nuls_and_marks_are_taken_out_and_nothing_else() {
        let mut cleaned = Cleaned::default();
        let mut text = "kept \0".as_bytes().to_vec();
        text.extend("a\0\0b\n{}\u{feff}{}\n\u{feff}ｗ\u{fffd}żółw\0".as_bytes());
        cleaned.clean(&mut text, 6, Position::default());
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "kept \0ab\n{}\n{}\nｗ\u{fffd}żółw"
        );
        let place = |line, column| {
            Some(Place {
                line: Some(line),
                column: Some(column),
            })
        };
        assert_eq!((cleaned.nuls.count, cleaned.nuls.first), (3, place(1, 2)));
        assert_eq!((cleaned.marks.count, cleaned.marks.first), (2, place(2, 3)));
    }
}
