//! The contents of the zip that a run exports.

use serde::{Deserialize, Serialize};

use super::ModelSummary;

/// A file of the zip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFile {
    /// A `[r, in]` and B `[out, r]` of every tuned layer, F32.
    Adapter,
    /// `peft.LoraConfig`.
    AdapterConfig,
    /// The losses, the settings, and how to use and verify the adapter.
    Readme,
    /// What is needed to repeat the run.
    Recipe,
    /// The numbers of every step and evaluation, in order.
    Log,
    /// The loss of the base and the adapter on the held-out rows, and what was scored after the run.
    Evaluation,
    /// The held-out rows as token ids and labels, to measure the loss again; present if rows were held out.
    HeldOut,
    /// The template that rendered the rows, if the model has one.
    ChatTemplate,
}

impl ExportFile {
    /// All files, in the order of the zip.
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

    /// Whether the file is about a run; an adapter without a run is exported without it.
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

/// A form in which an adapter is exported.
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

/// A form in which an adapter may be available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportOffer {
    pub kind: ExportKind,
    /// The size of the tensors.
    pub num_bytes: u64,
    /// Why it is not available.
    pub refusal: Option<String>,
}

/// A form in which a model with a merged adapter is exported.
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

    /// The approximate size of the weights: norms, and rows that are not whole blocks, take a little more.
    pub fn about_num_bytes(self, model: &ModelSummary) -> u64 {
        // The matrix that makes the logits, which is Q8_0 in a Q4_0 file.
        let head = (model.vocab_size * model.hidden_size) as u64;
        // Blocks of 32 numbers and a scale.
        match self {
            Self::Safetensors => model.parameters * 4,
            Self::GgufF16 => model.parameters * 2,
            Self::GgufQ8_0 => model.parameters * 34 / 32,
            Self::GgufQ4_0 => model.parameters * 18 / 32 + head * 16 / 32,
        }
    }

    /// The ggml name of the type of most weights.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Safetensors => "F32",
            Self::GgufF16 => "F16",
            Self::GgufQ8_0 => "Q8_0",
            Self::GgufQ4_0 => "Q4_0",
        }
    }
}
