//! Messages and tools in the form that templates see.
//!
//! ```text
//! {"role": "assistant", "content": "",
//!  "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]}
//! ```
//!
//! JSON keys stay in the order of the row's text, since templates write tool calls out and a model sees the order.

use minijinja::{Value, value::ValueKind};
use protocol::Message;

/// Makes a message with only the keys that it has; templates check whether a key exists (`message.tool_calls is
/// defined`). Thoughts have two keys, as different families call them differently.
pub(super) fn message(message: &Message) -> Value {
    let text = |key, value: &Option<String>| Some((key, Value::from(value.as_deref()?)));
    let calls = &message.tool_calls;
    let calls = (!calls.is_empty()).then(|| calls.iter().map(|call| tool_call(call)).collect());
    let fields = [
        Some(("role", Value::from(message.role.as_str()))),
        Some(("content", Value::from(message.content.as_str()))),
        text("reasoning_content", &message.reasoning_content),
        text("thinking", &message.reasoning_content),
        calls.map(|calls: Value| ("tool_calls", calls)),
        text("tool_call_id", &message.tool_call_id),
        text("name", &message.name),
    ];
    Value::from_pairs(fields.into_iter().flatten())
}

/// Reads JSON with its keys in the order of the text. What is no JSON becomes a string.
pub(super) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Makes a tool call. OpenAI's files write `arguments` as JSON inside a string; templates take an object.
///
/// ```text
/// "arguments": "{\"x\": 1}"   ->   "arguments": {"x": 1}
/// "arguments": "not JSON"     ->   unchanged
/// ```
fn tool_call(text: &str) -> Value {
    with(&json(text), "function", |function| {
        with(function, "arguments", |arguments| {
            let parsed = json(arguments.as_str().unwrap_or_default());
            match parsed.kind() {
                ValueKind::Map => parsed,
                _ => arguments.clone(),
            }
        })
    })
}

/// The map `value` with the value at `key`, if it exists, changed.
/// Other keys and their order stay. What is no map is returned as it is, so a call in an unknown form reaches the
/// template unchanged.
fn with(value: &Value, key: &str, change: impl Fn(&Value) -> Value) -> Value {
    let entry = |name: Value| {
        let old = value.get_item(&name).unwrap_or_default();
        let new = match name.as_str() == Some(key) {
            true => change(&old),
            false => old,
        };
        (name, new)
    };
    match (value.kind(), value.try_iter()) {
        (ValueKind::Map, Ok(names)) => Value::from_pairs(names.map(entry)),
        _ => value.clone(),
    }
}
