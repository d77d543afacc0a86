//! The fields that records have, for a person to choose from.

use serde_json::Value;

use super::{conversation::kind, path::Fields};
use crate::protocol::ColumnSummary;

/// Records that are looked at; a hundredth of a large file says enough.
const MAX_RECORDS: usize = 1000;
const MAX_COLUMNS: usize = 100;
/// Objects in objects that are opened up.
const MAX_LEVELS: usize = 3;
const EXAMPLE_CHARS: usize = 80;

/// Collects fields from one record after the other.
#[derive(Default)]
pub struct Columns {
    columns: Vec<ColumnSummary>,
    num_seen: usize,
}

impl Columns {
    pub fn look(&mut self, fields: &Fields) {
        if self.num_seen == MAX_RECORDS {
            return;
        }
        self.num_seen += 1;
        for (name, value) in fields {
            self.add(name, value, 0);
        }
    }

    fn add(&mut self, path: &str, value: &Value, level: usize) {
        match value {
            Value::Object(fields) if level < MAX_LEVELS && !fields.is_empty() => {
                for (name, value) in fields {
                    self.add(&format!("{path}.{name}"), value, level + 1);
                }
            }
            value => self.count(path, value),
        }
    }

    fn count(&mut self, path: &str, value: &Value) {
        let at = self.columns.iter().position(|column| column.path == path);
        let at = match at {
            Some(at) => at,
            None if self.columns.len() < MAX_COLUMNS => {
                self.columns.push(ColumnSummary {
                    path: path.to_owned(),
                    kind: String::new(),
                    num_filled: 0,
                    num_seen: 0,
                    example: String::new(),
                });
                self.columns.len() - 1
            }
            None => return,
        };
        let column = &mut self.columns[at];
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

    /// In the order in which they came.
    pub fn summary(&self) -> Vec<ColumnSummary> {
        let seen = |column: &ColumnSummary| ColumnSummary {
            num_seen: self.num_seen,
            ..column.clone()
        };
        self.columns.iter().map(seen).collect()
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Array(list) => match list.first() {
            Some(Value::Object(item)) if item.contains_key("role") || item.contains_key("from") => {
                "a list of messages"
            }
            Some(Value::Object(_)) => "a list of objects",
            Some(Value::String(_)) => "a list of texts",
            _ => "a list",
        },
        other => kind(other),
    }
}
