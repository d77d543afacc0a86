//! JSON to records, row by row. Only brackets and strings are looked at to tell the rows apart, so that a broken one is
//! found out on its own and spoils no other.

mod columns;
mod container;
mod element;
mod frame;
mod row;
mod structure;
mod talk;
mod tally;
mod twice;

use std::io;

use self::{
    container::Container,
    element::Element,
    frame::Kind,
    row::{RawRow, too_long},
    structure::Quotes,
    tally::{Oddity, Tally},
};
use super::{
    error::DatasetError,
    output::Output,
    python,
    record::{CUT_OFF, Place},
    source::Stream,
    text_file::TextFile,
    text_stream::{Line, TextStream},
};

/// Whether a text is JSON, or what stands in for it, by its beginning. `is_named_so` decides where that leaves a doubt.
pub(super) fn is_json(head: &str, is_named_so: bool) -> bool {
    let opens_object = |text: &str| {
        let inside = text.strip_prefix('{').map(str::trim_start);
        inside.is_some_and(|inside| inside.is_empty() || inside.starts_with(['"', '}', '\'']))
    };
    let text = head.trim_start();
    let is_commented = text.starts_with("//") || text.starts_with("/*");
    let text = if is_named_so || is_commented {
        &text[python::start_of_value(text)..]
    } else {
        text
    };
    let opens_array = text.strip_prefix('[').is_some_and(|inside| {
        let inside = &inside[python::start_of_value(inside)..];
        inside.is_empty() || inside.starts_with(['{', '[', '"', ']']) || has_json_line(text)
    });
    let opens_string = text.starts_with("\"{\\\"") || text.starts_with("\"[{\\\"");
    let is_doubtful = text.starts_with(['{', '[']) && is_named_so;
    opens_array || opens_object(text) || opens_string || is_doubtful || {
        // Rows on lines after a line of something else, or of rows of another kind.
        let mut lines = text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.is_empty());
        lines
            .by_ref()
            .take(50)
            .skip(1)
            .filter(|line| opens_object(line) && line.len() > 1)
            .count()
            * 2
            > text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .take(50)
                .count()
    }
}

/// Whether the first line is a JSON value, or one that Python prints.
fn has_json_line(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok() || python::parse(line).is_some()
}

/// Reads a text of JSON.
pub(super) fn read(
    about: &TextFile,
    source: &mut dyn Stream,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let name = about.name.as_str();
    let reading = |error| DatasetError::reading(name, &error);
    let head = about.head.as_str();
    let start = python::start_of_value(head);
    if head[start..].starts_with('"') {
        let mut stream = about.open(source)?;
        if let Some(inner) = twice::unpacked(&mut stream).map_err(reading)? {
            return twice::read(about, inner, output);
        }
    }
    let quotes = Quotes::of(head);
    let container = match container::by_head(head, start, about.is_head_whole, quotes) {
        Some(container) => container,
        None => {
            let mut stream = about.open(source)?;
            stream.advance_to(start as u64).map_err(reading)?;
            container::by_first_object(name, &mut stream, quotes)?
        }
    };
    let format = match container {
        Container::Lines => "JSONL",
        _ => "JSON",
    };
    if !matches!(container, Container::Splits { .. }) {
        about.announce(format, output);
    }
    if let Container::Array { others, .. } | Container::Splits { others, .. } = &container
        && let Some(note) = unread(others)
    {
        output.note(name, &note);
    }
    let is_talk = match container {
        Container::Array {
            start,
            is_whole: true,
            ..
        } if talk::may_be_one(&head[start as usize..], quotes) => {
            let mut stream = about.open(source)?;
            stream.advance_to(start).map_err(reading)?;
            talk::is_one(&mut stream, quotes).map_err(reading)?
        }
        _ => false,
    };
    let container = if is_talk {
        Container::Values
    } else {
        container
    };
    let mut stream = about.open(source)?;
    let mut tally = Tally::default();
    // Comments on lines of their own are looked at among the rows.
    if container != Container::Lines {
        stream.advance_to(start as u64).map_err(reading)?;
        if head[..start].trim() != "" {
            tally.add(Oddity::Comment, Place::default());
        }
    }
    let mut rows = Rows {
        file: name,
        stream: &mut stream,
        quotes,
        tally: &mut tally,
        output,
    };
    match container {
        Container::Lines => rows.read_lines().map_err(reading)?,
        Container::Values => rows.read_values().map_err(reading)?,
        Container::Splits { arrays, .. } => {
            for (split, start) in arrays {
                about.announce_part(&split, format, rows.output);
                rows.stream.advance_to(start).map_err(reading)?;
                rows.read_elements(ARRAY, false)?;
            }
        }
        Container::Array {
            start, is_whole, ..
        } => {
            rows.stream.advance_to(start).map_err(reading)?;
            rows.read_elements(ARRAY, is_whole)?;
        }
        Container::Frame(Kind::Rows) => rows.read_elements(OBJECT, true)?,
        Container::Frame(kind) => rows.read_columns(kind)?,
    }
    about.finish(&stream, output);
    tally.tell(name, output);
    Ok(())
}

