//! CSV and its kin to records.

mod dialect;
mod header;
mod splitter;

use std::io;

use serde_json::Value;

use self::splitter::{Cells, MAX_DOUBTFUL_OF_MANY, Split};
pub(super) use self::{
    dialect::{Dialect, dialect},
    header::{Header, column_names},
};
use super::{
    error::DatasetError,
    output::Output,
    record::{CUT_OFF, Place, Record},
    source::Stream,
    text_file::TextFile,
    text_stream::TextStream,
};

/// Bytes that may be looked at in vain before quotes get less attention.
const ALWAYS_IN_VAIN_BYTES: usize = 4 << 20;
/// Names and values of a row are kept for each, so that more would take many times the memory of the file.
pub(super) const MAX_COLUMNS: usize = 4096;

/// Reads a text of rows and columns.
pub(super) fn read(
    about: &TextFile,
    dialect: &Dialect,
    source: &mut dyn Stream,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let reading = |error: io::Error| DatasetError::reading(&about.name, &error);
    let mut rows = Rows::new(about.open(source)?, dialect);
    if dialect.names_delimiter {
        rows.next().map_err(reading)?;
    }
    let mut title = Vec::new();
    for _ in 0..dialect.header.num_titles {
        rows.next().map_err(reading)?;
        title.extend(
            rows.cells()
                .flatten()
                .filter(|cell| !cell.trim().is_empty()),
        );
    }
    let mut first = rows.next().map_err(reading)?;
    let num_columns = rows.cells.count;
    if num_columns > MAX_COLUMNS {
        return Err(DatasetError::Table {
            file: about.name.clone(),
            num_columns,
            most: MAX_COLUMNS,
        });
    }
    about.announce(&dialect.to_string(), output);
    dialect.header.tell(&about.name, &title, output);
    let mut names = match &first {
        Some(_) if dialect.header.is_there => {
            first = None;
            column_names(rows.cells().map(Option::unwrap_or_default).collect())
        }
        _ => column_names(vec![String::new(); num_columns]),
    };
    let header: Vec<String> = names.clone();
    names.truncate(names.len() - dialect.header.num_unnamed.min(names.len()));
    let mut columns = Columns {
        names,
        header: dialect.header.is_there.then_some(header),
        num_columns,
        delimiter: char::from(dialect.splitter.delimiter),
        num_joined: 0,
        first_joined: None,
        num_repeated: 0,
    };
    let mut row = match first {
        Some(first) => Some(first),
        None => rows.next().map_err(reading)?,
    };
    while let Some(found) = row {
        columns.emit(&rows, &found, output);
        row = rows.next().map_err(reading)?;
    }
    columns.tell(&about.name, output);
    about.finish(&rows.stream, output);
    Ok(())
}

/// A row that was read; its cells are in [`Rows`].
struct Row {
    place: Place,
    /// Bytes, where they are too many to be kept.
    too_long: Option<u64>,
    /// Whether a quote opens that nothing closes.
    is_unclosed: bool,
    /// Whether the file was cut off inside it.
    is_cut_off: bool,
}

struct Rows<'a> {
    stream: TextStream<'a>,
    dialect: &'a Dialect,
    cells: Cells,
    /// The bytes of rows, and those that were looked at in vain for a closing quote.
    num_bytes: usize,
    num_vain: usize,
}

impl<'a> Rows<'a> {
    fn new(stream: TextStream<'a>, dialect: &'a Dialect) -> Self {
        Self {
            stream,
            dialect,
            cells: Cells::default(),
            num_bytes: 0,
            num_vain: 0,
        }
    }

    fn cells(&self) -> impl Iterator<Item = Option<String>> {
        self.cells.iter().map(|cell| cell.map(str::to_owned))
    }

    /// The next row that is not empty.
    fn next(&mut self) -> io::Result<Option<Row>> {
        loop {
            self.skip_line_breaks()?;
            if self.stream.window().is_empty() {
                return Ok(None);
            }
            let row = self.read()?;
            let is_null = |cell: Option<&str>| cell.is_some_and(|cell| !cell.trim().is_empty());
            let is_filled = self.cells.iter().any(is_null);
            if row.too_long.is_some() || is_filled {
                return Ok(Some(row));
            }
        }
    }

