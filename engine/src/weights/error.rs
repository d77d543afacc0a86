//! Why a model could not be opened, and what the user can do.
//!
//! A [`ModelError`] knows three things that the page shows: the message (its `Display`), the place in the
//! files, and a remedy. They become a [`Failure`], whose [`FailureKind`] decides what the page offers; nothing
//! reads the message again.
//!
//! ```text
//! what    the type Q4_K of tensor blk.0.attn_k.weight is not supported yet     place   model.gguf, tensor blk.0...
//! remedy  Take the Q8_0, F16, BF16 or F32 file of this model. ...
//! ```

use std::fmt;

use protocol::{Failure, FailureKind};

use super::{
    checkpoint::{Foreign, VocabularyError},
    config::{ConfigError, architecture_remedy},
    gguf::{GgufError, GgufProblem},
    json::JsonError,
    pack::NonFinite,
    safetensors::SafetensorsError,
    source::SourceError,
};

/// The number of tensors that one message lists; the others are only counted. The config.json of another model can
/// make every tensor of every block a problem.
const LISTED_PROBLEMS: usize = 5;

/// Why a model could not be opened or read. `file` is the name by which the user knows the file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The list of files was empty.
    #[error("no file was given")]
    NoFiles,
    /// The only file has no bytes.
    #[error("{file} is empty")]
    Empty { file: String },
    /// A file of another format, or text that cannot be read.
    #[error("{file} is {}{}", foreign.looks_like, if foreign.is_model { "" } else { ", not a model" })]
    NotAModel { file: String, foreign: Foreign },
    /// A GGUF file of another purpose, such as an adapter or an image projector.
    #[error("{file} is {what}, not a model")]
    OtherGguf {
        file: String,
        /// What the file is, with its article.
        what: &'static str,
        /// What to choose in its place.
        remedy: &'static str,
    },
    /// Safetensors whose names are an adapter's.
    #[error("{file} holds an adapter, not a model")]
    Adapter { file: String },
    /// Files that belong to a model, without its weights.
    #[error("there is no weights file among these: {}", files.join(", "))]
    NoWeights { files: Vec<String> },
    /// Several files of one role, of which the user has to choose.
    #[error("more than one file has {what}: {}", files.join(", "))]
    Ambiguous {
        /// The role, such as `weights` or `config.json`.
        what: &'static str,
        files: Vec<String>,
    },
    /// Some shards of a checkpoint were not given.
    #[error("{} of the model's {count} files of weights {}: {}", missing.len(), are_missing(missing.len()), missing.join(", "))]
    MissingParts {
        /// One that is there.
        file: String,
        /// The names of the missing files.
        missing: Vec<String>,
        /// How many files the weights have in all.
        count: usize,
    },
    /// `model.safetensors.index.json` without any of its shards.
    #[error("{file} only lists the files of the weights, and none of them was given")]
    OnlyIndex { file: String },
    /// A part of a model that `llama-gguf-split` cut up.
    #[error("this GGUF model is split into several files")]
    SplitGguf { file: String },
    /// Safetensors without config.json.
    #[error("config.json is missing")]
    MissingConfig { file: String },
    /// Neither tokenizer.json nor, in a GGUF file, a vocabulary.
    #[error("the model comes without a tokenizer")]
    MissingTokenizer { file: String, is_gguf: bool },
    /// A SentencePiece model, or vocab.json with merges.txt, where tokenizer.json is needed; `other` is the
    /// file's name.
    #[error("the tokenizer comes only as {other}, which Inlay does not read")]
    OtherTokenizer { file: String, other: String },
    /// The bytes cannot be read any more.
    #[error("{file}: {error}")]
    Source { file: String, error: SourceError },
    /// A GGUF header that cannot be used.
    #[error("the GGUF file cannot be used: {error}")]
    Gguf { file: String, error: GgufError },
    /// A safetensors header that cannot be used.
    #[error("the safetensors file cannot be used: {error}")]
    Safetensors {
        file: String,
        error: SafetensorsError,
    },
    /// A damaged JSON file among those that a model needs.
    #[error("{file} cannot be read: {error}")]
    Json { file: String, error: JsonError },
    /// A file beyond what is read of its kind, or a matrix beyond one allocation of wasm.
    #[error("{file} is too large: {num_bytes} bytes, at most {limit} are read")]
    TooLarge {
        file: String,
        num_bytes: u64,
        limit: u64,
    },
    /// The weights alone are more than the engine can hold.
    #[error(
        "this model is too large: its weights take {}, and a browser tab can hold at most {} of them",
        gigabytes(*num_bytes),
        gigabytes(*limit)
    )]
    TooHeavy {
        file: String,
        num_bytes: u64,
        limit: u64,
    },
    /// Settings that cannot be used, or that describe a model which is not supported.
    #[error("this model cannot be used: {error}")]
    Config { file: String, error: ConfigError },
    /// A vocabulary in a GGUF file that contradicts itself.
    #[error("the tokenizer in the file cannot be used: {error}")]
    Vocabulary {
        file: String,
        error: VocabularyError,
    },
    /// A tensor that the model needs is of a type that is not read.
    #[error(
        "{}the type {type_name} of tensor {tensor}{} is not supported yet",
        file_type.map_or(String::new(), |name| format!("this is {} {name} file, and ", article(name))),
        and_more(*others)
    )]
    Quantization {
        file: String,
        /// What the whole file is called for its types, such as `Q4_K_M`.
        file_type: Option<&'static str>,
        type_name: &'static str,
        tensor: String,
        /// How many other tensors are of types that are not supported.
        others: usize,
        is_gguf: bool,
    },
    /// Tensors that are missing, superfluous, of another shape, or there twice. Opening a model collects all of
    /// them in one error.
    #[error("the tensors do not fit the model: {}", list(problems))]
    Tensors {
        file: String,
        problems: Vec<TensorProblem>,
    },
    /// A weight or a block's scale that is NaN or infinite.
    #[error("tensor {tensor}, row {row}: {error}")]
    NonFinite {
        file: String,
        tensor: String,
        /// The row in the order of the file.
        row: usize,
        error: NonFinite,
    },
}

