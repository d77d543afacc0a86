//! How rows lie in a JSON text: on lines, in an array, in an object or its array, or one after the other.

use std::io;

use super::{
    frame::{Frame, Kind},
    structure::{Quotes, Structure, end_of_value},
};
use crate::{
    error::DatasetError, record::Place, split_name::side_of_value, text_stream::TextStream,
};

/// How rows lie in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Container {
    Lines,
    /// Whole values, each of which may take several lines.
    Values,
    /// An array whose bracket opens at this offset.
    Array {
        start: u64,
        is_whole: bool,
        /// Names of the other arrays of rows next to it, which are not read.
        others: Vec<String>,
    },
    /// An object with an array of rows for each split.
    Splits {
        /// The name of each, and where its bracket opens.
        arrays: Vec<(String, u64)>,
        others: Vec<String>,
    },
    /// An object whose values are rows, or columns.
    Frame(Kind),
}

/// What a look at the beginning tells, where that is enough. The text begins at `start`, after comments.
pub(super) fn by_head(
    head: &str,
    start: usize,
    is_whole: bool,
    quotes: Quotes,
) -> Option<Container> {
    let rest = &head[start..];
    let first_line = rest.lines().next().unwrap_or_default();
    let is_line_whole = is_whole || first_line.len() < rest.len();
    let len = end_of_value(rest.as_bytes(), quotes).filter(|_| rest.starts_with(['[', '{']));
    let after = |len: usize| rest[len..].trim_start_matches([',', ' ', '\t']);
    let is_followed = len.is_some_and(|len| !after(len).trim().is_empty());
    match rest.as_bytes().first() {
        // The first lines are something else; the rows after them are on lines.
        Some(byte) if !b"[{".contains(byte) => Some(Container::Lines),
        _ if is_followed && len.is_some_and(|len| len <= first_line.len()) && is_line_whole => {
            Some(Container::Lines)
        }
        Some(b'[') => Some(Container::Array {
            start: start as u64,
            is_whole: true,
            others: Vec::new(),
        }),
        _ => None,
    }
}

/// A field at the top of the first object whose value is an array of objects.
struct ArrayField {
    name: String,
    /// Where its bracket opens.
    start: u64,
    /// Whether its first object has a field `role`, `from` or `sender`, as messages have.
    is_of_messages: bool,
}

/// The first object of a text.
#[derive(Default)]
struct FirstObject {
    arrays: Vec<ArrayField>,
    frame: Frame,
    /// Whether it has a field that rows have.
    is_row: bool,
    /// Whether it has a list of messages.
    has_messages: bool,
    /// Whether it ends on the line it begins on; `None` where the text ends inside it.
    is_one_line: Option<bool>,
    /// What comes after it: the first byte, and where.
    after: Option<(u8, Place)>,
    /// First byte of its second line.
    second_line: Option<u8>,
    /// Last byte of its first line.
    first_line_end: Option<u8>,
}

/// Fields of rows that are texts, or lists of messages.
const ROW_FIELDS: [&str; 13] = [
    "prompt",
    "completion",
    "text",
    "instruction",
    "question",
    "chosen",
    "rejected",
    "messages",
    "conversations",
    "conversation",
    "contents",
    "chat_messages",
    "mapping",
];
/// Names of arrays of rows among other arrays, the likeliest first.
const ROWS_NAMES: [&str; 6] = ["data", "rows", "examples", "records", "items", "train"];
/// Names of arrays that describe the rows.
const ABOUT: [&str; 5] = ["features", "fields", "columns", "schema", "licenses"];
/// Arrays that are told apart.
const MAX_ARRAYS: usize = 20;
/// Bytes of a name that are kept.
const MAX_NAME_BYTES: usize = 100;

/// Looks through the whole of the first object, which the text begins with.
pub(super) fn by_first_object(
    file: &str,
    stream: &mut TextStream,
    quotes: Quotes,
) -> Result<Container, DatasetError> {
    let object =
        first_object(stream, quotes).map_err(|error| DatasetError::reading(file, &error))?;
    let holder = |object: FirstObject| {
        holder(object.arrays).map_err(|what| DatasetError::NoArray {
            file: file.to_owned(),
            what,
        })
    };
    let opens_more = matches!(object.first_line_end, Some(b'[' | b'{' | b',' | b':'));
    let is_on_lines = object.second_line == Some(b'{') && !opens_more;
    let frame = object.frame.kind(object.is_row, object.has_messages);
    match (object.is_one_line, object.after) {
        (Some(true), Some(_)) => Ok(Container::Lines),
        (Some(_), None) if let Some(kind) = frame => Ok(Container::Frame(kind)),
        (Some(true), None) if object.is_row => Ok(Container::Lines),
        (Some(false), None) if object.is_row => Ok(Container::Values),
        (Some(_), None) => holder(object),
        // One line is broken, and so takes the next ones with it.
        (Some(false), Some(_)) if is_on_lines => Ok(Container::Lines),
        (Some(false), Some((b'{', _))) => Ok(Container::Values),
        (Some(false), Some((_, place))) => Err(DatasetError::Json {
            file: file.to_owned(),
            line: place.line.unwrap_or(1),
            column: place.column.unwrap_or(1),
            what: "there is something after the first value, which spans several lines".to_owned(),
        }),
        // Cut off: an array loses its last row; of lines the first is broken.
        (None, _) if is_on_lines => Ok(Container::Lines),
        (None, _) if let Some(kind) = frame => Ok(Container::Frame(kind)),
        (None, _) if object.is_row && object.second_line.is_some() => Ok(Container::Values),
        (None, _) if object.is_row || object.arrays.is_empty() => Ok(Container::Lines),
        (None, _) => holder(object),
    }
}

