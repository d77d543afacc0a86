//! CSV and its kin to records.

mod dialect;

use std::io;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr2;
use serde_json::Value;

pub(super) use self::dialect::{Dialect, dialect};
use super::{
    error::DatasetError,
    output::Output,
    record::{CUT_OFF, Place, Position, Record},
    source::Stream,
    text_file::TextFile,
    text_stream::TextStream,
};

const MAX_ROW_BYTES: usize = 16 << 20;
/// Names and values of a row are kept for each, so that more would take many times the memory of the file.
const MAX_COLUMNS: usize = 4096;
const MAX_NAME_CHARS: usize = 200;
/// Lines of a row with the wrong number of cells from which on a quote is taken for one that was never closed.
const UNCLOSED_LINES: usize = 50;
/// How often the rows after such a quote are read anew: each time may take a whole row's bytes.
const MAX_RETRIES: usize = 20;

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
    let mut first = rows.next().map_err(reading)?;
    let num_columns = first.as_ref().map_or(0, |row| row.num_cells);
    if num_columns > MAX_COLUMNS {
        return Err(DatasetError::Table {
            file: about.name.clone(),
            num_columns,
            most: MAX_COLUMNS,
        });
    }
    about.announce(&dialect.to_string(), output);
    let names = match (&first, dialect.has_header) {
        (Some(_), true) => {
            let cells = rows.cells(num_columns).collect();
            first = None;
            column_names(cells)
        }
        _ => column_names(vec![String::new(); num_columns]),
    };
    let mut row = match first {
        Some(first) => Some(first),
        None => rows.next().map_err(reading)?,
    };
    while let Some(found) = row {
        rows.emit(&found, &names, output);
        row = rows.next().map_err(reading)?;
    }
    about.finish(&rows.stream, output);
    Ok(())
}

/// Distinct names of columns; one without a name is called by its number.
fn column_names(cells: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(cells.len());
    let mut seen = std::collections::HashSet::new();
    for (index, cell) in cells.iter().enumerate() {
        let name: String = cell.trim().chars().take(MAX_NAME_CHARS).collect();
        let name = match name.as_str() {
            "" => format!("column {}", index + 1),
            _ => name,
        };
        let mut unique = name.clone();
        let mut number = 2;
        while !seen.insert(unique.clone()) {
            unique = format!("{name} ({number})");
            number += 1;
        }
        names.push(unique);
    }
    names
}

/// A row that was read; its cells are in [`Rows`].
struct Row {
    place: Place,
    num_cells: usize,
    /// Bytes, where they are too many to be kept.
    too_long: Option<u64>,
    /// Whether a quote swallowed what follows, which is read anew.
    is_unclosed: bool,
    /// Whether the file was cut off inside it.
    is_cut_off: bool,
}

struct Rows<'a> {
    stream: TextStream<'a>,
    reader: Reader,
    is_quoting: bool,
    /// Cells one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Cells that a row should have, once that is known.
    num_columns: Option<usize>,
    num_retries: usize,
}

impl<'a> Rows<'a> {
    fn new(stream: TextStream<'a>, dialect: &Dialect) -> Self {
        Self {
            stream,
            reader: dialect.reader(),
            is_quoting: dialect.is_quoting,
            text: vec![0; 4096],
            ends: vec![0; 64],
            num_columns: None,
            num_retries: 0,
        }
    }

    /// The next row that is not empty.
    fn next(&mut self) -> io::Result<Option<Row>> {
        loop {
            self.skip_line_breaks()?;
            let Some(row) = self.read()? else {
                return Ok(None);
            };
            let is_blank = row.num_cells == 1 && self.cells(1).all(|cell| cell.trim().is_empty());
            if row.too_long.is_some() || !is_blank || self.num_columns == Some(1) {
                self.num_columns.get_or_insert(row.num_cells);
                return Ok(Some(row));
            }
        }
    }

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

