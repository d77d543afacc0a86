//! One row of a dataset as it was written: text and its roles, before any template or token.

use std::iter;

use serde::{Deserialize, Serialize};

use crate::protocol::{Message, RowShape, RowSummary};

/// Characters of a text that the table shows.
const SUMMARY_CHARS: usize = 300;

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

impl Row {
    /// The row for the page's table.
    pub fn summary(&self) -> RowSummary {
        let (prompt, completion, num_turns) = match &self.example {
            Example::Pair { prompt, completion } => (prompt.as_str(), completion.as_str(), 2),
            Example::Text(text) => ("", text.as_str(), 1),
            Example::Conversation { messages, .. } => {
                let last = messages
                    .iter()
                    .rposition(|message| message.role == ASSISTANT)
                    .unwrap_or(0);
                let asked = messages[..last]
                    .iter()
                    .rfind(|message| message.role == USER);
                (
                    asked.map_or("", |message| message.content.as_str()),
                    messages.get(last).map_or("", said),
                    messages.len(),
                )
            }
        };
        RowSummary {
            row: self.row,
            shape: self.example.shape(),
            prompt: cut(prompt),
            completion: cut(completion),
            num_turns,
            findings: Vec::new(),
        }
    }
}

/// A message's content, or its first tool call where it has none.
fn said(message: &Message) -> &str {
    match message.tool_calls.first() {
        Some(call) if message.content.trim().is_empty() => call,
        _ => &message.content,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SUMMARY_CHARS) {
        Some((end, _)) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}