/// A sentence about arrays that are not read.
fn unread(names: &[String]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    Some(match quoted.as_slice() {
        [] => return None,
        [only] => format!("Its array {only} is not read."),
        [all @ .., last] => format!("Its arrays {} and {last} are not read.", all.join(", ")),
    })
}

/// The brackets around rows.
type Brackets = (u8, u8);
const ARRAY: Brackets = (b'[', b']');
/// The brackets of an object, in which every row has a name.
const OBJECT: Brackets = (b'{', b'}');

/// A text that rows are read from, and where they go.
struct Rows<'r, 's, 'o> {
    file: &'r str,
    stream: &'r mut TextStream<'s>,
    quotes: Quotes,
    tally: &'r mut Tally,
    output: &'r mut Output<'o>,
}

impl Rows<'_, '_, '_> {
    fn failed(&self, error: io::Error) -> DatasetError {
        DatasetError::reading(self.file, &error)
    }

    fn wrong(&self, place: Place, what: String) -> DatasetError {
        DatasetError::Json {
            file: self.file.to_owned(),
            line: place.line.unwrap_or(1),
            column: place.column.unwrap_or(1),
            what,
        }
    }

    /// A row on every line; empty lines and comments are none.
    fn read_lines(&mut self) -> io::Result<()> {
        let mut is_in_comment = false;
        let most = self.stream.row_limit();
        loop {
            let (len, is_last) = match self.stream.line(most + 1)? {
                Line::Whole(len) => (len, false),
                Line::Last(len) => (len, true),
                Line::TooLong => {
                    let place = self.stream.place();
                    let (_, what, remedy) = too_long(self.stream.skip_line()?, most);
                    self.output.fault(place, what, remedy);
                    continue;
                }
            };
            let line = self.stream.text(len);
            let text = line.trim();
            if is_in_comment || text.starts_with("/*") && !text.contains("*/") {
                is_in_comment = !text.contains("*/");
                self.tally.add(Oddity::Comment, self.stream.place());
            } else if !text.is_empty() {
                let start = line.len() - line.trim_start().len();
                RawRow {
                    text,
                    place: self.stream.place().further(line, start),
                    is_cut_off: is_last,
                    broken_at: self.stream.first_replaced(len).map(|at| at - start),
                }
                .emit(self.tally, self.output);
            }
            if is_last {
                return Ok(());
            }
            self.stream.advance(len + 1);
        }
    }

    /// Passes over white space and comments; `false` where nothing else follows.
    fn skip_comments(&mut self) -> io::Result<bool> {
        while self.stream.skip_space()? {
            if !matches!(self.stream.window().first(), Some(b'/' | b'#')) {
                return Ok(true);
            }
            let (Line::Whole(len) | Line::Last(len)) = self.stream.line(self.stream.row_limit())?
            else {
                return Ok(true);
            };
            if !python::is_comment(self.stream.text(len)) {
                return Ok(true);
            }
            self.tally.add(Oddity::Comment, self.stream.place());
            self.stream.advance(len);
        }
        Ok(false)
    }

    /// Whole values one after the other.
    fn read_values(&mut self) -> io::Result<()> {
        while self.skip_comments()? {
            if !matches!(self.stream.window().first(), Some(b'{' | b'[')) {
                return self.read_lines();
            }
            let mut element = self.element();
            element.read(self.stream, true)?;
            self.emit(&element, false);
        }
        Ok(())
    }

    /// The elements of an array or object whose bracket the text begins with. `is_whole`: it is all of the text, but for
    /// further arrays, where files were put one after another.
    fn read_elements(&mut self, brackets: Brackets, is_whole: bool) -> Result<(), DatasetError> {
        loop {
            self.read_bracket(brackets)?;
            if !is_whole || !self.skip_comments().map_err(|error| self.failed(error))? {
                return Ok(());
            }
            if brackets != ARRAY || self.stream.window().first() != Some(&ARRAY.0) {
                let what = "there is something after the rows".to_owned();
                return Err(self.wrong(self.stream.place(), what));
            }
        }
    }

    fn read_bracket(&mut self, (open, close): Brackets) -> Result<(), DatasetError> {
        // Reads a first window, where there is none yet.
        self.stream
            .skip_space()
            .map_err(|error| self.failed(error))?;
        self.stream.advance(1);
        let mut is_first = true;
        loop {
            self.stream
                .skip_space()
                .map_err(|error| self.failed(error))?;
            let mut element = self.element();
            let closed_by = element
                .read(self.stream, false)
                .map_err(|error| self.failed(error))?;
            if let Some(byte) = closed_by.filter(|byte| ![b',', close].contains(byte)) {
                element.pass(self.stream);
                let [byte, open] = [byte, open].map(char::from);
                let what = format!("a `{byte}` closes what a `{open}` opened");
                return Err(self.wrong(self.stream.place(), what));
            }
            let is_bare = closed_by == Some(close) && element.is_bare(self.stream);
            if is_bare && !is_first {
                self.tally.add(Oddity::Comma, element.place);
            }
            if is_bare && element.is_empty(self.stream) {
                element.pass(self.stream);
            } else {
                self.emit(&element, (open, close) == OBJECT);
            }
            is_first = false;
            if closed_by.is_some() {
                self.stream.advance(1);
            }
            if closed_by != Some(b',') {
                return Ok(());
            }
        }
    }

    /// An object of columns, which is held as a whole.
    fn read_columns(&mut self, kind: Kind) -> Result<(), DatasetError> {
        let mut element = Element::begin(
            self.stream,
            self.quotes,
            columns::MAX_BYTES.min(4 * self.stream.row_limit()),
        );
        element
            .read(self.stream, true)
            .map_err(|error| self.failed(error))?;
        let no_array = |what: String| DatasetError::NoArray {
            file: self.file.to_owned(),
            what,
        };
        if element.num_dropped > 0 {
            let what = "of columns, too large to be turned into rows";
            return Err(no_array(what.to_owned()));
        }
        if element.is_cut_off {
            let what = "the file ends inside this table of columns";
            self.output.fault(element.place, what, CUT_OFF);
        } else {
            // What could not be decoded is found in its own row.
            let table = RawRow {
                broken_at: None,
                ..element.row(self.stream, false)
            };
            let emit = match kind {
                Kind::Split => columns::emit_split,
                Kind::Rows | Kind::Columns => columns::emit_columns,
            };
            emit(&table, self.quotes, self.tally, self.output).map_err(no_array)?;
        }
        element.pass(self.stream);
        Ok(())
    }

    /// An element that begins here.
    fn element(&self) -> Element {
        Element::begin(self.stream, self.quotes, self.stream.row_limit())
    }

    fn emit(&mut self, element: &Element, is_named: bool) {
        if element.num_dropped > 0 {
            let (_, what, remedy) = too_long(
                element.num_dropped + element.len as u64,
                self.stream.row_limit(),
            );
            self.output.fault(element.place, what, remedy);
        } else {
            let row = element.row(self.stream, is_named);
            row.emit(self.tally, self.output);
        }
        element.pass(self.stream);
    }
}
