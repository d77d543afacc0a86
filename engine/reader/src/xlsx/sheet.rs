//! A worksheet: its rows, and the records they make.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use serde_json::Value;

use super::{
    parts::{Format, Merged, SharedTexts, place},
    xml::{Token, Xml},
};
use crate::{
    error::DatasetError,
    output::Output,
    record::{Place, Record},
    source::Bomb,
    table::{Header, MAX_COLUMNS, column_names},
};

const MAX_ROW_BYTES: usize = 16 << 20;
/// Rows that the names of columns are looked for in, and bytes of them.
const HEAD_ROWS: usize = 50;
const HEAD_BYTES: usize = 1 << 20;
/// What a row counts for in addition to its texts.
const ROW_COST: u64 = 16;

/// A row's number and its filled cells by their columns.
pub(super) struct Row {
    number: usize,
    cells: BTreeMap<usize, String>,
}

/// Rows one after the other.
pub(super) struct Sheet<'w, R> {
    xml: Xml<R>,
    texts: &'w SharedTexts,
    formats: &'w [Format],
    is_1904: bool,
    /// Merged cells that begin further down, and the texts of those that reach into the present row.
    merged: &'w [Merged],
    reaching: Vec<(Merged, String)>,
    last_row: usize,
}

/// A cell that is being read.
#[derive(Default)]
struct Cell {
    column: usize,
    kind: String,
    style: usize,
    text: String,
}

impl<'w, R: Read> Sheet<'w, R> {
    pub(super) fn new(
        input: R,
        texts: &'w SharedTexts,
        formats: &'w [Format],
        is_1904: bool,
        merged: &'w [Merged],
    ) -> Self {
        Self {
            xml: Xml::new(input),
            texts,
            formats,
            is_1904,
            merged,
            reaching: Vec::new(),
            last_row: 0,
        }
    }

    /// The next row that holds anything.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        while let Some(mut row) = self.row()? {
            self.fill(&mut row);
            if !row.cells.is_empty() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn row(&mut self) -> io::Result<Option<Row>> {
        let mut row = None;
        let mut cell = Cell::default();
        let (mut next_column, mut num_bytes) = (0, 0);
        let (mut is_value, mut is_reading_aid) = (false, false);
        while let Some(token) = self.xml.next()? {
            match (token, &mut row) {
                (
                    Token::Start {
                        name: "row",
                        attributes,
                    },
                    _,
                ) => {
                    let number = attributes.get("r").and_then(|number| number.parse().ok());
                    self.last_row = number.unwrap_or(self.last_row.saturating_add(1));
                    row = Some(Row {
                        number: self.last_row,
                        cells: BTreeMap::new(),
                    });
                }
                (Token::End("row"), Some(_)) => return Ok(row),
                (
                    Token::Start {
                        name: "c",
                        attributes,
                    },
                    Some(_),
                ) => {
                    let reference = attributes.get("r").and_then(|cell| place(&cell));
                    cell = Cell {
                        column: reference.map_or(next_column, |(column, _)| column),
                        kind: attributes.get("t").unwrap_or_default(),
                        style: attributes
                            .get("s")
                            .and_then(|style| style.parse().ok())
                            .unwrap_or(0),
                        text: String::new(),
                    };
                    next_column = cell.column.saturating_add(1);
                }
                (
                    Token::Start {
                        name: "v" | "t", ..
                    },
                    _,
                ) => is_value = true,
                (Token::End("v" | "t"), _) => is_value = false,
                (Token::Start { name: "rPh", .. }, _) => is_reading_aid = true,
                (Token::End("rPh"), _) => is_reading_aid = false,
                (Token::Text(text), Some(_)) if is_value && !is_reading_aid => cell.text += text,
                (Token::End("c"), Some(row)) => {
                    let cell = std::mem::take(&mut cell);
                    let column = cell.column;
                    let text = self.shown(cell);
                    // A row that is too long is told by its length.
                    let is_kept = num_bytes <= MAX_ROW_BYTES && row.cells.len() <= MAX_COLUMNS;
                    if !text.trim().is_empty() && is_kept {
                        num_bytes += text.len();
                        row.cells.insert(column, text);
                    }
                }
                (Token::End("sheetData"), _) => return Ok(None),
                _ => {}
            }
        }
        Ok(row)
    }

    /// What a cell shows.
    fn shown(&self, cell: Cell) -> String {
        let text = match cell.kind.as_str() {
            "s" => {
                let index = cell.text.trim().parse().ok();
                let shared = index.and_then(|index| self.texts.get(index));
                shared.unwrap_or_default().to_owned()
            }
            "b" if cell.text.trim() == "1" => "TRUE".to_owned(),
            "b" => "FALSE".to_owned(),
            // As `#N/A`.
            "e" => String::new(),
            "" | "n" => match cell.text.trim().parse::<f64>() {
                Ok(number) => {
                    let format = self.formats.get(cell.style).copied();
                    format.unwrap_or(Format::Number).text(number, self.is_1904)
                }
                Err(_) => cell.text,
            },
            _ => cell.text,
        };
        unescaped(text)
    }

    /// Puts the texts of merged cells into all of their rows.
    fn fill(&mut self, row: &mut Row) {
        self.reaching
            .retain(|((_, _, last), _)| *last >= row.number);
        if !row.cells.is_empty() {
            for ((column, ..), text) in &self.reaching {
                row.cells.entry(*column).or_insert_with(|| text.clone());
            }
        }
        while let Some((merged, rest)) = self.merged.split_first() {
            let (column, first, _) = *merged;
            if first > row.number {
                break;
            }
            if first == row.number
                && let Some(text) = row.cells.get(&column)
            {
                // Merged cells of one column never overlap.
                self.reaching.retain(|((other, ..), _)| *other != column);
                self.reaching.push((*merged, text.clone()));
            }
            self.merged = rest;
        }
    }
}

