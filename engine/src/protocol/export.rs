//! What is in the zip that a run leaves behind.

use serde::{Deserialize, Serialize};

use super::ModelSummary;

/// A file of the zip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFile {
    /// A `[r, in]` and B `[out, r]` of every tuned layer, F32.
    Adapter,
    /// `peft.LoraConfig`.
    AdapterConfig,
    /// Losses, settings, how to use and to verify the adapter.
    Readme,
    /// What is needed to repeat the run.
    Recipe,
    /// Numbers of every step and evaluation, in order.
    Log,
    /// Loss of base and adapter over the held-out rows, and what was scored after the run.
    Evaluation,
    /// The held-out rows as token ids and labels, to take the loss again; there where rows were held out.
    HeldOut,
    /// The template that rendered the rows, where the model has one.
    ChatTemplate,
}

impl ExportFile {
    /// In the zip's order.
    pub const ALL: [Self; 8] = [
        Self::Adapter,
        Self::AdapterConfig,
        Self::Readme,
        Self::Recipe,
        Self::Log,
        Self::Evaluation,
        Self::HeldOut,
        Self::ChatTemplate,
    ];

    /// Whether it tells of a run, so that an adapter without one leaves without it.
    pub fn is_of_run(self) -> bool {
        !matches!(
            self,
            Self::Adapter | Self::AdapterConfig | Self::ChatTemplate
        )
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Adapter => "adapter_model.safetensors",
            Self::AdapterConfig => "adapter_config.json",
            Self::Readme => "README.md",
            Self::Recipe => "recipe.json",
            Self::Log => "log.jsonl",
            Self::Evaluation => "evaluation.json",
            Self::HeldOut => "held_out.jsonl",
            Self::ChatTemplate => "chat_template.jinja",
        }
    }
}

/// A form in which an adapter leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportKind {
    Peft,
    Gguf,
    Mlx,
}

impl ExportKind {
    pub const ALL: [Self; 3] = [Self::Peft, Self::Gguf, Self::Mlx];
}

/// What can be had of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportOffer {
    pub kind: ExportKind,
    /// Of the tensors.
    pub num_bytes: u64,
    /// Why it cannot be had.
    pub refusal: Option<String>,
}

/// A form in which a model with an adapter merged into it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergedKind {
    /// A Hugging Face folder, F32.
    Safetensors,
    GgufF16,
    #[serde(rename = "gguf_q8_0")]
    GgufQ8_0,
    #[serde(rename = "gguf_q4_0")]
    GgufQ4_0,
}

impl MergedKind {
    pub const ALL: [Self; 4] = [
        Self::Safetensors,
        Self::GgufF16,
        Self::GgufQ8_0,
        Self::GgufQ4_0,
    ];

    /// Near the bytes of the weights: norms and rows that are no whole blocks take a little more.
    pub fn about_num_bytes(self, model: &ModelSummary) -> u64 {
        // Of the matrix that makes the logits, which a Q4_0 file has in Q8_0.
        let head = (model.vocab_size * model.hidden_size) as u64;
        // Blocks of 32 numbers and a scale.
        match self {
            Self::Safetensors => model.parameters * 4,
            Self::GgufF16 => model.parameters * 2,
            Self::GgufQ8_0 => model.parameters * 34 / 32,
            Self::GgufQ4_0 => model.parameters * 18 / 32 + head * 16 / 32,
        }
    }

    /// As ggml calls the type of most weights.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Safetensors => "F32",
            Self::GgufF16 => "F16",
            Self::GgufQ8_0 => "Q8_0",
            Self::GgufQ4_0 => "Q4_0",
        }
    }
}
