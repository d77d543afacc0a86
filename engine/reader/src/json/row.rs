//! One row as it was written to a record, or what is wrong with it.

use std::{collections::HashSet, fmt};

use formats::text::{MAX_DEPTH, without_lone_surrogates};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, error::Category};

use super::{
    structure::{Quotes, Structure},
    tally::{Oddity, Tally},
};
use crate::{
    conversation::{has_role, kind},
    output::Output,
    python::{self, Forgiven},
    record::{CUT_OFF, Place, Record},
};

const MAX_ROW_BYTES: usize = 16 << 20;
/// Values in a row. Each takes up to 300 bytes once it is parsed, and 2 bytes before.
const MAX_ROW_VALUES: usize = 100_000;
const RENAME: &str = "Make every row an object with named fields.";

/// One row as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawRow<'text> {
    pub text: &'text str,
    pub place: Place,
    /// Whether the file ends inside it.
    pub is_cut_off: bool,
    /// Byte of it that stands for the first bytes that could not be decoded.
    pub broken_at: Option<usize>,
}

/// Byte of the row at which it is at fault, what it is and what to do.
pub(super) type RowFault = (usize, String, &'static str);

/// The fields of a row.
type Fields = Vec<(String, Value)>;

impl RawRow<'_> {
    /// Hands on the row, or its fault. A comment alone is not a row.
    pub(super) fn emit(&self, tally: &mut Tally, output: &mut Output) {
        if python::is_comment(self.text) {
            return tally.add(Oddity::Comment, self.place);
        }
        match self.fields(tally) {
            Ok(rows) => {
                for fields in rows {
                    output.record(Record {
                        place: self.place,
                        fields,
                        text: Some(self.text),
                    });
                }
            }
            Err((offset, what, remedy)) => {
                output.fault(self.place.further(self.text, offset), what, remedy);
            }
        }
    }

    /// The fields of the row; of several rows, where it is a list of them.
    fn fields(&self, tally: &mut Tally) -> Result<Vec<Fields>, RowFault> {
        let row = match self.row(tally)? {
            Row::Text(text) => match inner(&text) {
                Some((row, forgiven)) => {
                    tally.add(Oddity::Twice, self.place);
                    tally.add_forgiven(forgiven, self.place);
                    row
                }
                None => Row::Text(text),
            },
            row => row,
        };
        let kind = match row {
            Row::Object(fields) => return Ok(vec![fields]),
            Row::List(list) if is_of_messages(&list) => {
                tally.add(Oddity::BareMessages, self.place);
                return Ok(vec![vec![("messages".to_owned(), Value::Array(list))]]);
            }
            Row::List(list) if !list.is_empty() && list.iter().all(Value::is_object) => {
                let fields = |row| match row {
                    Value::Object(fields) => fields.into_iter().collect(),
                    _ => Fields::new(),
                };
                return Ok(list.into_iter().map(fields).collect());
            }
            Row::List(_) => "a list",
            Row::Text(_) => "a string",
            Row::Other(kind) => kind,
        };
        Err((0, format!("the row is {kind}, not an object"), RENAME))
    }

    /// The row as JSON, or as what is read in its place.
    fn row(&self, tally: &mut Tally) -> Result<Row, RowFault> {
        if self.text.is_empty() {
            return Err(self.empty_fault());
        }
        self.check_bounds()?;
        if let Some(offset) = self.broken_at {
            let what = "the row has bytes here that are not valid UTF-8".to_owned();
            return Err((offset, what, "Save the file as UTF-8 and drop it again."));
        }
        let text = without_lone_surrogates(self.text);
        let error = match serde_json::from_str(&text) {
            Ok(row) => return Ok(row),
            Err(error) => error,
        };
        let Some((value, forgiven)) = python::parse(&text) else {
            return Err(self.json_fault(&text, &error));
        };
        tally.add_forgiven(forgiven, self.place);
        Ok(Row::from(value))
    }

    /// The value that stands here, which may be anything.
    pub(super) fn value(&self, tally: &mut Tally) -> Result<Value, RowFault> {
        self.check_bounds()?;
        let text = without_lone_surrogates(self.text);
        match serde_json::from_str(&text) {
            Ok(value) => Ok(value),
            Err(error) => match python::parse(&text) {
                Some((value, forgiven)) => {
                    tally.add_forgiven(forgiven, self.place);
                    Ok(value)
                }
                None => Err(self.json_fault(&text, &error)),
            },
        }
    }

    /// An array's place without an element: two commas, or the end of a file that was cut off after one.
    fn empty_fault(&self) -> RowFault {
        match self.is_cut_off {
            true => (
                0,
                "the file ends where another row should follow".to_owned(),
                CUT_OFF,
            ),
            false => (
                0,
                "there is no row here, only a comma".to_owned(),
                "Remove the comma.",
            ),
        }
    }

    /// Refuses what would take far more memory once it is parsed, or more stack.
    pub(super) fn check_bounds(&self) -> Result<(), RowFault> {
        if self.text.len() > MAX_ROW_BYTES {
            return Err(too_long(self.text.len() as u64, MAX_ROW_BYTES));
        }
        let mut structure = Structure::new(Quotes::of(self.text));
        let (mut depth, mut num_values) = (0usize, 0usize);
        while let Some((offset, byte)) = structure.next(self.text.as_bytes()) {
            match byte {
                b'[' | b'{' => {
                    depth += 1;
                    num_values += 1;
                    if depth > MAX_DEPTH {
                        let what = format!("the row is nested deeper than {MAX_DEPTH} levels");
                        return Err((
                            offset,
                            what,
                            "Flatten the row to the fields the model should learn from.",
                        ));
                    }
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' => num_values += 1,
                _ => {}
            }
            if num_values > MAX_ROW_VALUES {
                let what = format!("the row has more than {MAX_ROW_VALUES} values");
                return Err((offset, what, "Split the row into several."));
            }
        }
        Ok(())
    }

    /// `text` is the row as it was parsed.
    fn json_fault(&self, text: &str, error: &serde_json::Error) -> RowFault {
        let lines = text.split_inclusive('\n');
        let line_start: usize = lines
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let offset = (line_start + error.column().saturating_sub(1)).min(text.len());
        match error.classify() {
            Category::Eof if self.is_cut_off => {
                (offset, "the file ends inside this row".to_owned(), CUT_OFF)
            }
            Category::Eof => (
                offset,
                "the row ends before it is complete".to_owned(),
                "Put the whole object on one line, with line breaks inside texts written as \\n.",
            ),
            _ => {
                let message = error.to_string();
                let reason = message.split(" at line ").next().unwrap_or_default();
                (
                    offset,
                    format!("the row is not valid JSON: {reason}"),
                    "Correct the row at this place.",
                )
            }
        }
    }
}

/// The fault of a row of that many bytes, which is not kept.
pub(super) fn too_long(num_bytes: u64, most: usize) -> RowFault {
    (
        0,
        format!("the row has {num_bytes} bytes, more than the {most} allowed"),
        "Split the row, or put each row on its own line.",
    )
}

/// The row that a string holds, written as JSON or by Python; bounded as any other.
fn inner(text: &str) -> Option<(Row, Forgiven)> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let row = RawRow {
        text,
        place: Place::default(),
        is_cut_off: false,
        broken_at: None,
    };
    row.check_bounds().ok()?;
    match serde_json::from_str(&without_lone_surrogates(text)) {
        Ok(row) => Some((row, Forgiven::default())),
        Err(_) => python::parse(text).map(|(value, forgiven)| (Row::from(value), forgiven)),
    }
}

