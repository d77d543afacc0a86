//! Lists and objects as programs print them rather than as JSON has them: Python's `repr`, NumPy's arrays, and JSON with
//! `NaN`, comments or trailing commas.
//!
//! Our own parser, since it must not take more memory than its text allows: 64 levels and [`MAX_VALUES`] values, as for JSON.
//! It reads values and runs nothing: of a call such as `array([..], dtype=object)` it takes the first argument.

mod call;
mod string;

use formats::text::{MAX_DEPTH, parse_json};
use serde_json::{Map, Number, Value};

/// Values in one text, as in a row of JSON.
const MAX_VALUES: usize = 100_000;

/// What a text has that JSON does not allow and that was read all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forgiven {
    /// `NaN`, `Infinity` or `-Infinity`, which are read as null.
    pub not_a_number: bool,
    /// A comma after the last item.
    pub comma: bool,
    pub comment: bool,
    /// A line break, tab or other control character inside a string.
    pub control: bool,
    /// Single quotes, `True`, `None`, tuples, calls, items without commas.
    pub python: bool,
}

/// The value that a table's cell holds as text: JSON, or a list or object as Python prints it.
///
/// # Errors
/// What JSON says of the text, where it is neither.
pub fn parse_cell(text: &str) -> Result<Value, serde_json::Error> {
    parse_json(text).or_else(|error| match parse(text) {
        Some((value, _)) => Ok(value),
        None => Err(error),
    })
}

/// Reads the one value that a text holds; `None` where it holds anything else.
pub(super) fn parse(text: &str) -> Option<(Value, Forgiven)> {
    let mut parser = Parser {
        text,
        at: 0,
        num_values: 0,
        forgiven: Forgiven::default(),
    };
    let value = parser.value(0, Adjacent::Apart)?;
    parser.skip_space();
    // What was cut out of an array.
    if parser.take(b',') {
        parser.forgiven.comma = true;
        parser.skip_space();
    }
    (parser.at == text.len()).then_some((value, parser.forgiven))
}

/// Whether a text holds nothing but comments and white space.
pub(super) fn is_comment(text: &str) -> bool {
    let mut parser = Parser {
        text,
        at: 0,
        num_values: 0,
        forgiven: Forgiven::default(),
    };
    parser.skip_space();
    parser.at == text.len() && parser.forgiven.comment
}

/// Bytes of the white space and the comments that a text begins with.
pub(super) fn start_of_value(text: &str) -> usize {
    let mut parser = Parser {
        text,
        at: 0,
        num_values: 0,
        forgiven: Forgiven::default(),
    };
    parser.skip_space();
    parser.at
}

