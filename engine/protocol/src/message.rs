//! A message of a conversation, as datasets write it and as chat templates read it.

use serde::{Deserialize, Serialize};

/// One message, with what OpenAI's `messages` carry besides role and content.
///
/// JSON values are kept as the text of the row, so that templates which write them out keep the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    /// Empty where the row has `null`, as it does next to tool calls.
    #[serde(default)]
    pub content: String,
    /// What was thought before `content`; templates find it as `reasoning_content` and as `thinking`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// JSON of each call, as `{"type": "function", "function": {"name": .., "arguments": ..}}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<String>,
    /// The call that a tool's message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Who speaks, or the tool that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the dataset says that this message is read but never learned, as OpenAI's `"weight": 0` does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_context: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            ..Self::default()
        }
    }
}
