//! Calls of tools, and the tools themselves, in the form that chat templates know: OpenAI's.

use serde_json::{Map, Value, json};

use crate::cell;

/// Where a call keeps what the function is called with.
const ARGUMENTS: [&str; 4] = ["arguments", "args", "input", "parameters"];

/// The JSON of each call: of a list, of a single one, or of a text that spells out either.
pub(super) fn calls(value: &Value) -> Option<Vec<String>> {
    match &*cell::opened(value) {
        Value::Array(list) => Some(list.iter().map(call).collect()),
        Value::Object(_) => Some(vec![call(value)]),
        _ => None,
    }
}

/// A call as `{"type": "function", "function": {"name": .., "arguments": ..}}`; what cannot be read as a call stays as
/// it is.
pub(super) fn call(value: &Value) -> String {
    let value = cell::opened(value);
    let Value::Object(fields) = &*value else {
        return text(&value);
    };
    if fields.get("function").is_some_and(Value::is_object) {
        return value.to_string();
    }
    let Some(name) = fields.get("name").filter(|name| name.is_string()) else {
        return value.to_string();
    };
    let arguments = ARGUMENTS.iter().find_map(|name| fields.get(*name));
    let function = json!({"name": name, "arguments": arguments.unwrap_or(&json!({}))});
    let mut call = Map::new();
    call.insert("type".to_owned(), "function".into());
    call.insert("function".to_owned(), function);
    if let Some(id) = fields.get("id").filter(|id| id.is_string()) {
        call.insert("id".to_owned(), id.clone());
    }
    Value::Object(call).to_string()
}

/// The JSON of each tool that may be called: OpenAI's `tools` and `functions`, Anthropic's with an `input_schema`, and
/// Gemini's `functionDeclarations`.
pub fn tools(value: &Value) -> Vec<String> {
    let value = cell::opened(value);
    let list = match &*value {
        Value::Array(list) => list.as_slice(),
        Value::Object(_) => std::slice::from_ref(&*value),
        _ => &[],
    };
    let declared = |tool: &Value| {
        let names = ["functionDeclarations", "function_declarations"];
        let inner = names
            .iter()
            .find_map(|name| tool.get(*name)?.as_array().cloned());
        inner.unwrap_or_else(|| vec![tool.clone()])
    };
    list.iter().flat_map(declared).map(tool).collect()
}

fn tool(value: Value) -> String {
    match value {
        Value::Object(mut function)
            if function.contains_key("name") && !function.contains_key("function") =>
        {
            function.shift_remove("type");
            if let Some(schema) = function.shift_remove("input_schema") {
                function.insert("parameters".to_owned(), schema);
            }
            json!({"type": "function", "function": function}).to_string()
        }
        other => text(&other),
    }
}

/// Texts as they are, everything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
