//! Lists of messages as people write them: OpenAI's, ShareGPT's, Gemini's, what chat services export, texts that take
//! turns, pairs, and transcripts.

mod call;
mod export;
mod list;
mod part;
mod role;
mod switch;

use formats::row::ASSISTANT;
use protocol::Message;
use serde_json::{Map, Value};

pub use self::{
    call::tools,
    export::{Exported, is_tree},
    list::is_of_lists,
    switch::truth,
};
use self::{
    call::{call, calls},
    part::{Content, content},
};
use super::{cell, mapping::RowFault, recognize::plain};

const MAX_MESSAGES: usize = 512;
/// Where a message keeps its role and its text, without case and punctuation.
const ROLE_NAMES: [&str; 5] = ["role", "from", "speaker", "author", "sender"];
const CONTENT_NAMES: [&str; 6] = ["content", "value", "parts", "text", "message", "utterance"];
const SHAPE: &str = "Make it a list of objects with `role` and `content`.";
const ROLES_TO_USE: &str = "Use `system`, `user`, `assistant`, `developer` or `tool`.";

/// The messages at `path`.
///
/// # Errors
/// The first message that cannot be read, by its number.
pub fn messages(path: &str, value: &Value) -> Result<Vec<Message>, RowFault> {
    Ok(conversation(path, value, None)?.messages)
}

/// The messages at `path`, also of an export's tree, whose `current` node was shown last.
///
/// # Errors
/// As for [`messages`].
pub fn conversation(
    path: &str,
    value: &Value,
    current: Option<&str>,
) -> Result<Exported, RowFault> {
    let exported = |found: Result<Exported, String>| {
        let remedy = "Remove the conversation, or the parts that are not text.";
        found.map_err(|what| RowFault::new(path, what, remedy))
    };
    let parsed;
    let value = match value {
        // A table's cell.
        Value::String(text) if cell::looks_composite(text) => {
            parsed = cell::parsed(text).map_err(|what| {
                let what = format!("`{path}` {what}");
                RowFault::new(path, what, "Correct the list of messages.")
            })?;
            &parsed
        }
        value => value,
    };
    let zipped;
    let list = match value {
        Value::Array(list) if export::is_list_of_senders(list) => {
            return bounded(path, exported(export::senders(list))?);
        }
        Value::Array(list) => list,
        tree if is_tree(tree) => return bounded(path, exported(export::tree(tree, current))?),
        Value::Object(fields) if is_of_lists(value) => {
            zipped = list::zipped(fields).map_err(|what| {
                let what = format!("`{path}` {what}");
                RowFault::new(path, what, "Give every message a role and a content.")
            })?;
            &zipped
        }
        _ => {
            let what = format!("`{path}` is {}, not a list", kind(value));
            return Err(RowFault::new(path, what, SHAPE));
        }
    };
    bounded(
        path,
        Exported {
            messages: of_list(path, list)?,
            has_branches: false,
        },
    )
}

fn of_list(path: &str, list: &[Value]) -> Result<Vec<Message>, RowFault> {
    if list.len() > MAX_MESSAGES {
        return Err(too_many(path, list.len()));
    }
    if !list.is_empty() && list.iter().all(Value::is_string) {
        // Messages that were encoded one by one.
        let opened: Vec<Value> = list
            .iter()
            .map(|item| cell::opened(item).into_owned())
            .collect();
        if opened.iter().all(has_role) {
            return of_list(path, &opened);
        }
        let texts = list.iter().filter_map(Value::as_str);
        let roles = ["user", "assistant"].into_iter().cycle();
        let turns = roles.zip(texts);
        return Ok(turns.map(|(role, text)| Message::new(role, text)).collect());
    }
    if !list.iter().any(has_role)
        && let Some(turns) = list::exchanges(list)
    {
        return Ok(turns);
    }
    let mut all = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        message(path, index + 1, value, &mut all)?;
    }
    Ok(all)
}

fn bounded(path: &str, found: Exported) -> Result<Exported, RowFault> {
    match found.messages.len() {
        0 => {
            let what = format!("`{path}` is an empty list");
            let remedy = "Add a user message and an assistant message.";
            Err(RowFault::new(path, what, remedy))
        }
        len if len > MAX_MESSAGES => Err(too_many(path, len)),
        _ => Ok(found),
    }
}

fn too_many(path: &str, len: usize) -> RowFault {
    let what = format!("the conversation has {len} messages, more than {MAX_MESSAGES}");
    RowFault::new(path, what, "Split it into several rows.")
}

/// Whether a value is a message: an object that says who speaks.
pub fn has_role(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|fields| first(fields, &ROLE_NAMES).is_some_and(|role| !role.is_null()))
}

/// The role of a message, as templates know it.
pub fn role_of(value: &Value) -> Option<&'static str> {
    let written = role::written(first(value.as_object()?, &ROLE_NAMES)?).ok()?;
    Some(role::speaker(written)?.role)
}

