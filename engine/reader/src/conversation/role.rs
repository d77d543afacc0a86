//! Who speaks: the names that people give to the roles.

use serde_json::Value;

use crate::{conversation::kind, recognize::plain};

/// The names of roles, without case and punctuation, and the role that templates know.
const ROLES: [(&str, &str); 47] = [
    ("system", "system"),
    ("developer", "developer"),
    ("sys", "system"),
    ("systemprompt", "system"),
    ("systemmessage", "system"),
    ("user", "user"),
    ("human", "user"),
    ("customer", "user"),
    ("client", "user"),
    ("prompter", "user"),
    ("instruction", "user"),
    ("question", "user"),
    ("prompt", "user"),
    ("query", "user"),
    ("humanmessage", "user"),
    ("usermessage", "user"),
    ("assistant", "assistant"),
    ("gpt", "assistant"),
    ("gpt3", "assistant"),
    ("gpt35", "assistant"),
    ("gpt35turbo", "assistant"),
    ("gpt4", "assistant"),
    ("gpt4o", "assistant"),
    ("chatgpt", "assistant"),
    ("claude", "assistant"),
    ("gemini", "assistant"),
    ("bot", "assistant"),
    ("model", "assistant"),
    ("ai", "assistant"),
    ("llm", "assistant"),
    ("chatbot", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("agent", "assistant"),
    ("answer", "assistant"),
    ("response", "assistant"),
    ("completion", "assistant"),
    ("aimessage", "assistant"),
    ("assistantmessage", "assistant"),
    ("functioncall", "assistant"),
    ("toolcall", "assistant"),
    ("tool", "tool"),
    ("function", "tool"),
    ("observation", "tool"),
    ("toolresponse", "tool"),
    ("functionresponse", "tool"),
    ("ipython", "tool"),
];

/// A speaker: the role that templates know, and whether the message is a call of a tool by that very role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speaker {
    pub role: &'static str,
    pub is_call: bool,
}

/// The speaker by that name.
pub(super) fn speaker(written: &str) -> Option<Speaker> {
    let name = plain(written);
    let (_, role) = ROLES.iter().find(|(known, _)| *known == name)?;
    Some(Speaker {
        role,
        is_call: ["functioncall", "toolcall"].contains(&name.as_str()),
    })
}

/// The name of a speaker, also one inside an object (`"author": {"role": "user"}`).
///
/// # Errors
/// What it is instead, in words.
pub(super) fn written(value: &Value) -> Result<&str, &'static str> {
    let inner = value.get("role").or_else(|| value.get("name"));
    match (value, inner) {
        (Value::String(name), _) | (_, Some(Value::String(name))) => Ok(name),
        _ => Err(kind(value)),
    }
}
