//! One row's JSON to an [`Example`], or what is wrong with it.

use serde_json::{Map, Value, error::Category};

use super::split::RawRow;
use crate::{
    data::{
        example::{ASSISTANT, Example},
        text::{parse_json, without_lone_surrogates},
    },
    protocol::{Message, RowShape},
};

/// Roles that templates know.
const ROLES: [&str; 5] = ["system", "developer", "user", ASSISTANT, "tool"];
const MAX_MESSAGES: usize = 512;
/// Keys shown of a row that has none of the known ones.
const MAX_SHOWN_KEYS: usize = 6;
const RENAME: &str = "Give every row `messages`, or `prompt` and `completion`, or `text`.";

/// Why a row is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RowFault {
    /// Byte of the row's text.
    pub offset: usize,
    pub what: String,
    pub remedy: String,
}

/// A fault and the key at which it is.
struct Fault {
    key: &'static str,
    what: String,
    remedy: String,
}

impl Fault {
    fn new(key: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            key,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

pub(super) fn example(raw: &RawRow) -> Result<Example, RowFault> {
    if raw.text.is_empty() {
        return Err(empty_fault(raw));
    }
    let value: Value = parse_json(raw.text).map_err(|error| json_fault(raw, &error))?;
    let Value::Object(fields) = value else {
        return Err(RowFault {
            offset: 0,
            what: format!("the row is {}, not an object", kind(&value)),
            remedy: RENAME.to_owned(),
        });
    };
    from_fields(&fields).map_err(|fault| RowFault {
        offset: offset_of_key(raw.text, fault.key),
        what: fault.what,
        remedy: fault.remedy,
    })
}

/// An array's place without an element: two commas, or the end of a file that was cut off behind one.
fn empty_fault(raw: &RawRow) -> RowFault {
    let (what, remedy) = match raw.is_cut_off {
        true => (
            "the file ends where a row should follow",
            "The file was cut off; save or download it again.",
        ),
        false => ("there is no row here, only a comma", "Remove the comma."),
    };
    RowFault {
        offset: 0,
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    }
}

fn json_fault(raw: &RawRow, error: &serde_json::Error) -> RowFault {
    let line_start = without_lone_surrogates(raw.text)
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let offset = (line_start + error.column().saturating_sub(1)).min(raw.text.len());
    let (what, remedy) = match error.classify() {
        Category::Eof if raw.is_cut_off => (
            "the file ends inside this row".to_owned(),
            "The file was cut off; save or download it again.",
        ),
        Category::Eof => (
            "the row ends before it is complete".to_owned(),
            "Put the whole object on one line, with line breaks in texts written as \\n.",
        ),
        _ => {
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or_default();
            (
                format!("the row is no valid JSON: {reason}"),
                "Correct the row at this place.",
            )
        }
    };
    RowFault {
        offset,
        what,
        remedy: remedy.to_owned(),
    }
}

/// Where a key stands in a row; its start where it does not.
fn offset_of_key(row: &str, key: &str) -> usize {
    match key {
        "" => 0,
        key => row.find(&format!("\"{key}\"")).unwrap_or(0),
    }
}

fn from_fields(fields: &Map<String, Value>) -> Result<Example, Fault> {
    let field = |key: &str| fields.get(key).filter(|value| !value.is_null());
    if let Some(value) = field("messages") {
        let messages = messages("messages", value)?;
        return conversation(messages, 0, RowShape::Messages, "messages");
    }
    match (field("prompt"), field("completion")) {
        (Some(prompt), Some(completion)) => return pair(prompt, completion),
        (Some(_), None) => {
            return Err(Fault::new(
                "prompt",
                "the row has a `prompt` but no `completion`",
                "Add the completion that the model should learn.",
            ));
        }
        (None, Some(_)) => {
            return Err(Fault::new(
                "completion",
                "the row has a `completion` but no `prompt`",
                "Add the prompt, or call the field `text`.",
            ));
        }
        (None, None) => {}
    }
    match field("text") {
        Some(Value::String(text)) => Ok(Example::Text(text.clone())),
        Some(other) => Err(Fault::new(
            "text",
            format!("`text` is {}, not a string", kind(other)),
            "Put the text in quotes.",
        )),
        None => Err(unknown_shape(fields)),
    }
}

/// `prompt` and `completion`: both texts, or both lists of messages.
fn pair(prompt: &Value, completion: &Value) -> Result<Example, Fault> {
    match (prompt, completion) {
        (Value::String(prompt), Value::String(completion)) => Ok(Example::Pair {
            prompt: prompt.clone(),
            completion: completion.clone(),
        }),
        (Value::Array(_), Value::Array(_)) => {
            let mut all = messages("prompt", prompt)?;
            let first_trained = all.len();
            all.extend(messages("completion", completion)?);
            conversation(all, first_trained, RowShape::PromptCompletion, "completion")
        }
        (Value::String(_) | Value::Array(_), other) => Err(Fault::new(
            "completion",
            format!(
                "`prompt` is {} but `completion` is {}",
                kind(prompt),
                kind(other)
            ),
            "Make both of them strings.",
        )),
        (other, _) => Err(Fault::new(
            "prompt",
            format!("`prompt` is {}, not a string", kind(other)),
            "Put the text in quotes.",
        )),
    }
}

fn conversation(
    messages: Vec<Message>,
    first_trained: usize,
    shape: RowShape,
    key: &'static str,
) -> Result<Example, Fault> {
    if messages.len() > MAX_MESSAGES {
        return Err(Fault::new(
            key,
            format!(
                "the conversation has {} messages, more than {MAX_MESSAGES}",
                messages.len()
            ),
            "Split it into several rows.",
        ));
    }
    if !messages[first_trained.min(messages.len())..]
        .iter()
        .any(|message| message.role == ASSISTANT)
    {
        return Err(Fault::new(
            key,
            "no message is the assistant's, so there is nothing to learn",
            "Add a message whose `role` is `assistant`.",
        ));
    }
    Ok(Example::Conversation {
        messages,
        tools: Vec::new(),
        first_trained,
        shape,
    })
}

fn messages(key: &'static str, value: &Value) -> Result<Vec<Message>, Fault> {
    let Value::Array(list) = value else {
        return Err(Fault::new(
            key,
            format!("`{key}` is {}, not a list", kind(value)),
            "Make it a list of objects with `role` and `content`.",
        ));
    };
    if list.is_empty() {
        return Err(Fault::new(
            key,
            format!("`{key}` is an empty list"),
            "Add a user's and an assistant's message.",
        ));
    }
    list.iter()
        .enumerate()
        .map(|(index, value)| message(key, index + 1, value))
        .collect()
}

/// `number` is 1-based.
fn message(key: &'static str, number: usize, value: &Value) -> Result<Message, Fault> {
    let fault = |what: String, remedy: &str| Err(Fault::new(key, what, remedy));
    let Value::Object(fields) = value else {
        return fault(
            format!("message {number} is {}, not an object", kind(value)),
            "Write it as an object with `role` and `content`.",
        );
    };
    let role = match fields.get("role") {
        Some(Value::String(role)) if ROLES.contains(&role.as_str()) => role.as_str(),
        Some(Value::String(role)) => {
            return fault(
                format!("message {number} has the role {role:?}"),
                "Use `system`, `user`, `assistant`, `developer` or `tool`.",
            );
        }
        Some(other) => {
            return fault(
                format!(
                    "the role of message {number} is {}, not a string",
                    kind(other)
                ),
                "Use `system`, `user` or `assistant`.",
            );
        }
        None => {
            return fault(
                format!("message {number} has no `role`"),
                "Add `role` and `content` to every message.",
            );
        }
    };
    if fields
        .get("tool_calls")
        .is_some_and(|calls| !calls.is_null())
    {
        return fault(
            format!("message {number} calls a tool, which cannot be learnt yet"),
            "Remove the row, or write the call as text in `content`.",
        );
    }
    match fields.get("content") {
        Some(Value::String(content)) => Ok(Message::new(role, content.as_str())),
        Some(Value::Array(parts)) => match joined(parts) {
            Some(content) => Ok(Message::new(role, content)),
            None => fault(
                format!("the content of message {number} has a part that is no text"),
                "Keep only parts of the type `text`.",
            ),
        },
        Some(Value::Null) | None => fault(
            format!("message {number} has no `content`"),
            "Add the text as `content`.",
        ),
        Some(other) => fault(
            format!(
                "the content of message {number} is {}, not a string",
                kind(other)
            ),
            "Put the text in quotes.",
        ),
    }
}

/// OpenAI's list of parts, all of them texts.
fn joined(parts: &[Value]) -> Option<String> {
    parts
        .iter()
        .map(|part| match part {
            Value::String(text) => Some(text.as_str()),
            part => part.get("text").and_then(Value::as_str),
        })
        .collect()
}

fn unknown_shape(fields: &Map<String, Value>) -> Fault {
    let has = |key: &str| fields.contains_key(key);
    if has("conversations") {
        return Fault::new(
            "conversations",
            "the row has ShareGPT's shape, which cannot be read yet",
            "Rename `conversations` to `messages`, `from` to `role` and `value` to `content`, with the roles `user` and `assistant`.",
        );
    }
    if has("instruction") {
        return Fault::new(
            "instruction",
            "the row has Alpaca's shape, which cannot be read yet",
            "Rename `instruction` (with its `input`) to `prompt` and `output` to `completion`.",
        );
    }
    let keys: Vec<String> = fields
        .keys()
        .take(MAX_SHOWN_KEYS)
        .map(|key| format!("`{}`", key.chars().take(30).collect::<String>()))
        .collect();
    let what = match keys.as_slice() {
        [] => "the row has no field".to_owned(),
        keys => format!(
            "the row has none of the known fields, only {}",
            keys.join(", ")
        ),
    };
    Fault::new("", what, RENAME)
}

/// A JSON value's kind in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
