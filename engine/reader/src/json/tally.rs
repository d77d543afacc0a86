//! How often rows had what JSON does not allow and were read all the same, for the file's notes.

use crate::{output::Output, python::Forgiven, record::Place};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oddity {
    NotANumber,
    Comma,
    Comment,
    Control,
    Python,
    /// JSON inside a string.
    Twice,
    /// A list of messages that is not a field of an object.
    BareMessages,
}

/// Counts rows by what was odd about them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Vec<(Oddity, usize, Place)>,
}

impl Tally {
    pub(super) fn add(&mut self, oddity: Oddity, place: Place) {
        match self.counts.iter_mut().find(|(known, ..)| *known == oddity) {
            Some((_, count, _)) => *count += 1,
            None => self.counts.push((oddity, 1, place)),
        }
    }

    pub(super) fn add_forgiven(&mut self, forgiven: Forgiven, place: Place) {
        // Python has comments and commas after items as well.
        for (is_so, oddity) in [
            (forgiven.not_a_number, Oddity::NotANumber),
            (forgiven.comma, Oddity::Comma),
            (forgiven.comment, Oddity::Comment),
            (forgiven.control, Oddity::Control),
            (forgiven.python, Oddity::Python),
        ] {
            if is_so {
                self.add(oddity, place);
            }
        }
    }

    /// Tells about the file that was read.
    pub(super) fn tell(&self, file: &str, output: &mut Output) {
        for (oddity, count, place) in &self.counts {
            let line = match (place.line, count) {
                (None, _) => String::new(),
                (Some(line), 1) => format!(" (line {line})"),
                (Some(line), _) => format!(" (the first in line {line})"),
            };
            let rows = match count {
                1 => format!("1 row{line}"),
                count => format!("{count} rows{line}"),
            };
            let places = match count {
                1 => format!("1 place{line}"),
                count => format!("{count} places{line}"),
            };
            let note = match oddity {
                Oddity::NotANumber => format!(
                    "NaN and Infinity, which JSON does not have, were read as missing values in {rows}."
                ),
                Oddity::Comma => format!("Extra commas were ignored in {places}."),
                Oddity::Comment => format!("Comments were ignored in {places}."),
                Oddity::Control => format!(
                    "Unescaped line breaks, tabs or other control characters inside texts were kept in {rows}."
                ),
                Oddity::Python => format!(
                    "Python's notation (single quotes, True, None) was read in place of JSON in {rows}."
                ),
                Oddity::Twice => format!("JSON inside a string was unpacked in {rows}."),
                Oddity::BareMessages => {
                    format!("A bare list of messages was read as the field \"messages\" in {rows}.")
                }
            };
            output.note(file, &note);
        }
    }
}
