//! What a message says: a text, or a list of parts as OpenAI, Anthropic, Gemini and LLaMA-Factory write them.

use protocol::Message;
use serde_json::Value;

use super::call::call;

/// What the content of a message comes to.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub text: String,
    pub reasoning: Option<String>,
    pub calls: Vec<String>,
    /// Messages of tools that answer calls; Anthropic's and Gemini's stand inside a user's message.
    pub results: Vec<Message>,
}

/// Reads a list of parts, or a single part.
///
/// # Errors
/// The kind of the first part that is no text, such as `image_url`.
pub(super) fn content(value: &Value) -> Result<Content, String> {
    let parts = match value {
        Value::Array(parts) => parts.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut content = Content::default();
    for part in parts {
        add(part, &mut content)?;
    }
    Ok(content)
}

fn add(part: &Value, content: &mut Content) -> Result<(), String> {
    if let Value::String(text) = part {
        content.text.push_str(text);
        return Ok(());
    }
    let field = |names: [&str; 2]| names.iter().find_map(|name| filled(part, name));
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    let text = ["text", "value", "content"];
    let text = text.iter().find_map(|name| part.get(*name)?.as_str());
    let thought = part.get("thinking").and_then(Value::as_str).or(text);
    let is_thought = part.get("thought").and_then(Value::as_bool) == Some(true);
    match (kind, text) {
        ("reasoning" | "thinking", _) => {
            let reasoning = content.reasoning.get_or_insert_default();
            reasoning.push_str(thought.unwrap_or_default());
        }
        ("redacted_thinking", _) => {}
        ("tool_call", Some(text)) => content.calls.push(call(&Value::from(text))),
        ("tool_use" | "tool_call", _) => content.calls.push(call(part)),
        ("tool_result", _) => content.results.push(Message {
            tool_call_id: filled(part, "tool_use_id")
                .and_then(Value::as_str)
                .map(str::to_owned),
            ..Message::new("tool", plain_text(part.get("content")))
        }),
        (_, Some(text)) if is_thought => {
            content.reasoning.get_or_insert_default().push_str(text);
        }
        ("" | "text" | "input_text" | "output_text" | "refusal", Some(text)) => {
            content.text.push_str(text);
        }
        ("refusal", None) => {
            let refusal = part.get("refusal").and_then(Value::as_str);
            content.text.push_str(refusal.unwrap_or_default());
        }
        ("", None) => {
            if let Some(function) = field(["functionCall", "function_call"]) {
                content.calls.push(call(function));
            } else if let Some(result) = field(["functionResponse", "function_response"]) {
                let name = result.get("name").and_then(Value::as_str);
                content.results.push(Message {
                    name: name.map(str::to_owned),
                    ..Message::new("tool", plain_text(result.get("response")))
                });
            } else {
                return Err(named(part));
            }
        }
        (kind, _) => return Err(format!("of the type `{kind}`")),
    }
    Ok(())
}

fn filled<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).filter(|value| !value.is_null())
}

/// The text of a tool's answer: its parts' texts, or the JSON of anything else.
fn plain_text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(list @ Value::Array(_)) => {
            content(list).map_or_else(|_| list.to_string(), |all| all.text)
        }
        Some(other) => other.to_string(),
    }
}

/// A part that says nothing of its type, by the first of its fields with a value.
fn named(part: &Value) -> String {
    let fields = part.as_object().into_iter().flatten();
    let mut names = fields.filter(|(_, value)| !value.is_null());
    match names.next() {
        Some((name, _)) => format!("with `{name}`"),
        None => "that is not text".to_owned(),
    }
}
