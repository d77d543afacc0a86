//! Asking the model for text.

use serde::{Deserialize, Serialize};

/// One request for text. Fields carry the names of `transformers.GenerationConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationSpec {
    /// The user's message; rendered through the chat template where the model has one.
    pub prompt: String,
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
    /// Answered one after the other, each from the same seed.
    pub variants: Vec<Variant>,
}

/// Which model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    Base,
    /// The base with the last run's best adapter.
    Tuned,
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationSummary {
    pub prompt_tokens: usize,
    pub new_tokens: usize,
    pub elapsed_millis: f64,
    pub stop_reason: StopReason,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model closed its turn.
    EndOfTurn,
    /// `max_new_tokens` were made, or the context is full.
    Length,
    /// The user stopped it.
    Stopped,
}