/// What strings without a comma between them are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adjacent {
    /// One string, as in Python's source.
    Joined,
    /// A string each: items as NumPy prints them, or two values where one is expected.
    Apart,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    num_values: usize,
    forgiven: Forgiven,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes over this byte, if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Passes over white space and comments; whether there was any.
    fn skip_space(&mut self) -> bool {
        let start = self.at;
        loop {
            let rest = self.rest();
            let is_space = |c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0';
            self.at += rest.len() - rest.trim_start_matches(is_space).len();
            let rest = self.rest();
            let len = if rest.starts_with("//") || rest.starts_with('#') {
                rest.find(['\n', '\r']).unwrap_or(rest.len())
            } else if let Some(inside) = rest.strip_prefix("/*") {
                inside.find("*/").map_or(rest.len(), |end| end + 4)
            } else {
                return self.at > start;
            };
            self.at += len;
            self.forgiven.comment = true;
        }
    }

    fn value(&mut self, depth: usize, adjacent: Adjacent) -> Option<Value> {
        self.skip_space();
        self.num_values += 1;
        if depth > MAX_DEPTH || self.num_values > MAX_VALUES {
            return None;
        }
        match self.peek()? {
            b'{' => self.braces(depth + 1),
            b'[' => {
                self.at += 1;
                let (items, _) = self.items(b']', depth + 1, Adjacent::Apart)?;
                Some(Value::Array(items))
            }
            b'(' => {
                self.at += 1;
                self.forgiven.python = true;
                let (mut items, has_comma) = self.items(b')', depth + 1, Adjacent::Joined)?;
                match items.len() {
                    1 if !has_comma => items.pop(),
                    _ => Some(Value::Array(items)),
                }
            }
            b'-' | b'+' | b'.' | b'0'..=b'9' => self.number(),
            b'<' if self.rest().starts_with("<NA>") => {
                self.at += 4;
                self.forgiven.python = true;
                Some(Value::Null)
            }
            _ if self.is_string() => Some(Value::String(self.strings(adjacent)?)),
            _ => self.word(depth),
        }
    }

    /// Items up to the closing bracket, and whether a comma stands between or after them.
    fn items(&mut self, close: u8, depth: usize, adjacent: Adjacent) -> Option<(Vec<Value>, bool)> {
        let mut items = Vec::new();
        let mut has_comma = false;
        loop {
            self.skip_space();
            if self.take(close) {
                self.forgiven.comma |= has_comma && !items.is_empty() && close != b')';
                return Some((items, has_comma));
            }
            items.push(self.value(depth, adjacent)?);
            let is_apart = self.skip_space();
            if self.take(close) {
                return Some((items, has_comma));
            }
            if self.take(b',') {
                has_comma = true;
            } else if is_apart && close == b']' {
                // As NumPy prints them.
                self.forgiven.python = true;
            } else {
                return None;
            }
        }
    }

    /// A dict, or a set, which becomes a list.
    fn braces(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut fields = Map::new();
        self.skip_space();
        if self.take(b'}') {
            return Some(Value::Object(fields));
        }
        loop {
            let key = match self.bare_key() {
                Some(key) => Value::String(key),
                None => self.value(depth, Adjacent::Joined)?,
            };
            self.skip_space();
            if !self.take(b':') {
                return if fields.is_empty() {
                    self.set(key, depth)
                } else {
                    None
                };
            }
            let key = match key {
                Value::String(key) => key,
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            let value = self.value(depth, Adjacent::Joined)?;
            fields.insert(key, value);
            self.skip_space();
            if self.take(b'}') {
                return Some(Value::Object(fields));
            }
            if !self.take(b',') {
                return None;
            }
            self.skip_space();
            if self.take(b'}') {
                self.forgiven.comma = true;
                return Some(Value::Object(fields));
            }
        }
    }

    /// A set after its first item.
    fn set(&mut self, first: Value, depth: usize) -> Option<Value> {
        self.forgiven.python = true;
        let mut items = vec![first];
        self.skip_space();
        if !self.take(b'}') {
            if !self.take(b',') {
                return None;
            }
            items.extend(self.items(b'}', depth, Adjacent::Joined)?.0);
        }
        Some(Value::Array(items))
    }

    /// A key without quotes, as JavaScript has it.
    fn bare_key(&mut self) -> Option<String> {
        self.skip_space();
        let name = self.name()?;
        let after = self.text.get(self.at + name.len()..)?;
        after.trim_start().starts_with(':').then(|| {
            self.at += name.len();
            self.forgiven.python = true;
            name.to_owned()
        })
    }

    /// The name that stands here, which is not passed over.
    fn name(&self) -> Option<&'t str> {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let len = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let name = &rest[..len];
        let is_name = name.starts_with(|c: char| !c.is_ascii_digit());
        is_name.then_some(name)
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with(['-', '+']));
        for name in ["Infinity", "inf", "nan", "NaN"] {
            if rest[sign..].starts_with(name) {
                self.at += sign + name.len();
                self.forgiven.not_a_number = true;
                return self.is_end_of_word().then_some(Value::Null);
            }
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
        let len = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let text = rest[..len].strip_prefix('+').unwrap_or(&rest[..len]);
        let digits = text.trim_start_matches('-').as_bytes();
        if let [b'0', b'0'..=b'9', ..] = digits {
            return None;
        }
        self.at += len;
        if let Ok(number) = text.parse::<i64>() {
            return Some(number.into());
        }
        if let Ok(number) = text.parse::<u64>() {
            return Some(number.into());
        }
        let is_float = digits.iter().any(u8::is_ascii_digit);
        let number = text.parse::<f64>().ok().filter(|_| is_float)?;
        Number::from_f64(number).map(Value::Number)
    }

    fn is_end_of_word(&self) -> bool {
        !self
            .rest()
            .starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}
