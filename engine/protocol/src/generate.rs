//! Requests for text.

use serde::{Deserialize, Serialize};

use super::{AdapterId, Message, TokenPreview};

/// A request for text: each model answers its own conversation. Sampling fields have the names of
/// `transformers.GenerationConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationSpec {
    /// Answered in sequence, each with the same seed.
    pub conversations: Vec<Conversation>,
    /// Whether the texts of the messages are continued as they are, without the chat template. Models without a
    /// template always do so.
    #[serde(default)]
    pub as_text: bool,
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token each time.
    pub temperature: f64,
    /// Sample among the k likeliest tokens; 0 is off.
    pub top_k: usize,
    /// Sample among the likeliest tokens that together reach this probability; 1 is off.
    pub top_p: f64,
    /// Divides (positive) or multiplies (negative) the logits of tokens already seen; 1 is off.
    pub repetition_penalty: f64,
    pub seed: u64,
}

impl Default for GenerationSpec {
    fn default() -> Self {
        Self {
            conversations: Vec::new(),
            as_text: false,
            max_new_tokens: 64,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

/// A conversation and the model that should answer next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub speaker: Speaker,
    /// From the system message, if there is one, to the user's last message.
    pub messages: Vec<Message>,
    /// JSON of each tool that may be called, for the template.
    #[serde(default)]
    pub tools: Vec<String>,
}

/// A model that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    Base,
    /// The base with this adapter.
    Adapter(AdapterId),
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationSummary {
    pub prompt_tokens: usize,
    pub new_tokens: usize,
    /// The total number of tokens of prompt and answer that the model can read.
    pub context_length: usize,
    pub elapsed_millis: f64,
    pub stop_reason: StopReason,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model closed its turn.
    EndOfTurn,
    /// `max_new_tokens` were generated.
    Length,
    /// Prompt and answer fill the context.
    ContextFull,
    /// The user stopped it.
    Stopped,
}

/// A conversation as a model reads it, token by token, up to the start of its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptPreview {
    pub speaker: Speaker,
    pub tokens: Vec<TokenPreview>,
    /// The number of learned tokens that the adapter adds before these; they have no text.
    pub virtual_tokens: usize,
    /// Tokens of prompt and answer that the model can read in all.
    pub context_length: usize,
}