/// What is wrong with one tensor; named as in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    /// The architecture has it and the file does not.
    #[error("{name} is missing")]
    Missing { name: String },
    /// Both shapes are slowest dimension first.
    #[error("{name} has the shape {found:?} instead of {expected:?}")]
    Shape {
        name: String,
        expected: Vec<u64>,
        found: Vec<u64>,
    },
    /// The file has it and the architecture does not. It is refused rather than skipped, since a bias or a norm
    /// that is left out changes every answer.
    #[error("{name} is not part of this architecture")]
    Unexpected { name: String },
    /// Two tensors have the same name once wrappers' prefixes are gone, or two shards hold it.
    #[error("{name} is there twice")]
    Repeated { name: String },
}

/// Joins the first [`LISTED_PROBLEMS`] problems and counts the others.
fn list(problems: &[TensorProblem]) -> String {
    let shown = problems.iter().take(LISTED_PROBLEMS);
    let shown: Vec<String> = shown.map(ToString::to_string).collect();
    let more = and_more(problems.len().saturating_sub(LISTED_PROBLEMS));
    format!("{}{more}", shown.join("; "))
}

/// Writes bytes in gigabytes (10^9), rounded up to one decimal place.
///
/// ```text
/// 3_221_225_472    3.3 GB
/// ```
fn gigabytes(num_bytes: u64) -> String {
    let tenths = num_bytes.div_ceil(100_000_000);
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// Returns the article before the name of a type, by how its first letter is pronounced: "an IQ4_XS file", "an
/// MXFP4 file", "a Q4_K_M file".
fn article(name: &str) -> &'static str {
    if name.starts_with(['I', 'M']) {
        "an"
    } else {
        "a"
    }
}

/// Returns the verb for a number of missing files.
fn are_missing(count: usize) -> &'static str {
    if count == 1 {
        "is missing"
    } else {
        "are missing"
    }
}

/// Writes " and 3 more", or nothing for zero.
fn and_more(count: usize) -> impl fmt::Display {
    fmt::from_fn(move |formatter| match count {
        0 => Ok(()),
        count => write!(formatter, " and {count} more"),
    })
}

impl ModelError {
    /// Returns the kind that decides what the page offers. A [`Self::Source`] counts as a failure of the network;
    /// one inside of a header's error counts as a problem of the file.
    fn kind(&self) -> FailureKind {
        match self {
            Self::Source { .. } => FailureKind::Network,
            Self::MissingTokenizer { .. }
            | Self::OtherTokenizer { .. }
            | Self::Vocabulary { .. } => FailureKind::Tokenizer,
            Self::SplitGguf { .. }
            | Self::Quantization { .. }
            | Self::TooHeavy { .. }
            | Self::Config {
                error:
                    ConfigError::Encoder { .. }
                    | ConfigError::Architecture { .. }
                    | ConfigError::Quantized { .. }
                    | ConfigError::Feature { .. },
                ..
            } => FailureKind::UnsupportedModel,
            _ => FailureKind::ModelFile,
        }
    }

