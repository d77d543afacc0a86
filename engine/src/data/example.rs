//! One row of a dataset as it was written: text and its roles, before any template or token.

use std::iter;

use serde::{Deserialize, Serialize};

use crate::protocol::{Message, RowShape};

/// A usable row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// 0-based, counted over all rows of the files, refused ones included.
    pub row: usize,
    pub example: Example,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Example {
    /// A conversation of at least one assistant's turn.
    Conversation {
        messages: Vec<Message>,
        /// JSON of each tool that may be called, for the template.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tools: Vec<String>,
        /// Assistant's turns before this message are context only: a `prompt` that is a conversation itself.
        first_trained: usize,
        shape: RowShape,
    },
    /// `prompt` and `completion` as texts.
    Pair { prompt: String, completion: String },
    /// `text`
    Text(String),
}

impl Example {
    pub fn shape(&self) -> RowShape {
        match self {
            Self::Conversation { shape, .. } => *shape,
            Self::Pair { .. } => RowShape::PromptCompletion,
            Self::Text(_) => RowShape::Text,
        }
    }

    /// The texts that are learnt: contents, thoughts and tool calls.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        let (messages, single) = match self {
            Self::Conversation {
                messages,
                first_trained,
                ..
            } => (messages.get(*first_trained..).unwrap_or_default(), None),
            Self::Pair { completion, .. } => (&[][..], Some(completion.as_str())),
            Self::Text(text) => (&[][..], Some(text.as_str())),
        };
        messages
            .iter()
            .filter(|message| message.role == ASSISTANT)
            .flat_map(|message| {
                iter::once(&message.content)
                    .chain(&message.reasoning_content)
                    .chain(&message.tool_calls)
            })
            .map(String::as_str)
            .chain(single)
    }
}

/// The role whose turns are learnt.
pub(crate) const ASSISTANT: &str = "assistant";
pub(crate) const USER: &str = "user";
