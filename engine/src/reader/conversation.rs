//! Lists of messages as people write them: OpenAI's, ShareGPT's, texts that take turns, and transcripts.

use serde_json::{Map, Value};

use super::mapping::RowFault;
use crate::protocol::Message;

const MAX_MESSAGES: usize = 512;

/// The names of roles, and the role that templates know.
const ROLES: [(&str, &str); 20] = [
    ("system", "system"),
    ("developer", "developer"),
    ("user", "user"),
    ("human", "user"),
    ("customer", "user"),
    ("prompter", "user"),
    ("instruction", "user"),
    ("assistant", "assistant"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("bot", "assistant"),
    ("model", "assistant"),
    ("ai", "assistant"),
    ("chatbot", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("tool", "tool"),
    ("function", "tool"),
    ("observation", "tool"),
    ("function_call", "assistant"),
];
/// Where a message keeps its role and its text.
const ROLE_NAMES: [&str; 4] = ["role", "from", "speaker", "author"];
const CONTENT_NAMES: [&str; 4] = ["content", "value", "text", "message"];
const SHAPE: &str = "Make it a list of objects with `role` and `content`.";

/// The messages at `path`.
///
/// # Errors
/// The first message that is none, by its number.
pub fn messages(path: &str, value: &Value) -> Result<Vec<Message>, RowFault> {
    let parsed;
    let value = match value {
        // A table's cell.
        Value::String(text) if text.trim_start().starts_with('[') => {
            parsed = serde_json::from_str(text).map_err(|error| {
                let what = format!("`{path}` is not valid JSON: {error}");
                RowFault::new(path, what, "Correct the list of messages.")
            })?;
            &parsed
        }
        value => value,
    };
    let Value::Array(list) = value else {
        let what = format!("`{path}` is {}, not a list", kind(value));
        return Err(RowFault::new(path, what, SHAPE));
    };
    if list.is_empty() {
        let what = format!("`{path}` is an empty list");
        return Err(RowFault::new(
            path,
            what,
            "Add a user message and an assistant message.",
        ));
    }
    if list.len() > MAX_MESSAGES {
        let what = format!(
            "the conversation has {} messages, more than {MAX_MESSAGES}",
            list.len()
        );
        return Err(RowFault::new(path, what, "Split it into several rows."));
    }
    if list.iter().all(Value::is_string) {
        let texts = list.iter().filter_map(Value::as_str);
        let roles = ["user", "assistant"].into_iter().cycle();
        return Ok(roles
            .zip(texts)
            .map(|(role, text)| Message::new(role, text))
            .collect());
    }
    list.iter()
        .enumerate()
        .map(|(index, value)| message(path, index + 1, value))
        .collect()
}

/// `number` is 1-based.
fn message(path: &str, number: usize, value: &Value) -> Result<Message, RowFault> {
    let fault = |what: String, remedy: &str| RowFault::new(path, what, remedy);
    let Value::Object(fields) = value else {
        let what = format!("message {number} is {}, not an object", kind(value));
        return Err(fault(
            what,
            "Write it as an object with `role` and `content`.",
        ));
    };
    let role_value = first(fields, &ROLE_NAMES).ok_or_else(|| {
        let what = format!("message {number} has no `role`");
        fault(what, "Add `role` and `content` to every message.")
    })?;
    let Value::String(written) = role_value else {
        let what = format!(
            "the role of message {number} is {}, not a string",
            kind(role_value)
        );
        return Err(fault(what, "Use `system`, `user` or `assistant`."));
    };
    let lower = written.trim().to_lowercase();
    let Some(&(_, role)) = ROLES.iter().find(|(name, _)| *name == lower) else {
        return Err(fault(
            format!("message {number} has the role {written:?}"),
            "Use `system`, `user`, `assistant`, `developer` or `tool`.",
        ));
    };
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let mut message = Message {
        reasoning_content: text("reasoning_content").or_else(|| text("thinking")),
        tool_call_id: text("tool_call_id"),
        name: text("name"),
        ..Message::new(role, "")
    };
    if let Some(calls) = fields.get("tool_calls").filter(|calls| !calls.is_null()) {
        message.tool_calls = json_list(calls).ok_or_else(|| {
            let what = format!(
                "the tool calls of message {number} are {}, not a list",
                kind(calls)
            );
            fault(what, "Write them as OpenAI does.")
        })?;
    }
    let content = first(fields, &CONTENT_NAMES);
    let has_calls = !message.tool_calls.is_empty();
    message.content = match content {
        Some(Value::String(content)) if lower == "function_call" => {
            message.tool_calls = vec![call(content)];
            String::new()
        }
        Some(Value::String(content)) => content.clone(),
        Some(Value::Array(parts)) => joined(parts, &mut message).ok_or_else(|| {
            let what = format!("the content of message {number} has a part that is not text");
            fault(what, "Keep only parts of the type `text`.")
        })?,
        Some(Value::Null) | None if has_calls => String::new(),
        Some(Value::Null) | None => {
            let what = format!("message {number} has no `content`");
            return Err(fault(what, "Add the text as `content`."));
        }
        // What a tool answers may be an object.
        Some(other) if role == "tool" => other.to_string(),
        Some(other) => {
            let what = format!(
                "the content of message {number} is {}, not a string",
                kind(other)
            );
            return Err(fault(what, "Put the text in quotes."));
        }
    };
    Ok(message)
}

fn first<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| fields.get(*name))
}

/// The JSON of each item of a list, which may itself be written as JSON.
pub fn json_list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(list) => Some(list.iter().map(Value::to_string).collect()),
        Value::String(text) => match serde_json::from_str(text).ok()? {
            Value::Array(list) => Some(list.iter().map(Value::to_string).collect()),
            _ => None,
        },
        _ => None,
    }
}

/// A call of a function as OpenAI writes it, where only the function is given.
fn call(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(Value::Object(function)) if function.contains_key("name") => {
            serde_json::json!({"type": "function", "function": function}).to_string()
        }
        _ => text.to_owned(),
    }
}

/// The texts of OpenAI's list of parts. Reasoning and calls of tools among them, as LLaMA-Factory has them, go to the
/// message; `None` where a part is anything else.
fn joined(parts: &[Value], message: &mut Message) -> Option<String> {
    let mut content = String::new();
    for part in parts {
        let text = match part {
            Value::String(text) => text,
            part => part.get("text").or_else(|| part.get("value"))?.as_str()?,
        };
        match part.get("type").and_then(Value::as_str) {
            Some("reasoning" | "thinking") => {
                let reasoning = message.reasoning_content.get_or_insert_default();
                reasoning.push_str(text);
            }
            Some("tool_call") => message.tool_calls.push(call(text)),
            _ => content.push_str(text),
        }
    }
    Some(content)
}

/// A transcript `\n\nHuman: ..\n\nAssistant: ..`, as Anthropic's preference data is written; `None` for any other text.
pub fn transcript(text: &str) -> Option<Vec<Message>> {
    const MARKS: [(&str, &str); 2] = [("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant")];
    let mut messages = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (mark, role) = *MARKS.iter().find(|(mark, _)| rest.starts_with(mark))?;
        let behind = &rest[mark.len()..];
        let end = MARKS.iter().filter_map(|(mark, _)| behind.find(mark)).min();
        let (content, next) = behind.split_at(end.unwrap_or(behind.len()));
        messages.push(Message::new(role, content.trim()));
        rest = next;
    }
    (!messages.is_empty() && messages.len() <= MAX_MESSAGES).then_some(messages)
}

/// A JSON value's kind in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