/// Whether a list is one of messages: of objects that say who speaks.
fn is_of_messages(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(has_role)
}

/// A row's value: an object's fields in their order, a list, a text, or the kind of anything else in words.
enum Row {
    Object(Fields),
    List(Vec<Value>),
    Text(String),
    Other(&'static str),
}

impl From<Value> for Row {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(fields) => Self::Object(fields.into_iter().collect()),
            Value::Array(list) => Self::List(list),
            Value::String(text) => Self::Text(text),
            other => Self::Other(kind(&other)),
        }
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut fields: Fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Row::Object(last_of_each(fields)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Row, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Row::List(items))
    }

    fn visit_unit<E>(self) -> Result<Row, E> {
        Ok(Row::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Row, E> {
        Ok(Row::Other("true or false"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Row, E> {
        Ok(Row::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Row, E> {
        Ok(Row::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Row, E> {
        Ok(Row::Other("a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Row, E> {
        Ok(Row::Text(text.to_owned()))
    }
}

/// If several fields have one name, the last counts, as everywhere.
fn last_of_each(fields: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let mut seen = HashSet::with_capacity(fields.len());
    let mut is_kept: Vec<bool> = fields
        .iter()
        .rev()
        .map(|(name, _)| seen.insert(name.as_str()))
        .collect();
    is_kept.reverse();
    if seen.len() == fields.len() {
        return fields;
    }
    fields
        .into_iter()
        .zip(is_kept)
        .filter_map(|(field, is_kept)| is_kept.then_some(field))
        .collect()
}
