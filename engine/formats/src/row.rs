//! One row of a dataset as it was written: text and its roles, before any template or token.

use std::iter;

use protocol::{Message, RowShape, TrainOn};
use serde::{Deserialize, Serialize};

/// A usable row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// 0-based, counted over all rows of the files, including refused ones.
    pub row: usize,
    pub example: Example,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Example {
    /// A conversation with at least one assistant turn.
    Conversation {
        messages: Vec<Message>,
        /// JSON of each tool that may be called, for the template.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tools: Vec<String>,
        /// Assistant turns before this message are context only: a `prompt` that is itself a conversation.
        first_trained: usize,
        /// The shape of the conversation: only in [`RowShape::Messages`] may templates mark the turns.
        shape: RowShape,
    },
    /// `prompt` and `completion` as texts.
    Pair { prompt: String, completion: String },
    /// `text`
    Text(String),
}

impl Example {
    /// The messages of a conversation that are learned, ascending: the assistant's, its last, or all.
    ///
    /// A message that the dataset marks as context is never among them, so "the last" is the last one that may be learned.
    pub fn learned_messages(&self, train_on: TrainOn) -> Vec<usize> {
        let Self::Conversation {
            messages,
            first_trained,
            ..
        } = self
        else {
            return Vec::new();
        };
        let is_learned = |&index: &usize| {
            let message = &messages[index];
            let is_wanted = train_on == TrainOn::Everything
                || (index >= *first_trained && message.role == ASSISTANT);
            is_wanted && !message.is_context
        };
        let mut learned: Vec<usize> = (0..messages.len()).filter(is_learned).collect();
        if train_on == TrainOn::LastTurn {
            learned.drain(..learned.len().saturating_sub(1));
        }
        learned
    }

    /// All texts of the row: contents and thoughts.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Conversation { messages, .. } => messages
                .iter()
                .flat_map(|message| iter::once(&message.content).chain(&message.reasoning_content))
                .map(String::as_str)
                .collect(),
            Self::Pair { prompt, completion } => vec![prompt, completion],
            Self::Text(text) => vec![text],
        }
    }

    /// Like [`Self::texts`], mutably.
    pub fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::Conversation { messages, .. } => messages
                .iter_mut()
                .flat_map(|message| {
                    iter::once(&mut message.content).chain(&mut message.reasoning_content)
                })
                .collect(),
            Self::Pair { prompt, completion } => vec![prompt, completion],
            Self::Text(text) => vec![text],
        }
    }

    /// The texts that are learned: contents, thoughts and tool calls.
    pub fn targets(&self, train_on: TrainOn) -> Vec<&str> {
        match self {
            Self::Conversation { messages, .. } => self
                .learned_messages(train_on)
                .into_iter()
                .flat_map(|index| {
                    let message = &messages[index];
                    iter::once(&message.content)
                        .chain(&message.reasoning_content)
                        .chain(&message.tool_calls)
                })
                .map(String::as_str)
                .collect(),
            Self::Pair { prompt, completion } if train_on == TrainOn::Everything => {
                vec![prompt, completion]
            }
            Self::Pair { completion, .. } => vec![completion],
            Self::Text(text) => vec![text],
        }
    }
}

/// The role whose turns are learned.
pub const ASSISTANT: &str = "assistant";
pub const USER: &str = "user";
