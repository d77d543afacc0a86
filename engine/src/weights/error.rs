//! Why a model could not be opened, and what the user can do.

use std::fmt;

use super::{
    checkpoint::VocabularyError, config::ConfigError, gguf::GgufError, json::JsonError,
    pack::NonFinite, safetensors::SafetensorsError, source::SourceError,
};
use crate::protocol::{Failure, FailureKind};

/// Tensors that one message lists.
const LISTED_PROBLEMS: usize = 5;

/// Why a model could not be opened or read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    #[error("no file was given")]
    NoFiles,
    #[error("{file} is empty")]
    Empty { file: String },
    #[error("{file} is {looks_like}, not a model")]
    NotAModel {
        file: String,
        looks_like: &'static str,
    },
    #[error("there is no weights file among these: {}", files.join(", "))]
    NoWeights { files: Vec<String> },
    #[error("more than one file has {what}: {}", files.join(", "))]
    Ambiguous {
        what: &'static str,
        files: Vec<String>,
    },
    #[error("the model is split over several safetensors files, which is not supported")]
    Sharded { file: String },
    #[error("config.json is missing")]
    MissingConfig { file: String },
    #[error("the model comes without a tokenizer")]
    MissingTokenizer { file: String, is_gguf: bool },
    #[error("{file}: {error}")]
    Source { file: String, error: SourceError },
    #[error("the GGUF file cannot be used: {error}")]
    Gguf { file: String, error: GgufError },
    #[error("the safetensors file cannot be used: {error}")]
    Safetensors {
        file: String,
        error: SafetensorsError,
    },
    #[error("{file} cannot be read: {error}")]
    Json { file: String, error: JsonError },
    #[error("{file} is too large: {num_bytes} bytes, at most {limit} are read")]
    TooLarge {
        file: String,
        num_bytes: u64,
        limit: u64,
    },
    #[error("this model cannot be used: {error}")]
    Config { file: String, error: ConfigError },
    #[error("the tokenizer in the file cannot be used: {error}")]
    Vocabulary {
        file: String,
        error: VocabularyError,
    },
    #[error("unsupported quantization {type_name} of tensor {tensor}{}", and_more(*others))]
    Quantisation {
        file: String,
        type_name: &'static str,
        tensor: String,
        /// How many other tensors are of types that are not supported.
        others: usize,
    },
    #[error("the tensors do not fit the model: {}", list(problems))]
    Tensors {
        file: String,
        problems: Vec<TensorProblem>,
    },
    #[error("tensor {tensor}, row {row}: {error}")]
    NonFinite {
        file: String,
        tensor: String,
        row: usize,
        error: NonFinite,
    },
}

/// What is wrong with one tensor; named as in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    #[error("{name} is missing")]
    Missing { name: String },
    #[error("{name} has the shape {found:?} instead of {expected:?}")]
    Shape {
        name: String,
        expected: Vec<u64>,
        found: Vec<u64>,
    },
    #[error("{name} is not part of this architecture")]
    Unexpected { name: String },
}

fn list(problems: &[TensorProblem]) -> String {
    let shown = problems.iter().take(LISTED_PROBLEMS);
    let shown: Vec<String> = shown.map(ToString::to_string).collect();
    let more = and_more(problems.len().saturating_sub(LISTED_PROBLEMS));
    format!("{}{more}", shown.join("; "))
}

fn and_more(count: usize) -> impl fmt::Display {
    fmt::from_fn(move |formatter| match count {
        0 => Ok(()),
        count => write!(formatter, " and {count} more"),
    })
}

