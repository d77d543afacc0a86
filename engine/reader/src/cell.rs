//! Lists and objects that a cell holds as text, as tables and careless exports do.

use std::borrow::Cow;

use serde_json::Value;

use super::python::parse_cell;

/// The value that a text spells out as JSON, or as Python prints it.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parsed(text: &str) -> Result<Value, String> {
    parse_cell(text).map_err(|error| format!("is not valid JSON: {error}"))
}

/// A number, also one that a table's cell holds as text.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    }
}

/// The value itself, or the list or object that it spells out as text.
pub fn opened(value: &Value) -> Cow<'_, Value> {
    let Value::String(text) = value else {
        return Cow::Borrowed(value);
    };
    if !looks_composite(text) {
        return Cow::Borrowed(value);
    }
    match parsed(text) {
        Ok(inner @ (Value::Array(_) | Value::Object(_))) => Cow::Owned(inner),
        _ => Cow::Borrowed(value),
    }
}

/// Whether a text begins as a list or an object does; `{{name}}` and `{name}` are no object.
pub fn looks_composite(text: &str) -> bool {
    let text = text.trim_start();
    let inside = text.strip_prefix('{').map(str::trim_start);
    text.starts_with('[') || inside.is_some_and(|inside| inside.starts_with(['"', '\'', '}']))
}