/// A text whose control characters are written as `_x000D_`.
fn unescaped(text: String) -> String {
    if !text.contains("_x") {
        return text;
    }
    let mut rest = text.as_str();
    let mut unescaped = String::with_capacity(text.len());
    while let Some(at) = rest.find("_x") {
        let code = rest
            .get(at + 2..at + 6)
            .filter(|_| rest[at..].get(6..7) == Some("_"));
        let character = code.and_then(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?));
        unescaped += &rest[..at];
        match character {
            Some('\r') => rest = &rest[at + 7..],
            Some(character) => {
                unescaped.push(character);
                rest = &rest[at + 7..];
            }
            None => {
                unescaped += "_x";
                rest = &rest[at + 2..];
            }
        }
    }
    unescaped + rest
}

/// Makes records of rows, once the first of them told what the columns are called.
pub(super) struct Table<'w> {
    file: &'w str,
    sheet: &'w str,
    head: Vec<Row>,
    head_bytes: usize,
    names: Option<Vec<String>>,
    first_column: usize,
    /// Bytes that rows may still become.
    bytes_left: u64,
    limit: u64,
    pub has_rows: bool,
}

impl<'w> Table<'w> {
    pub(super) fn new(file: &'w str, sheet: &'w str, limit: u64) -> Self {
        Self {
            file,
            sheet,
            head: Vec::new(),
            head_bytes: 0,
            names: None,
            first_column: 0,
            bytes_left: limit,
            limit,
            has_rows: false,
        }
    }

    pub(super) fn row(&mut self, row: Row, output: &mut Output) -> Result<(), DatasetError> {
        let num_columns = row.cells.last_key_value().map_or(0, |(last, _)| last + 1);
        if num_columns > MAX_COLUMNS {
            return Err(DatasetError::Table {
                file: self.file.to_owned(),
                num_columns,
                most: MAX_COLUMNS,
            });
        }
        if self.names.is_some() {
            return self.emit(row, output);
        }
        self.head_bytes += row.cells.values().map(String::len).sum::<usize>();
        self.head.push(row);
        match self.head.len() < HEAD_ROWS && self.head_bytes < HEAD_BYTES {
            true => Ok(()),
            false => self.begin(output),
        }
    }

    /// Hands on the rows that are still held.
    pub(super) fn finish(&mut self, output: &mut Output) -> Result<(), DatasetError> {
        match self.names {
            None if !self.head.is_empty() => self.begin(output),
            _ => Ok(()),
        }
    }

    /// Tells the names of columns by the first rows.
    fn begin(&mut self, output: &mut Output) -> Result<(), DatasetError> {
        let head = std::mem::take(&mut self.head);
        let columns = head.iter().flat_map(|row| row.cells.keys().copied());
        let (first, last) = columns.fold((usize::MAX, 0), |(first, last), column| {
            (first.min(column), last.max(column))
        });
        self.first_column = first;
        let cells = |row: &Row| -> Vec<String> {
            let cell = |column| row.cells.get(&column).cloned().unwrap_or_default();
            (first..=last).map(cell).collect()
        };
        let rows: Vec<Vec<String>> = head.iter().map(cells).collect();
        let header = Header::of(&rows, last + 1 - first);
        output.file(self.file, &format!("Excel, sheet {:?}", self.sheet), "");
        let titles = rows[..header.num_titles].concat();
        let titles: Vec<String> = titles
            .into_iter()
            .filter(|title| !title.is_empty())
            .collect();
        header.tell(self.file, &titles, output);
        let num_passed = header.num_titles + usize::from(header.is_there);
        let names = match rows.get(header.num_titles) {
            Some(names) if header.is_there => names[..names.len() - header.num_unnamed].to_vec(),
            _ => vec![String::new(); last + 1 - first],
        };
        self.names = Some(column_names(names));
        self.has_rows = true;
        for row in head.into_iter().skip(num_passed) {
            self.emit(row, output)?;
        }
        Ok(())
    }

    fn emit(&mut self, mut row: Row, output: &mut Output) -> Result<(), DatasetError> {
        let num_bytes: usize = row.cells.values().map(String::len).sum();
        let cost = ROW_COST + num_bytes as u64;
        let left = self.bytes_left.checked_sub(cost);
        self.bytes_left = left.ok_or_else(|| DatasetError::Bomb {
            file: self.file.to_owned(),
            bomb: Bomb::Rows(self.limit),
        })?;
        let place = Place {
            line: Some(row.number),
            column: None,
        };
        if num_bytes > MAX_ROW_BYTES {
            let what =
                format!("the row has {num_bytes} bytes, more than the {MAX_ROW_BYTES} allowed");
            output.fault(place, what, "Split the row.");
            return Ok(());
        }
        let mut fields = Vec::new();
        for (index, name) in self.names.iter().flatten().enumerate() {
            let cell = row.cells.remove(&(self.first_column + index));
            fields.push((name.clone(), Value::String(cell.unwrap_or_default())));
        }
        // What stands to the right of the names.
        for (column, cell) in row.cells {
            fields.push((format!("column {}", column + 1), Value::String(cell)));
        }
        output.record(Record {
            place,
            fields,
            text: None,
        });
        Ok(())
    }
}