    /// Returns the file, and within it the byte, line, key or tensor; `None` where no single file is concerned.
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
            Self::Quantization { file, tensor, .. } | Self::NonFinite { file, tensor, .. } => {
                (file, Some(format!("tensor {tensor}")))
            }
            Self::Empty { file }
            | Self::NotAModel { file, .. }
            | Self::MissingParts { file, .. }
            | Self::OnlyIndex { file }
            | Self::SplitGguf { file }
            | Self::OtherGguf { file, .. }
            | Self::Adapter { file }
            | Self::OtherTokenizer { file, .. }
            | Self::MissingConfig { file }
            | Self::MissingTokenizer { file, .. }
            | Self::Source { file, .. }
            | Self::TooLarge { file, .. }
            | Self::TooHeavy { file, .. }
            | Self::Config { file, .. }
            | Self::Vocabulary { file, .. }
            | Self::Tensors { file, .. } => (file, None),
        };
        Some(match within {
            None => file.clone(),
            Some(within) => format!("{file}, {within}"),
        })
    }

    /// Returns what the user can do, in whole sentences.
    fn remedy(&self) -> &'static str {
        match self {
            Self::NotAModel { foreign, .. } => foreign.remedy,
            Self::OtherGguf { remedy, .. } => remedy,
            Self::Adapter { .. } => {
                "Load the model that it was made for, then add the adapter's files under Adapters."
            }
            Self::NoFiles | Self::NoWeights { .. } | Self::Empty { .. } => {
                "Choose one .gguf file, or model.safetensors together with config.json and tokenizer.json."
            }
            Self::Ambiguous { .. } => {
                "Choose the files of one model only: one .gguf file, or the safetensors of one folder."
            }
            Self::MissingParts { .. } => {
                "Choose all of the files together, with config.json and tokenizer.json."
            }
            Self::OnlyIndex { .. } => {
                "Choose the .safetensors files that it lists, with config.json and tokenizer.json."
            }
            Self::SplitGguf { .. } => {
                "Merge its parts with llama.cpp: `llama-gguf-split --merge FIRST-PART.gguf model.gguf`. Then choose model.gguf."
            }
            Self::OtherTokenizer { .. } => {
                "Choose a tokenizer.json as well. Where the model's page has none, transformers makes it: `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)`."
            }
            Self::MissingConfig { .. } => "Choose the config.json from the same folder as well.",
            Self::MissingTokenizer { is_gguf: false, .. } => {
                "Choose the tokenizer.json from the same folder as well."
            }
            Self::MissingTokenizer { is_gguf: true, .. } | Self::Vocabulary { .. } => {
                "Choose a GGUF file that contains its vocabulary, as llama.cpp writes it."
            }
            Self::Source { .. } => "Choose the file again; it may have been moved or changed.",
            Self::Gguf { error, .. } => gguf_remedy(&error.problem),
            Self::Safetensors { .. } | Self::NonFinite { .. } | Self::Json { .. } => {
                "Download the file again; it is damaged or incomplete."
            }
            Self::TooLarge { .. } => "Choose the file that belongs to this model.",
            Self::TooHeavy { .. } => {
                "Take a model with fewer parameters, such as SmolLM2-360M or TinyLlama-1.1B, or this one with fewer bits per weight: its Q8_0 or Q4_0 .gguf file."
            }
            Self::Config { error, .. } => match error {
                ConfigError::Encoder { .. } => {
                    "Choose a model that writes text, such as SmolLM2-135M-Instruct."
                }
                ConfigError::Architecture { architecture } => architecture_remedy(architecture),
                ConfigError::NoArchitecture => {
                    "Choose a Llama or Qwen model, such as SmolLM2, TinyLlama or Qwen3-0.6B."
                }
                ConfigError::Quantized { .. } => {
                    "Take the unquantized repository of the same model (the name without -bnb-4bit, -GPTQ, -AWQ, -FP8 or -4bit), or a .gguf file of it in Q8_0 or F16."
                }
                ConfigError::Feature { .. } => {
                    "Choose a Llama or Qwen model without it, such as SmolLM2, TinyLlama or Qwen3-0.6B."
                }
                _ => "Check that the settings belong to this model, or download it again.",
            },
            Self::Quantization { is_gguf: true, .. } => {
                "Take the Q8_0, F16, BF16 or F32 file of this model. Q5_1, Q5_0, Q4_1 and Q4_0 load as well, unless a tensor in them is of another type: llama.cpp often stores the head as Q6_K."
            }
            Self::Quantization { .. } => {
                "Take the model's repository in BF16, F16 or F32, or a .gguf file of it in Q8_0 or F16."
            }
            Self::Tensors { problems, .. } if is_without_head(problems) => {
                "If the model shares its head with its embedding, set \"tie_word_embeddings\": true in config.json; otherwise download the weights again."
            }
            Self::Tensors { .. } => {
                "Check that weights and config.json belong together, and that the model's layers are those of its family."
            }
        }
    }
}

/// Returns whether the head alone is missing, which is most often a tied model whose config does not say so.
fn is_without_head(problems: &[TensorProblem]) -> bool {
    matches!(problems, [TensorProblem::Missing { name }] if name == "lm_head.weight")
}

/// Returns what helps against a problem of a GGUF header.
fn gguf_remedy(problem: &GgufProblem) -> &'static str {
    match problem {
        GgufProblem::BigEndian => {
            "Take the model's usual (little-endian) file, or convert this one: `gguf-convert-endian FILE little`, from Python's gguf package."
        }
        GgufProblem::Version(_) => "Convert the model again with a current llama.cpp.",
        GgufProblem::TensorType(_) | GgufProblem::NestedArray => {
            "The file may be newer than Inlay: take the Q8_0 or F16 file of this model."
        }
        _ => "Download the file again; it is damaged or incomplete.",
    }
}

/// Returns the place within a JSON file, where there is one.
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
