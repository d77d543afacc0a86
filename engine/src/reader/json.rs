//! JSON to records, row by row. Only brackets and strings are looked at to tell the rows apart, so that a broken one is
//! found out on its own and spoils no other.

mod container;
mod frame;
mod row;
mod structure;

use std::io;

use self::{
    container::Container,
    frame::Kind,
    row::{MAX_ROW_BYTES, RawRow, too_long},
    structure::Structure,
};
use super::{
    error::DatasetError,
    output::Output,
    record::Place,
    source::Stream,
    text_file::TextFile,
    text_stream::{Line, TextStream},
};

/// Whether a text is JSON, by its beginning. `is_named_so` decides where that leaves a doubt.
pub(super) fn is_json(head: &str, is_named_so: bool) -> bool {
    let opens_object = |text: &str| {
        let inside = text.strip_prefix('{').map(str::trim_start);
        inside.is_some_and(|inside| inside.is_empty() || inside.starts_with(['"', '}']))
    };
    let text = head.trim_start();
    let opens_array = text.strip_prefix('[').is_some_and(|inside| {
        let inside = inside.trim_start();
        inside.is_empty() || inside.starts_with(['{', '[', '"', ']']) || has_json_line(text)
    });
    let is_doubtful = text.starts_with(['{', '[']) && is_named_so;
    opens_array || opens_object(text) || is_doubtful || {
        // Rows on lines behind a line of something else, or of rows of another kind.
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

/// Whether the first line is a JSON value.
fn has_json_line(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok()
}

/// Reads a text of JSON.
pub(super) fn read(
    about: &TextFile,
    source: &mut dyn Stream,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let name = about.name.as_str();
    let container = match container::by_head(&about.head, about.is_head_whole) {
        Some(container) => container,
        None => container::by_first_object(name, &mut about.open(source)?)?,
    };
    let mut stream = about.open(source)?;
    let format = match container {
        Container::Lines => "JSONL",
        Container::Values | Container::Array { .. } | Container::Frame(_) => "JSON",
    };
    about.announce(format, output);
    let reading = |error| DatasetError::reading(name, &error);
    match container {
        Container::Lines => read_lines(&mut stream, output).map_err(reading)?,
        Container::Values => read_values(&mut stream, output).map_err(reading)?,
        Container::Array { start, is_whole } => {
            stream.advance_to(start).map_err(reading)?;
            read_elements(name, &mut stream, ARRAY, is_whole, output)?;
        }
        Container::Frame(Kind::Rows) => read_elements(name, &mut stream, OBJECT, true, output)?,
        Container::Frame(Kind::Columns) => read_columns(name, &mut stream, output)?,
    }
    about.finish(&stream, output);
    Ok(())
}

/// A row on every line; empty lines are none.
fn read_lines(stream: &mut TextStream, output: &mut Output) -> io::Result<()> {
    loop {
        let (len, is_last) = match stream.line(MAX_ROW_BYTES + 1)? {
            Line::Whole(len) => (len, false),
            Line::Last(len) => (len, true),
            Line::TooLong => {
                let place = stream.place();
                let (_, what, remedy) = too_long(stream.skip_line()?);
                output.fault(place, what, remedy);
                continue;
            }
        };
        let line = stream.text(len);
        let text = line.trim();
        if !text.is_empty() {
            let start = line.len() - line.trim_start().len();
            RawRow {
                text,
                place: stream.place().further(line, start),
                is_cut_off: is_last,
                broken_at: stream.first_replaced(len).map(|at| at - start),
            }
            .emit(output);
        }
        if is_last {
            return Ok(());
        }
        stream.advance(len + 1);
    }
}

/// Whole values one after the other.
fn read_values(stream: &mut TextStream, output: &mut Output) -> io::Result<()> {
    while stream.skip_space()? {
        if !matches!(stream.window().first(), Some(b'{' | b'[')) {
            return read_lines(stream, output);
        }
        let mut element = Element::begin(stream);
        element.read(stream, true)?;
        element.emit(stream, false, output);
    }
    Ok(())
}

/// The brackets around rows.
type Brackets = (u8, u8);
const ARRAY: Brackets = (b'[', b']');
/// Of an object, in which every row has a name.
const OBJECT: Brackets = (b'{', b'}');

/// The elements of an array or object whose bracket the text begins with. `is_whole`: it is all of the text.
fn read_elements(
    file: &str,
    stream: &mut TextStream,
    (open, close): Brackets,
    is_whole: bool,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let reading = |error| DatasetError::reading(file, &error);
    let wrong = |place: Place, what: String| DatasetError::Json {
        file: file.to_owned(),
        line: place.line.unwrap_or(1),
        column: place.column.unwrap_or(1),
        what,
    };
    // Reads a first window, where there is none yet.
    stream.skip_space().map_err(reading)?;
    stream.advance(1);
    let mut is_first = true;
    loop {
        stream.skip_space().map_err(reading)?;
        if is_first && stream.window().first() == Some(&close) {
            stream.advance(1);
            break;
        }
        is_first = false;
        let mut element = Element::begin(stream);
        let closed_by = element.read(stream, false).map_err(reading)?;
        if let Some(byte) = closed_by.filter(|byte| ![b',', close].contains(byte)) {
            element.pass(stream);
            let [byte, open] = [byte, open].map(char::from);
            let what = format!("a `{byte}` closes what a `{open}` opened");
            return Err(wrong(stream.place(), what));
        }
        element.emit(stream, (open, close) == OBJECT, output);
        if closed_by.is_some() {
            stream.advance(1);
        }
        if closed_by != Some(b',') {
            break;
        }
    }
    if is_whole && stream.skip_space().map_err(reading)? {
        let what = "there is something after the rows".to_owned();
        return Err(wrong(stream.place(), what));
    }
    Ok(())
}

/// An object of columns, which is held as a whole.
fn read_columns(
    file: &str,
    stream: &mut TextStream,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let reading = |error| DatasetError::reading(file, &error);
    stream.skip_space().map_err(reading)?;
    let mut element = Element::begin(stream);
    element.read(stream, true).map_err(reading)?;
    let table = RawRow {
        // What could not be decoded is found in its own row.
        broken_at: None,
        ..element.row(stream, false)
    };
    if element.num_dropped > 0 || table.check_bounds().is_err() {
        return Err(DatasetError::NoArray {
            file: file.to_owned(),
            what: "of columns, too large to be turned into rows".to_owned(),
        });
    }
    frame::emit_columns(&table, output);
    element.pass(stream);
    Ok(())
}

/// A row that may take several lines.
struct Element {
    structure: Structure,
    place: Place,
    /// Bytes of it in the window.
    len: usize,
    /// Bytes before the window, where it is too long to be kept.
    num_dropped: u64,
    is_cut_off: bool,
}

impl Element {
    fn begin(stream: &TextStream) -> Self {
        Self {
            structure: Structure::default(),
            place: stream.place(),
            len: 0,
            num_dropped: 0,
            is_cut_off: false,
        }
    }

    /// Reads to the comma or bracket that ends an element of an array, which is returned and no part of it; or, where
    /// `is_value`, to the bracket that closes its own first one.
    fn read(&mut self, stream: &mut TextStream, is_value: bool) -> io::Result<Option<u8>> {
        let mut depth = 0usize;
        loop {
            while let Some((at, byte)) = self.structure.next(stream.window()) {
                match byte {
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' if depth > 0 => {
                        depth -= 1;
                        if is_value && depth == 0 {
                            self.len = at + 1;
                            return Ok(Some(byte));
                        }
                    }
                    b',' | b']' | b'}' if depth == 0 => {
                        self.len = at;
                        return Ok(Some(byte));
                    }
                    _ => {}
                }
            }
            let len = stream.window().len();
            if len > MAX_ROW_BYTES {
                self.structure.forget(len);
                stream.advance(len);
                self.num_dropped += len as u64;
            }
            if !stream.more()? {
                self.len = stream.window().len();
                self.is_cut_off = true;
                return Ok(None);
            }
        }
    }

    /// Moves behind it.
    fn pass(&self, stream: &mut TextStream) {
        stream.advance(self.len);
    }

    /// Its text in the window. `is_named`: it stands behind a name and a colon.
    fn row<'s>(&self, stream: &'s TextStream, is_named: bool) -> RawRow<'s> {
        let text = stream.text(self.len).trim_end();
        let start = if is_named { start_of_value(text) } else { 0 };
        RawRow {
            text: &text[start..],
            place: self.place.further(text, start),
            is_cut_off: self.is_cut_off,
            broken_at: stream
                .first_replaced(self.len)
                .and_then(|at| at.checked_sub(start)),
        }
    }

    fn emit(&self, stream: &mut TextStream, is_named: bool, output: &mut Output) {
        if self.num_dropped > 0 {
            let (_, what, remedy) = too_long(self.num_dropped + self.len as u64);
            output.fault(self.place, what, remedy);
        } else {
            self.row(stream, is_named).emit(output);
        }
        self.pass(stream);
    }
}

/// Where the value begins in `"name": value`.
fn start_of_value(text: &str) -> usize {
    match Structure::default().next(text.as_bytes()) {
        Some((colon, b':')) => text.len() - text[colon + 1..].trim_start().len(),
        _ => 0,
    }
}