/// Adds the message that is the `number`th of the list, counted from 1; an answer of a tool inside a user's message
/// becomes a message of its own.
fn message(
    path: &str,
    number: usize,
    value: &Value,
    all: &mut Vec<Message>,
) -> Result<(), RowFault> {
    let fault = |what: String, remedy: &str| RowFault::new(path, what, remedy);
    let Value::Object(fields) = value else {
        let what = format!("message {number} is {}, not an object", kind(value));
        return Err(fault(what, SHAPE));
    };
    let role_value = first(fields, &ROLE_NAMES).ok_or_else(|| {
        let what = format!("message {number} has no `role`");
        fault(what, "Add `role` and `content` to every message.")
    })?;
    let written = role::written(role_value).map_err(|kind| {
        let what = format!("the role of message {number} is {kind}, not a string");
        fault(what, "Use `system`, `user` or `assistant`.")
    })?;
    let speaker = role::speaker(written).ok_or_else(|| {
        let what = format!("message {number} has the role {written:?}");
        fault(what, ROLES_TO_USE)
    })?;
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let mut message = Message {
        reasoning_content: text("reasoning_content")
            .or_else(|| text("reasoning"))
            .or_else(|| text("thinking")),
        tool_call_id: text("tool_call_id"),
        name: text("name"),
        ..Message::new(speaker.role, "")
    };
    message.tool_calls = tool_calls(fields).map_err(|what| {
        let what = format!("the tool calls of message {number} are {what}, not a list");
        fault(what, "Write them as OpenAI does.")
    })?;
    if speaker.role == ASSISTANT {
        message.is_context = switch::is_context(fields).map_err(|what| {
            let what = format!("message {number} has {what}");
            fault(
                what,
                "Use 1 for a message that is learned and 0 for one that is only read.",
            )
        })?;
    }
    let has_calls = !message.tool_calls.is_empty();
    match first(fields, &CONTENT_NAMES) {
        Some(said) if speaker.is_call => {
            message.tool_calls = calls(said).unwrap_or_else(|| vec![call(said)])
        }
        Some(Value::String(content)) => message.content.clone_from(content),
        // A text's characters are a list to nobody; a lone part is one part.
        Some(parts @ (Value::Array(_) | Value::Object(_))) if is_content(parts, speaker.role) => {
            let said = content(parts).map_err(|what| {
                let what =
                    format!("message {number} has a part {what}, and only text can be learned");
                fault(what, "Keep only parts of the type `text`.")
            })?;
            add_content(said, message, all);
            return Ok(());
        }
        Some(Value::Null) | None if has_calls || speaker.role == "tool" => {}
        Some(Value::Null) | None => {
            let what = format!("message {number} has no `content`");
            return Err(fault(what, "Add the text as `content`."));
        }
        // What a tool answers may be an object.
        Some(other) if speaker.role == "tool" => message.content = other.to_string(),
        Some(other) => {
            let what = format!(
                "the content of message {number} is {}, not a string",
                kind(other)
            );
            return Err(fault(what, "Put the text in quotes."));
        }
    }
    all.push(message);
    Ok(())
}

/// Whether a list or an object is made of parts. What a tool answers may be any JSON.
fn is_content(value: &Value, role: &str) -> bool {
    let is_part = |part: &Value| {
        part.is_string()
            || ["type", "text", "value"]
                .iter()
                .any(|name| part.get(name).is_some())
    };
    match value {
        Value::Array(parts) => role != "tool" || parts.iter().all(is_part),
        single => role != "tool" && single.get("text").is_some(),
    }
}

/// Puts what a list of parts says into its message, after the answers of tools that stand in it.
fn add_content(said: Content, mut message: Message, all: &mut Vec<Message>) {
    message.content = said.text;
    if let Some(reasoning) = said.reasoning {
        message
            .reasoning_content
            .get_or_insert_default()
            .push_str(&reasoning);
    }
    message.tool_calls.extend(said.calls);
    let is_only_results = !said.results.is_empty() && message.content.is_empty();
    all.extend(said.results);
    if !is_only_results {
        all.push(message);
    }
}

/// The calls of a message: `tool_calls`, or OpenAI's older `function_call`.
fn tool_calls(fields: &Map<String, Value>) -> Result<Vec<String>, &'static str> {
    let filled = |name: &str| {
        let value = fields.get(name)?;
        (!value.is_null() && value.as_str() != Some("")).then_some(value)
    };
    match (filled("tool_calls"), filled("function_call")) {
        (Some(found), _) => calls(found).ok_or(kind(found)),
        (None, Some(found)) => calls(found).ok_or(kind(found)),
        (None, None) => Ok(Vec::new()),
    }
}

/// The value under the first of `names` that has one; null where none has.
fn first<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    let is_filled = |value: &&Value| !value.is_null();
    let exact = |name: &&str| fields.get(*name).filter(is_filled);
    names.iter().find_map(exact).or_else(|| {
        let named = |(name, _): &(&String, &Value)| names.contains(&plain(name).as_str());
        let found: Vec<&Value> = fields
            .iter()
            .filter(named)
            .map(|(_, value)| value)
            .collect();
        found
            .iter()
            .copied()
            .find(is_filled)
            .or(found.first().copied())
    })
}

/// The text of a system instruction: a text, a list of parts, or an object with either.
pub fn system_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) => Some(content(value).ok()?.text),
        Value::Object(fields) => match first(fields, &CONTENT_NAMES)? {
            Value::String(text) => Some(text.clone()),
            parts => Some(content(parts).ok()?.text),
        },
        _ => None,
    }
}

/// A transcript `\n\nHuman: ..\n\nAssistant: ..`, as Anthropic's preference data is written; `None` for any other text.
pub fn transcript(text: &str) -> Option<Vec<Message>> {
    const MARKS: [(&str, &str); 2] = [("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant")];
    let mut messages = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (mark, role) = *MARKS.iter().find(|(mark, _)| rest.starts_with(mark))?;
        let after = &rest[mark.len()..];
        let end = MARKS.iter().filter_map(|(mark, _)| after.find(mark)).min();
        let (content, next) = after.split_at(end.unwrap_or(after.len()));
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