    fn read(&mut self) -> io::Result<Option<Row>> {
        let place = self.stream.place();
        let (mut taken, mut written, mut num_cells) = (0, 0, 0);
        let (mut dropped, mut is_end) = (0u64, false);
        loop {
            let window = self.stream.window();
            if taken == window.len() && !is_end {
                is_end = !self.stream.more()?;
                continue;
            }
            if num_cells == self.ends.len() && num_cells <= MAX_COLUMNS {
                let len = (2 * num_cells).min(MAX_COLUMNS + 1);
                self.ends.resize(len, 0);
                continue;
            }
            // Cells beyond the most are counted only.
            let kept_ends = num_cells.min(self.ends.len() - 1);
            let (result, read, wrote, ended) = self.reader.read_record(
                &window[taken..],
                &mut self.text[written..],
                &mut self.ends[kept_ends..],
            );
            taken += read;
            written += wrote;
            num_cells += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputEndsFull => {}
                ReadRecordResult::OutputFull if self.text.len() < MAX_ROW_BYTES => {
                    self.text.resize(2 * self.text.len(), 0);
                }
                ReadRecordResult::OutputFull => {
                    // Nothing of it is kept but its length.
                    if self.can_retry() && has_line_end(&self.stream.window()[..taken]) {
                        return Ok(Some(self.retry(place)));
                    }
                    dropped += taken as u64;
                    self.stream.advance(taken);
                    (taken, written) = (0, 0);
                }
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        if dropped == 0 && self.is_unclosed(taken, written, num_cells, is_end) {
            return Ok(Some(self.retry(place)));
        }
        self.stream.advance(taken);
        Ok(Some(Row {
            place,
            num_cells,
            too_long: (dropped > 0).then_some(dropped + taken as u64),
            is_unclosed: false,
            // Nothing but the end of the text ended it.
            is_cut_off: is_end && self.stream.decoder().is_cut_off(),
        }))
    }

    fn can_retry(&self) -> bool {
        self.is_quoting && self.num_retries < MAX_RETRIES
    }

    /// Whether a row of the window's first `taken` bytes has a quote that takes other rows with it.
    fn is_unclosed(&self, taken: usize, written: usize, num_cells: usize, is_end: bool) -> bool {
        if !self.can_retry() {
            return false;
        }
        let row = self.stream.window()[..taken].trim_ascii_end();
        let is_at_end = is_end && !row.ends_with(b"\"");
        let is_ragged = self.num_columns.is_some_and(|columns| columns != num_cells);
        if !is_at_end && !is_ragged {
            return false;
        }
        let mut behind = Position::default();
        behind.pass(row);
        let start = match num_cells {
            0 | 1 => 0,
            cells => self.ends.get(cells - 2).copied().unwrap_or(0),
        };
        let last = self.text.get(start..written).unwrap_or_default();
        let is_long = behind.line() > UNCLOSED_LINES;
        // A file that was cut off may have lost the other quote.
        let is_to_be_closed = is_long || !self.stream.decoder().is_cut_off();
        let is_open = is_at_end && is_to_be_closed && has_line_end(last.trim_ascii_end());
        is_open || is_ragged && is_long
    }

    /// Passes over the first line of a row alone; the next ones are read as rows.
    fn retry(&mut self, place: Place) -> Row {
        let window = self.stream.window();
        let len = memchr2(b'\r', b'\n', window).map_or(window.len(), |end| end + 1);
        self.stream.advance(len);
        self.reader.reset();
        self.num_retries += 1;
        Row {
            place,
            num_cells: 0,
            too_long: None,
            is_unclosed: true,
            is_cut_off: false,
        }
    }

    fn cells(&self, num_cells: usize) -> impl Iterator<Item = String> {
        let ends = &self.ends[..num_cells.min(self.ends.len())];
        let mut start = 0;
        ends.iter().map(move |&end| {
            let cell = self.text.get(start..end).unwrap_or_default();
            start = end;
            String::from_utf8_lossy(cell).into_owned()
        })
    }

    fn emit(&self, row: &Row, names: &[String], output: &mut Output) {
        if row.is_unclosed {
            let what = "a quote that opens in this row is never closed";
            let remedy = "Close the quote; write a quote inside a text as two quotes.";
            return output.fault(row.place, what, remedy);
        }
        if row.is_cut_off {
            return output.fault(row.place, "the file ends inside this row", CUT_OFF);
        }
        if let Some(num_bytes) = row.too_long {
            let what =
                format!("the row has {num_bytes} bytes, more than the {MAX_ROW_BYTES} allowed");
            return output.fault(row.place, what, "Split the row, or close its quotes.");
        }
        if row.num_cells != names.len() {
            let plural = if row.num_cells == 1 { "" } else { "s" };
            let what = format!(
                "the row has {} cell{plural}, but the table has {} columns",
                row.num_cells,
                names.len()
            );
            let remedy = "Put quotes around texts that contain the delimiter or line breaks.";
            return output.fault(row.place, what, remedy);
        }
        let cells = self.cells(row.num_cells).map(Value::String);
        output.record(Record {
            place: row.place,
            fields: names.iter().cloned().zip(cells).collect(),
            text: None,
        });
    }
}

fn has_line_end(text: &[u8]) -> bool {
    memchr2(b'\r', b'\n', text).is_some()
}
