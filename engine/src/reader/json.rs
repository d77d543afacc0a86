//! JSON to records, row by row. Only brackets and strings are looked at to tell the rows apart, so that a broken one is
//! found out on its own and spoils no other.

mod container;
mod row;
mod structure;

use std::io;

use self::{
    container::Container,
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
        Container::Values | Container::Array { .. } => "JSON",
    };
    about.announce(format, output);
    let reading = |error| DatasetError::reading(name, &error);
    match container {
        Container::Lines => read_lines(&mut stream, output).map_err(reading)?,
        Container::Values => read_values(&mut stream, output).map_err(reading)?,
        Container::Array { start, is_whole } => {
            stream.advance_to(start).map_err(reading)?;
            read_array(name, &mut stream, is_whole, output)?;
        }
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
            RawRow {
                text,
                place: stream
                    .place()
                    .further(line, line.len() - line.trim_start().len()),
                is_cut_off: is_last,
                may_be_broken: stream.decoder().num_replaced() > 0,
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
        element.emit(stream, output);
    }
    Ok(())
}

/// The elements of an array whose bracket the text begins with. `is_whole`: the array is all of the text.
fn read_array(
    file: &str,
    stream: &mut TextStream,
    is_whole: bool,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let reading = |error| DatasetError::reading(file, &error);
    let wrong = |place: Place, what: &str| DatasetError::Json {
        file: file.to_owned(),
        line: place.line.unwrap_or(1),
        column: place.column.unwrap_or(1),
        what: what.to_owned(),
    };
    // Reads a first window, where there is none yet.
    stream.skip_space().map_err(reading)?;
    stream.advance(1);
    let mut is_first = true;
    loop {
        stream.skip_space().map_err(reading)?;
        if is_first && stream.window().first() == Some(&b']') {
            stream.advance(1);
            break;
        }
        is_first = false;
        let mut element = Element::begin(stream);
        let closed_by = element.read(stream, false).map_err(reading)?;
        if closed_by == Some(b'}') {
            element.pass(stream);
            return Err(wrong(stream.place(), "a `}` closes what a `[` opened"));
        }
        element.emit(stream, output);
        if closed_by.is_some() {
            stream.advance(1);
        }
        if closed_by != Some(b',') {
            break;
        }
    }
    if is_whole && stream.skip_space().map_err(reading)? {
        return Err(wrong(stream.place(), "something follows the array of rows"));
    }
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

    fn emit(&self, stream: &mut TextStream, output: &mut Output) {
        if self.num_dropped > 0 {
            let (_, what, remedy) = too_long(self.num_dropped + self.len as u64);
            output.fault(self.place, what, remedy);
        } else {
            RawRow {
                text: stream.text(self.len).trim_end(),
                place: self.place,
                is_cut_off: self.is_cut_off,
                may_be_broken: stream.decoder().num_replaced() > 0,
            }
            .emit(output);
        }
        self.pass(stream);
    }
}
