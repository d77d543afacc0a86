//! A table that is written column by column, held as a whole and handed on row by row.

use serde_json::Value;

use super::{
    row::{RawRow, RowFault},
    structure::{Quotes, Structure},
    tally::Tally,
};
use crate::{
    output::Output,
    python,
    record::{Place, Record},
};

/// Bytes of a table that is held: with the places of its values it takes four times as much.
pub(super) const MAX_BYTES: usize = 64 << 20;
const MAX_COLUMNS: usize = 4096;

/// A column in the table's text.
struct Column {
    name: String,
    /// Where each value begins, its key included where it has one.
    starts: Vec<u32>,
    end: u32,
    is_keyed: bool,
}

impl Column {
    fn item<'t>(&self, text: &'t str, row: usize) -> Option<&'t str> {
        let start = *self.starts.get(row)? as usize;
        let end = match self.starts.get(row + 1) {
            // A comma separates them.
            Some(next) => (*next as usize).saturating_sub(1),
            None => self.end as usize,
        };
        text.get(start..end).map(str::trim)
    }

    /// The key and the value of a row.
    fn cell<'t>(&self, text: &'t str, row: usize, quotes: Quotes) -> Option<(&'t str, &'t str)> {
        let item = self.item(text, row)?;
        if !self.is_keyed {
            return Some(("", item));
        }
        match Structure::new(quotes).next(item.as_bytes()) {
            Some((colon, b':')) => Some((item[..colon].trim_end(), item[colon + 1..].trim_start())),
            _ => None,
        }
    }
}

/// Hands on the rows of a table whose columns are lists, or objects that have the rows' names.
pub(super) fn emit_columns(
    table: &RawRow,
    quotes: Quotes,
    tally: &mut Tally,
    output: &mut Output,
) -> Result<(), String> {
    let columns = columns(table.text, quotes)?;
    let num_rows = columns.iter().map(|column| column.starts.len()).max();
    for row in 0..num_rows.unwrap_or(0) {
        let fields = fields(table, quotes, &columns, row, tally);
        emit(table, fields, output);
    }
    Ok(())
}

fn fields(
    table: &RawRow,
    quotes: Quotes,
    columns: &[Column],
    row: usize,
    tally: &mut Tally,
) -> Result<Vec<(String, Value)>, RowFault> {
    let mut row_key = None;
    let mut fields = Vec::with_capacity(columns.len());
    for column in columns {
        let value = match column.cell(table.text, row, quotes) {
            None => Value::Null,
            Some((key, _)) if *row_key.get_or_insert(key) != key => {
                let what = format!(
                    "the column {:?} has its rows in another order than the first column",
                    column.name
                );
                return Err((0, what, "Write the table row by row."));
            }
            Some((_, text)) => part(table, text).value(tally)?,
        };
        fields.push((column.name.clone(), value));
    }
    Ok(fields)
}

/// Hands on the rows of a table that has its names in one list and its rows in another.
pub(super) fn emit_split(
    table: &RawRow,
    quotes: Quotes,
    tally: &mut Tally,
    output: &mut Output,
) -> Result<(), String> {
    let columns = columns(table.text, quotes)?;
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    let (Some(names), Some(data)) = (find("columns"), find("data")) else {
        return Err("without an array of rows".to_owned());
    };
    let name = |index: usize, tally: &mut Tally| {
        let item = names.item(table.text, index).unwrap_or_default();
        match part(table, item).value(tally) {
            Ok(Value::String(name)) => name,
            Ok(other) => other.to_string(),
            Err(_) => format!("column {}", index + 1),
        }
    };
    let num_names = names.starts.len().min(MAX_COLUMNS);
    let names: Vec<String> = (0..num_names).map(|index| name(index, tally)).collect();
    for row in 0..data.starts.len() {
        let item = data.item(table.text, row).unwrap_or_default();
        let fields = match part(table, item).value(tally) {
            Ok(Value::Array(values)) if values.len() == names.len() => {
                Ok(names.iter().cloned().zip(values).collect())
            }
            Ok(_) => {
                let what = format!("the row is not a list of {} values", names.len());
                Err((0, what, "Give every row a value for each column."))
            }
            Err(fault) => Err(fault),
        };
        emit(table, fields, output);
    }
    Ok(())
}

/// A row has no place of its own.
fn emit(table: &RawRow, fields: Result<Vec<(String, Value)>, RowFault>, output: &mut Output) {
    let place = Place {
        column: None,
        ..table.place
    };
    match fields {
        Ok(fields) => output.record(Record {
            place,
            fields,
            text: None,
        }),
        Err((_, what, remedy)) => output.fault(place, what, remedy),
    }
}

fn part<'t>(table: &RawRow, text: &'t str) -> RawRow<'t> {
    RawRow {
        text,
        place: table.place,
        is_cut_off: table.is_cut_off,
        broken_at: None,
    }
}

/// The columns of a table. Their values are counted first, so that their places take no more room than they need.
fn columns(text: &str, quotes: Quotes) -> Result<Vec<Column>, String> {
    let mut lens = Vec::new();
    walk(text, quotes, |event| match event {
        Event::Column(..) => lens.push(1),
        Event::Item(_) => {
            if let Some(len) = lens.last_mut() {
                *len += 1;
            }
        }
        Event::End(_) => {}
    });
    if lens.len() > MAX_COLUMNS {
        return Err(format!("of {} columns, which are too many", lens.len()));
    }
    let mut columns: Vec<Column> = Vec::with_capacity(lens.len());
    walk(text, quotes, |event| match (event, columns.last_mut()) {
        (Event::Column(name, start, is_keyed), _) => {
            let mut starts = Vec::with_capacity(lens[columns.len()]);
            starts.push(start as u32);
            columns.push(Column {
                name,
                starts,
                end: text.len() as u32,
                is_keyed,
            });
        }
        (Event::Item(start), Some(column)) => column.starts.push(start as u32),
        (Event::End(end), Some(column)) => {
            column.end = end as u32;
            let Some(last) = column.starts.len().checked_sub(1) else {
                return;
            };
            // Nothing stands after the last comma, or in the whole list.
            if column.item(text, last).is_some_and(str::is_empty) {
                column.end = column.starts[last].saturating_sub(1);
                column.starts.truncate(last);
            }
        }
        (_, None) => {}
    });
    Ok(columns)
}

enum Event {
    /// A column of that name begins, with its first value here; whether values have keys.
    Column(String, usize, bool),
    /// Its next value begins.
    Item(usize),
    /// It ends.
    End(usize),
}

fn walk(text: &str, quotes: Quotes, mut told: impl FnMut(Event)) {
    let mut structure = Structure::new(quotes);
    let (mut depth, mut before) = (0usize, b' ');
    let mut name = String::new();
    while let Some((at, byte)) = structure.next(text.as_bytes()) {
        match byte {
            b'{' | b'[' => {
                if depth == 1 && before == b':' {
                    told(Event::Column(
                        std::mem::take(&mut name),
                        at + 1,
                        byte == b'{',
                    ));
                }
                depth += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 1 {
                    told(Event::End(at));
                }
            }
            b',' if depth == 2 => told(Event::Item(at + 1)),
            b':' if depth == 1 => name = unescaped(structure.last_string(text.as_bytes())),
            _ => {}
        }
        before = byte;
    }
}

/// A name that is written inside quotes.
fn unescaped(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    match python::parse(&format!("\"{name}\"")) {
        Some((Value::String(name), _)) => name,
        _ => name.into_owned(),
    }
}