impl ModelError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Source { .. } => FailureKind::Network,
            Self::MissingTokenizer { .. } | Self::Vocabulary { .. } => FailureKind::Tokenizer,
            Self::Sharded { .. }
            | Self::Quantisation { .. }
            | Self::Config {
                error:
                    ConfigError::Encoder { .. }
                    | ConfigError::Architecture { .. }
                    | ConfigError::Feature { .. },
                ..
            } => FailureKind::UnsupportedModel,
            _ => FailureKind::ModelFile,
        }
    }

    /// The file, and within it the byte, line, key or tensor.
    fn place(&self) -> Option<String> {
        let (file, within) = match self {
            Self::NoFiles | Self::NoWeights { .. } | Self::Ambiguous { .. } => return None,
            Self::Gguf { file, error } => (file, Some(error.place.to_string())),
            Self::Config {
                file,
                error: ConfigError::Gguf(error),
            } => (file, Some(error.place.to_string())),
            Self::Json { file, error }
            | Self::Config {
                file,
                error: ConfigError::Json(error),
            } => (file, line_and_column(error)),
            Self::Safetensors { file, error } => {
                (file, error.tensor().map(|name| format!("tensor {name}")))
            }
            Self::Quantisation { file, tensor, .. } | Self::NonFinite { file, tensor, .. } => {
                (file, Some(format!("tensor {tensor}")))
            }
            Self::Empty { file }
            | Self::NotAModel { file, .. }
            | Self::Sharded { file }
            | Self::MissingConfig { file }
            | Self::MissingTokenizer { file, .. }
            | Self::Source { file, .. }
            | Self::TooLarge { file, .. }
            | Self::Config { file, .. }
            | Self::Vocabulary { file, .. }
            | Self::Tensors { file, .. } => (file, None),
        };
        Some(match within {
            None => file.clone(),
            Some(within) => format!("{file}, {within}"),
        })
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::NoFiles
            | Self::NoWeights { .. }
            | Self::Empty { .. }
            | Self::NotAModel { .. } => {
                "Choose one .gguf file, or model.safetensors together with config.json and tokenizer.json."
            }
            Self::Ambiguous { .. } => "Choose the files of one model only.",
            Self::Sharded { .. } => {
                "Choose a model in one file: a .gguf file, or a single model.safetensors."
            }
            Self::MissingConfig { .. } => "Choose the config.json from the same folder as well.",
            Self::MissingTokenizer { is_gguf: false, .. } => {
                "Choose the tokenizer.json from the same folder as well."
            }
            Self::MissingTokenizer { is_gguf: true, .. } | Self::Vocabulary { .. } => {
                "Choose a GGUF file that contains its vocabulary, as llama.cpp writes it."
            }
            Self::Source { .. } => "Choose the file again; it may have been moved or changed.",
            Self::Gguf { .. }
            | Self::Safetensors { .. }
            | Self::NonFinite { .. }
            | Self::Json { .. } => "Download the file again; it is damaged or incomplete.",
            Self::TooLarge { .. } => "Choose the file that belongs to this model.",
            Self::Config { error, .. } => match error {
                ConfigError::Encoder { .. } => {
                    "Choose a model that writes text, such as SmolLM2-135M-Instruct."
                }
                ConfigError::Architecture { .. } | ConfigError::NoArchitecture => {
                    "Choose a Llama-class model (architecture llama), such as SmolLM2 or TinyLlama."
                }
                ConfigError::Feature { .. } => {
                    "Choose a Llama-class model without this feature, such as SmolLM2."
                }
                _ => "Check that the settings belong to this model, or download it again.",
            },
            Self::Quantisation { .. } => {
                "Choose a file with F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0 or Q5_1 weights."
            }
            Self::Tensors { .. } => {
                "Check that weights and config.json belong together, and that the model is a plain Llama."
            }
        }
    }
}

fn line_and_column(error: &JsonError) -> Option<String> {
    match error {
        JsonError::TooDeep => None,
        JsonError::Invalid { line, column, .. } => Some(format!("line {line}, column {column}")),
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let failure = Self::new(error.kind(), error.to_string()).remedy(error.remedy());
        match error.place() {
            None => failure,
            Some(place) => failure.at(place),
        }
    }
}
