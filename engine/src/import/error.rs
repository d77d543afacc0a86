//! Why an adapter cannot be taken.

use crate::{
    protocol::{Failure, FailureKind},
    weights::{json::JsonError, safetensors::SafetensorsError, source::SourceError},
};

/// Reasons told one by one; of more only their number is told.
const MAX_TOLD: usize = 24;

/// A point in which an adapter and the model, or its config and its tensors, differ.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Mismatch {
    #[error("{key}: {what}")]
    Config { key: String, what: String },
    #[error("{tensor} is missing")]
    Missing { tensor: String },
    #[error("{tensor} matches nothing in the config and the model")]
    Unexpected { tensor: String },
    #[error("{tensor} has the shape {actual:?}, but the config and the model need {expected:?}")]
    Shape {
        tensor: String,
        actual: Vec<u64>,
        expected: Vec<usize>,
    },
    #[error("{tensor} has the type {type_name}; F32, F16 and BF16 are supported")]
    Type {
        tensor: String,
        type_name: &'static str,
    },
    #[error("{tensor} holds {value}")]
    NonFinite { tensor: String, value: f64 },
}

impl Mismatch {
    /// The tensor, or the config's key.
    pub fn place(&self) -> &str {
        match self {
            Self::Config { key, .. } => key,
            Self::Missing { tensor }
            | Self::Unexpected { tensor }
            | Self::Shape { tensor, .. }
            | Self::Type { tensor, .. }
            | Self::NonFinite { tensor, .. } => tensor,
        }
    }
}

/// Files that are no adapter for the loaded model.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("adapter_config.json is missing")]
    NoConfig { others: Vec<String> },
    #[error("adapter_model.safetensors is missing")]
    NoWeights,
    #[error("there are several weights files: {}", files.join(", "))]
    SeveralWeights { files: Vec<String> },
    #[error("{file} is a PyTorch pickle; pickles can run programs, so it is not opened")]
    Pickle { file: String },
    #[error("{file} has {num_bytes} bytes, which is too large for this file")]
    TooLarge { file: String, num_bytes: u64 },
    #[error("adapter_config.json is damaged: {0}")]
    Config(JsonError),
    #[error("the weights cannot be read: {0}")]
    Header(#[from] SafetensorsError),
    #[error("the archive cannot be read: {0}")]
    Archive(#[from] zip::result::ZipError),
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("the adapter does not fit the loaded model: {}", counted(mismatches.len()))]
    Mismatches {
        /// The base that it was made for.
        base: Option<String>,
        /// Never empty.
        mismatches: Vec<Mismatch>,
    },
}

fn counted(num_reasons: usize) -> String {
    match num_reasons {
        1 => "1 difference".to_owned(),
        more => format!("{more} differences"),
    }
}

/// A reason a line.
fn told(mismatches: &[Mismatch]) -> String {
    let first = mismatches.iter().take(MAX_TOLD).map(ToString::to_string);
    let mut lines: Vec<String> = first.collect();
    match mismatches.len().saturating_sub(MAX_TOLD) {
        0 => {}
        more => lines.push(format!("and {more} more")),
    }
    lines.join("\n")
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let what = error.to_string();
        let failure = Failure::new(FailureKind::Adapter, what);
        match error {
            ImportError::NoConfig { others } if others.is_empty() => {
                failure.remedy("Choose adapter_config.json together with adapter_model.safetensors.")
            }
            ImportError::NoConfig { others } => failure.at(others.join(", ")).remedy(
                "Choose adapter_config.json together with adapter_model.safetensors, as PEFT saves them.",
            ),
            ImportError::NoWeights => {
                failure.remedy("Choose adapter_model.safetensors together with adapter_config.json.")
            }
            ImportError::SeveralWeights { .. } => failure.remedy("Choose one adapter at a time."),
            ImportError::Pickle { .. } => {
                failure.remedy("Save it with `safe_serialization=True`, the default in newer versions of PEFT.")
            }
            ImportError::TooLarge { .. } => {
                failure.remedy("Choose the files as PEFT or Inlay saved them.")
            }
            ImportError::Config(_) | ImportError::Header(_) | ImportError::Archive(_) => {
                failure.remedy("Save or download it again.")
            }
            ImportError::Source(_) => failure.remedy("Choose the files again."),
            ImportError::Mismatches { base, mismatches } => {
                let failure = failure.at(told(&mismatches));
                match base {
                    Some(base) => {
                        failure.remedy(format!("It was made for {base}: load that model, or choose another adapter."))
                    }
                    None => failure.remedy("Load the model it was made for, or choose another adapter."),
                }
            }
        }
    }
}