/// Which of an object's arrays hold rows: those named as splits where there are several, or the only or likeliest one.
fn holder(arrays: Vec<ArrayField>) -> Result<Container, String> {
    let is_split = |array: &&ArrayField| side_of_value(&array.name).is_some();
    let others = |is_read: &dyn Fn(&ArrayField) -> bool| {
        let others = arrays
            .iter()
            .filter(|array| !is_read(array) && !ABOUT.contains(&array.name.as_str()));
        others.map(|array| array.name.clone()).collect()
    };
    if arrays.iter().filter(is_split).count() > 1 {
        let splits = arrays.iter().filter(is_split);
        return Ok(Container::Splits {
            arrays: splits
                .map(|array| (array.name.clone(), array.start))
                .collect(),
            others: others(&|array| is_split(&array)),
        });
    }
    let named = |name: &&str| arrays.iter().find(|array| array.name == *name);
    let array = match (arrays.as_slice(), ROWS_NAMES.iter().find_map(named)) {
        ([array], _) | (_, Some(array)) => array,
        ([], _) => return Err("without an array of rows".to_owned()),
        ([first, second, ..], _) => {
            return Err(format!(
                "with several arrays of objects ({:?} and {:?})",
                first.name, second.name
            ));
        }
    };
    Ok(Container::Array {
        start: array.start,
        is_whole: false,
        others: others(&|other| other.start == array.start),
    })
}

fn first_object(stream: &mut TextStream, quotes: Quotes) -> io::Result<FirstObject> {
    let first_line = stream.place().line;
    let mut object = FirstObject::default();
    let mut walk = Walk {
        structure: Structure::new(quotes),
        ..Walk::default()
    };
    let mut lines = FirstLines::default();
    loop {
        let window = stream.window();
        while let Some((at, byte)) = walk.structure.next(window) {
            walk.step(&mut object, stream.offset(), window, at, byte);
            if walk.depth == 0 {
                lines.look(&window[..at + 1], &mut object);
                stream.advance(at + 1);
                object.is_one_line = Some(stream.place().line == first_line);
                if stream.skip_space()? {
                    object.after = stream.window().first().map(|&byte| (byte, stream.place()));
                }
                return Ok(object);
            }
        }
        // What was looked at is done with, but for the name before a colon that is still to come.
        let passed = window.len().saturating_sub(2 * MAX_NAME_BYTES);
        lines.look(&window[..passed], &mut object);
        walk.structure.forget(passed);
        stream.advance(passed);
        if !stream.more()? {
            let rest = stream.window();
            lines.look(rest, &mut object);
            walk.keep(&mut object);
            return Ok(object);
        }
    }
}

/// Watches for the end of the first line and the begin of the second.
#[derive(Default)]
struct FirstLines {
    last: Option<u8>,
    is_second: bool,
}

impl FirstLines {
    fn look(&mut self, text: &[u8], object: &mut FirstObject) {
        if object.second_line.is_some() {
            return;
        }
        for &byte in text {
            match byte {
                b'\n' if !self.is_second => {
                    self.is_second = true;
                    object.first_line_end = self.last;
                }
                byte if byte.is_ascii_whitespace() => {}
                byte if self.is_second => {
                    object.second_line = Some(byte);
                    return;
                }
                byte => self.last = Some(byte),
            }
        }
    }
}

/// The way through an object.
#[derive(Default)]
struct Walk {
    structure: Structure,
    depth: usize,
    /// Name of the field at the top that we are in.
    name: String,
    /// Bracket, comma or colon before the present one.
    before: u8,
    /// The array at the top that we are in the first element of.
    array: Option<ArrayField>,
}

impl Walk {
    fn step(&mut self, object: &mut FirstObject, offset: u64, text: &[u8], at: usize, byte: u8) {
        let name = self.structure.last_string(text);
        object.frame.look(self.depth, self.before, byte, name);
        match byte {
            b'[' | b'{' => {
                self.depth += 1;
                if byte == b'[' && self.depth == 2 && self.before == b':' {
                    self.array = Some(ArrayField {
                        name: self.name.clone(),
                        start: offset + at as u64,
                        is_of_messages: false,
                    });
                } else if self.depth == 3 && !(byte == b'{' && self.before == b'[') {
                    self.array = None;
                }
            }
            b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                // The first element is over.
                if self.depth == 2 && byte == b'}' {
                    self.keep(object);
                } else if self.depth <= 1 {
                    self.array = None;
                }
            }
            b':' if self.depth == 1 => {
                let name = &name[..name.len().min(MAX_NAME_BYTES)];
                self.name = String::from_utf8_lossy(name).into_owned();
                let is_list = matches!(
                    self.name.as_str(),
                    "messages" | "conversations" | "conversation" | "contents" | "chat_messages"
                );
                object.is_row |= ROW_FIELDS.contains(&self.name.as_str()) && !is_list;
            }
            b':' if self.depth == 3 => {
                if let Some(array) = &mut self.array {
                    array.is_of_messages |= [&b"role"[..], b"from", b"sender"].contains(&name);
                }
            }
            b',' if self.depth == 2 => self.array = None,
            _ => {}
        }
        self.before = byte;
    }

    fn keep(&mut self, object: &mut FirstObject) {
        let Some(array) = self.array.take() else {
            return;
        };
        if array.is_of_messages && ROW_FIELDS.contains(&array.name.as_str()) {
            object.is_row = true;
            object.has_messages = true;
        } else if object.arrays.len() < MAX_ARRAYS {
            object.arrays.push(array);
        }
    }
}