    /// Passes over line breaks, and reads a window where there is none.
    fn skip_line_breaks(&mut self) -> io::Result<()> {
        loop {
            let window = self.stream.window();
            let len = window
                .iter()
                .take_while(|byte| b"\r\n".contains(byte))
                .count();
            let is_all = len == window.len();
            self.stream.advance(len);
            if !is_all || !self.stream.more()? {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> io::Result<Row> {
        let place = self.stream.place();
        let row_limit = self.stream.row_limit();
        let mut splitter = self.dialect.splitter;
        if self.num_vain > ALWAYS_IN_VAIN_BYTES + self.num_bytes {
            splitter.most_doubtful = MAX_DOUBTFUL_OF_MANY;
        }
        let expected = Some(self.dialect.num_columns).filter(|&count| count > 1);
        let mut is_end = false;
        let split = loop {
            let window = self.stream.window();
            // Beyond this a quote that is still open is taken for one that nothing closes.
            let is_long = window.len() > row_limit;
            match splitter.split(window, is_end || is_long, expected, &mut self.cells) {
                Some(split) => break split,
                None if is_long => break self.first_line(),
                None => is_end = !self.stream.more()?,
            }
        };
        if split.len > row_limit || split.is_at_end && !is_end {
            let num_bytes = self.stream.skip_line()?;
            return Ok(Row {
                place,
                too_long: Some(num_bytes),
                is_unclosed: false,
                is_cut_off: false,
            });
        }
        self.num_bytes += split.len;
        self.num_vain += split.num_vain;
        self.stream.advance(split.len);
        Ok(Row {
            place,
            too_long: None,
            is_unclosed: split.is_unclosed,
            // Nothing but the end of the text ended it.
            is_cut_off: split.is_at_end && self.stream.decoder().is_cut_off(),
        })
    }

    fn first_line(&self) -> Split {
        Split {
            len: self.stream.window().len(),
            is_unclosed: false,
            is_at_end: true,
            num_vain: 0,
        }
    }
}

/// What rows become records by.
struct Columns {
    names: Vec<String>,
    /// The cells of the first row, where those are names.
    header: Option<Vec<String>>,
    /// Cells of the first row, those without a name included.
    num_columns: usize,
    delimiter: char,
    /// Rows whose last text has delimiters in it.
    num_joined: usize,
    first_joined: Option<Place>,
    num_repeated: usize,
}

impl Columns {
    fn emit(&mut self, rows: &Rows, row: &Row, output: &mut Output) {
        if row.is_cut_off {
            return output.fault(row.place, "the file ends inside this row", CUT_OFF);
        }
        if let Some(num_bytes) = row.too_long {
            let what = format!(
                "the row has {num_bytes} bytes, more than the {} allowed",
                rows.stream.row_limit()
            );
            return output.fault(row.place, what, "Split the row, or close its quotes.");
        }
        let mut cells: Vec<Option<String>> = rows.cells().collect();
        let is_filled =
            |cell: &Option<String>| !cell.as_deref().unwrap_or_default().trim().is_empty();
        let num_filled = cells.iter().rposition(is_filled).map_or(0, |last| last + 1);
        let num_names = self.names.len();
        if num_filled > num_names && num_names < self.num_columns {
            // Delimiters of the last text, which nobody quoted.
            let further = cells.drain(num_names - 1..num_filled);
            let parts: Vec<String> = further.map(Option::unwrap_or_default).collect();
            cells.truncate(num_names - 1);
            cells.push(Some(parts.join(&self.delimiter.to_string())));
            self.num_joined += 1;
            self.first_joined.get_or_insert(row.place);
        } else if num_filled <= num_names && rows.cells.count > num_names {
            cells.truncate(num_names);
        }
        if cells.len() != num_names {
            if row.is_unclosed {
                let what = "a quote that opens in this row is never closed";
                let remedy = "Close the quote; write a quote inside a text as two quotes.";
                return output.fault(row.place, what, remedy);
            }
            let count = rows.cells.count;
            let plural = if count == 1 { "" } else { "s" };
            let what =
                format!("the row has {count} cell{plural}, but the table has {num_names} columns");
            let remedy = "Put quotes around texts that contain the delimiter or line breaks.";
            return output.fault(row.place, what, remedy);
        }
        let is_header = |header: &Vec<String>| {
            let cells = cells.iter().map(|cell| cell.as_deref().unwrap_or_default());
            num_names > 1 && cells.eq(header.iter().take(num_names).map(String::as_str))
        };
        if self.header.as_ref().is_some_and(is_header) {
            self.num_repeated += 1;
            return;
        }
        let value = |cell: Option<String>| cell.map_or(Value::Null, Value::String);
        output.record(Record {
            place: row.place,
            fields: self
                .names
                .iter()
                .cloned()
                .zip(cells.into_iter().map(value))
                .collect(),
            text: None,
        });
    }

    /// Tells what was done to rows.
    fn tell(&self, file: &str, output: &mut Output) {
        if let (Some(place), Some(name)) = (self.first_joined, self.names.last()) {
            let line = place.line.unwrap_or(1);
            let rows = match self.num_joined {
                1 => format!("1 row (line {line})"),
                count => format!("{count} rows (the first in line {line})"),
            };
            let note = format!(
                "{rows} had more cells than named columns; the extra ones were joined to the text of {name:?}."
            );
            output.note(file, &note);
        }
        if self.num_repeated > 0 {
            let note = match self.num_repeated {
                1 => "1 row that only repeats the column names was skipped.".to_owned(),
                count => format!("{count} rows that only repeat the column names were skipped."),
            };
            output.note(file, &note);
        }
    }
}
