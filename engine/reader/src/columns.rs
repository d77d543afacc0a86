//! Collects the fields of records, for a person to choose from.

use protocol::ColumnSummary;
use serde_json::Value;

use super::{conversation::kind, path::Fields};

/// The number of records inspected; a hundredth of a large file is enough.
const MAX_RECORDS: usize = 1000;
const MAX_COLUMNS: usize = 100;
/// How many levels of nested objects are expanded.
const MAX_LEVELS: usize = 3;
/// The number of list items offered individually.
const MAX_ITEMS: usize = 8;
const EXAMPLE_CHARS: usize = 80;

/// Collects fields record by record.
#[derive(Default)]
pub struct Columns {
    columns: Vec<Column>,
    num_seen: usize,
}

struct Column {
    summary: ColumnSummary,
    /// Whether it is an item of a list, or inside one: offered only if every record has it.
    is_in_list: bool,
    /// Whether one of its values is a text that somebody wrote, rather than a number, a date or a name.
    has_prose: bool,
}

impl Columns {
    /// The columns that hold texts which somebody wrote, in order of appearance.
    pub fn with_prose(&self) -> impl Iterator<Item = &str> {
        let columns = self.columns.iter();
        let with_prose = columns.filter(|column| column.has_prose && !column.is_in_list);
        with_prose.map(|column| column.summary.path.as_str())
    }

    pub fn look(&mut self, fields: &Fields) {
        if self.num_seen == MAX_RECORDS {
            return;
        }
        self.num_seen += 1;
        for (name, value) in fields {
            self.add(name, value, 0, false);
        }
    }

    fn add(&mut self, path: &str, value: &Value, level: usize, is_in_list: bool) {
        match value {
            Value::Object(fields) if level < MAX_LEVELS && !fields.is_empty() => {
                for (name, value) in fields {
                    self.add(&format!("{path}.{name}"), value, level + 1, is_in_list);
                }
            }
            Value::Array(list) => {
                self.count(path, value, is_in_list);
                if level < MAX_LEVELS && list.len() <= MAX_ITEMS && describe(value) != MESSAGES {
                    for (index, item) in list.iter().enumerate() {
                        self.add(&format!("{path}[{index}]"), item, level + 1, true);
                    }
                }
            }
            value => self.count(path, value, is_in_list),
        }
    }

    fn count(&mut self, path: &str, value: &Value, is_in_list: bool) {
        let is_it = |column: &Column| column.summary.path == path;
        let at = match self.columns.iter().position(is_it) {
            Some(at) => at,
            None => {
                // Items do not replace other fields.
                let is_alike = |column: &&Column| column.is_in_list == is_in_list;
                if self.columns.iter().filter(is_alike).count() == MAX_COLUMNS {
                    return;
                }
                self.columns.push(Column {
                    summary: ColumnSummary {
                        path: path.to_owned(),
                        kind: String::new(),
                        num_filled: 0,
                        num_seen: 0,
                        example: String::new(),
                    },
                    is_in_list,
                    has_prose: false,
                });
                self.columns.len() - 1
            }
        };
        let column = &mut self.columns[at];
        column.has_prose = column.has_prose || value.as_str().is_some_and(is_prose);
        let column = &mut column.summary;
        let written = match value {
            Value::Null => return,
            Value::String(text) if text.trim().is_empty() => return,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        column.num_filled += 1;
        if column.example.is_empty() {
            column.kind = describe(value).to_owned();
            column.example = written.chars().take(EXAMPLE_CHARS).collect();
        }
    }

    /// The columns in order of appearance.
    pub fn summary(&self) -> Vec<ColumnSummary> {
        let is_offered =
            |column: &&Column| !column.is_in_list || column.summary.num_filled == self.num_seen;
        let seen = |column: &Column| ColumnSummary {
            num_seen: self.num_seen,
            ..column.summary.clone()
        };
        self.columns.iter().filter(is_offered).map(seen).collect()
    }
}

/// Whether a text has several words, or letters of a script that has no spaces.
fn is_prose(text: &str) -> bool {
    let text = text.trim();
    if text.starts_with(['[', '{']) || text.contains("://") && !text.contains(' ') {
        return false;
    }
    let is_word = |word: &&str| word.chars().any(char::is_alphabetic);
    let has_words = text.split_whitespace().filter(is_word).nth(1).is_some();
    let is_wide = |character: &char| *character >= '\u{3000}';
    has_words || text.chars().filter(is_wide).nth(3).is_some()
}

const MESSAGES: &str = "a list of messages";

fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Array(list) => match list.first() {
            Some(Value::Object(item)) if item.contains_key("role") || item.contains_key("from") => {
                MESSAGES
            }
            Some(Value::Object(_)) => "a list of objects",
            Some(Value::String(_)) => "a list of texts",
            _ => "a list",
        },
        other => kind(other),
    }
}
