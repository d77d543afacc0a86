//! Why an adapter cannot be taken, and what helps.
//!
//! All mismatches are collected before anything is told, so that a user sees at once that, say, 96 tensors are
//! wider than the model's: that is another base and not a damaged file.
//!
//! ```text
//! what    the adapter cannot be used here: lora_bias: a bias on B is not supported, and 2 more reasons
//! place   one reason per line, at most 24
//! remedy  of the first reason that another base would not mend; if there is none, to load the base
//! ```

use protocol::{Failure, FailureKind};

use crate::{
    adapter::peft::Remedy,
    weights::{
        gguf::GgufError, json::JsonError, safetensors::SafetensorsError, source::SourceError,
    },
};

/// The maximum number of reasons that are listed; of more, only the number is told.
const MAX_TOLD: usize = 24;

impl Remedy {
    /// Returns the remedy as a sentence for the user; `base` is the model that the adapter names.
    fn text(self, base: Option<&str>) -> String {
        let text = match self {
            Self::Merge => {
                "Merge it into its base with PEFT (`PeftModel.from_pretrained(BASE, ADAPTER).merge_and_unload().save_pretrained(FOLDER)`), save the adapter's tokenizer into the same folder, and load that folder as the model."
            }
            Self::Fuse => {
                "Load the trained model itself, as mlx-lm saves it with `mlx_lm.fuse`, in place of the base."
            }
            Self::Convert => {
                "Save it again as PEFT's plain form: `save_pretrained` with `path_initial_model_for_weight_conversion` (PiSSA, OLoRA, CorDA, LoRA-GA), or `save_projection=True` (VeRA)."
            }
            Self::Complete => {
                "Save the adapter again: its config is incomplete, or belongs to other weights."
            }
            Self::Precision => "Save it in float32, float16 or bfloat16.",
            Self::Train => {
                "Take an earlier checkpoint, or train it again with a lower learning rate."
            }
            Self::Task => "Choose an adapter of a model that writes text (task_type CAUSAL_LM).",
            Self::Base => {
                return match base {
                    Some(base) => {
                        format!(
                            "It was made for {base}: load that model, or choose another adapter."
                        )
                    }
                    None => "Load the model it was made for, or choose another adapter.".to_owned(),
                };
            }
        };
        text.to_owned()
    }
}

/// A point in which an adapter and the model, or its config and its tensors, differ. Tensors have the names that PEFT
/// would give them, whichever program wrote the file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// Something that the config, or a tensor's name, asks for and that is not supported or makes no sense.
    #[error("{key}: {what}")]
    Config {
        /// The config's key, or the tensor's name.
        key: String,
        /// The reason in lower case, to follow the key.
        what: String,
        /// What helps.
        remedy: Remedy,
    },
    /// The layout needs the tensor and the file lacks it.
    #[error("{tensor} is missing")]
    Missing { tensor: String },
    /// The file has the tensor and the layout does not.
    #[error("{tensor} matches nothing in the config and the model")]
    Unexpected { tensor: String },
    /// Both shapes are slowest dimension first.
    #[error("{tensor} has the shape {actual:?}, but the config and the model need {expected:?}")]
    Shape {
        tensor: String,
        /// As the file has it, or its transpose where the program stores it so.
        actual: Vec<u64>,
        /// As the layout of the config over the model has it.
        expected: Vec<usize>,
    },
    /// A type that adapters are not read in, such as I64 or a quantized one; `type_name` is the format's own.
    #[error("{tensor} has the type {type_name}; F32, F16 and BF16 are supported")]
    Type {
        tensor: String,
        type_name: &'static str,
    },
    /// The first number of the tensor that is NaN or infinite.
    #[error("{tensor} holds {value}")]
    NonFinite { tensor: String, value: f64 },
}

impl Mismatch {
    /// Makes a [`Mismatch::Config`].
    pub(super) fn config(key: &str, what: impl Into<String>, remedy: Remedy) -> Self {
        let (key, what) = (key.to_owned(), what.into());
        Self::Config { key, what, remedy }
    }

    /// Returns what helps.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Config { remedy, .. } => *remedy,
            Self::Missing { .. } | Self::Unexpected { .. } | Self::Shape { .. } => Remedy::Base,
            Self::Type { .. } => Remedy::Precision,
            Self::NonFinite { .. } => Remedy::Train,
        }
    }

    /// Returns the tensor, or the config's key, without the reason.
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

/// Why an adapter's zip cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// There is no directory at the end, or it does not parse.
    #[error("its directory is damaged")]
    Directory,
    /// More entries, or a longer directory, than a folder of checkpoints has.
    #[error("it has {num_entries} entries, more than an adapter's archive has")]
    TooManyEntries { num_entries: u64 },
    /// Entries that share bytes, as in archives that expand without end.
    #[error("several of its entries share the same bytes")]
    Overlap,
    /// The entry's header, size or checksum is wrong.
    #[error("its entry {0:?} is damaged")]
    Entry(String),
    /// A name with `..` or an absolute path.
    #[error("its entry {0:?} points outside the archive")]
    Outside(String),
    /// The entry needs a password.
    #[error("its entry {0:?} is encrypted")]
    Encrypted(String),
    /// Neither stored nor deflated.
    #[error("its entry {name:?} is compressed with {method}")]
    Method { name: String, method: String },
    /// The sizes that the directory states add up to more than an adapter's archive can hold.
    #[error(
        "the adapter's files in it expand to {total} bytes, more than the {limit} allowed (twice the archive's size and 16 MB)"
    )]
    Bomb { total: u64, limit: u64 },
}

impl ArchiveError {
    /// Returns what the user can do. Whatever makes an archive suspicious is no concern once it is unpacked.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Directory | Self::Entry(_) => "Save or download it again.",
            Self::Method { .. } => {
                "Create the archive again with the usual compression (deflate), or unpack it and choose its files."
            }
            Self::TooManyEntries { .. }
            | Self::Overlap
            | Self::Outside(_)
            | Self::Encrypted(_)
            | Self::Bomb { .. } => {
                "Unpack it, and choose adapter_config.json and adapter_model.safetensors."
            }
        }
    }
}

/// Why files are no adapter for the loaded model. Everything except [`Self::Mismatches`] ends the reading at once, as
/// nothing can be compared any more.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Weights without a config, or no usable file at all; `others` are the names of the files that were no config.
    #[error("adapter_config.json is missing")]
    NoConfig { others: Vec<String> },
    /// A config without weights.
    #[error("adapter_model.safetensors is missing")]
    NoWeights,
    /// More than one file could be the weights.
    #[error("there are several weights files: {}", files.join(", "))]
    SeveralWeights { files: Vec<String> },
    /// More than one file could be the config, and they may say different things of the same weights.
    #[error("there are several adapter configs: {}", files.join(", "))]
    SeveralConfigs { files: Vec<String> },
    /// A GGUF file with a model in it.
    #[error("{file} is a model, not an adapter")]
    NotAnAdapter { file: String },
    /// `adapter_model.bin` or another file of `torch.save`.
    #[error("{file} is a PyTorch pickle; pickles can run programs, so it is not opened")]
    Pickle { file: String },
    /// A config or an archive beyond its limit.
    #[error("{file} has {num_bytes} bytes, which is too large for this file")]
    TooLarge { file: String, num_bytes: u64 },
    /// adapter_config.json is damaged.
    #[error("adapter_config.json is damaged: {0}")]
    Config(JsonError),
    /// The safetensors header cannot be used.
    #[error("the weights cannot be read: {0}")]
    Header(#[from] SafetensorsError),
    /// The GGUF header cannot be used.
    #[error("the GGUF file cannot be read: {0}")]
    Gguf(#[from] GgufError),
    /// The zip cannot be read.
    #[error("the archive cannot be read: {0}")]
    Archive(#[from] ArchiveError),
    /// A file could not be read.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// The adapter was read and does not fit.
    #[error("{}", headline(mismatches))]
    Mismatches {
        /// The base that it was made for.
        base: Option<String>,
        /// Never empty.
        mismatches: Vec<Mismatch>,
    },
}

/// Says what is wrong in a sentence: the reason itself where there is one, or one that matters more than the
/// others.
///
/// ```text
/// one that a base would not mend    the adapter cannot be used here: lora_bias: a bias on B is not supported
/// 96 that do not fit the base       the adapter does not fit the loaded model: 96 differences
/// ```
fn headline(mismatches: &[Mismatch]) -> String {
    let others = mismatches.len().saturating_sub(1);
    let reason = main_reason(mismatches);
    match (reason, others) {
        (Some(reason), 0) => format!("the adapter cannot be used here: {reason}"),
        (Some(reason), 1) => {
            format!("the adapter cannot be used here, for 2 reasons: {reason}, and another")
        }
        (Some(reason), _) => {
            format!("the adapter cannot be used here: {reason}, and {others} more reasons")
        }
        (None, 0) => "the adapter does not fit the loaded model: 1 difference".to_owned(),
        (None, _) => format!(
            "the adapter does not fit the loaded model: {} differences",
            mismatches.len()
        ),
    }
}

/// Returns the first of the reasons that another base would not mend; `None` if another base is all that is needed.
fn main_reason(mismatches: &[Mismatch]) -> Option<&Mismatch> {
    let mut reasons = mismatches.iter();
    reasons.find(|mismatch| mismatch.remedy() != Remedy::Base)
}

/// Lists the reasons, one per line, up to `MAX_TOLD`.
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
            ImportError::SeveralConfigs { .. } => failure.remedy(
                "Choose only the adapter_config.json that was saved with the weights, and no other.",
            ),
            ImportError::Pickle { .. } => {
                failure.remedy("Save it again as safetensors: load it with PEFT and call `save_pretrained(FOLDER, safe_serialization=True)`.")
            }
            ImportError::NotAnAdapter { .. } => failure.remedy("Load it under Model, in the first step."),
            ImportError::TooLarge { .. } => {
                failure.remedy("Choose the files as PEFT or Inlay saved them.")
            }
            ImportError::Config(_) | ImportError::Header(_) | ImportError::Gguf(_) => {
                failure.remedy("Save or download it again.")
            }
            ImportError::Archive(error) => failure.remedy(error.remedy()),
            ImportError::Source(_) => failure.remedy("Choose the files again."),
            ImportError::Mismatches { base, mismatches } => {
                let remedy = main_reason(&mismatches).map_or(Remedy::Base, Mismatch::remedy);
                let failure = failure.remedy(remedy.text(base.as_deref()));
                match mismatches.as_slice() {
                    // The sentence says it already.
                    [Mismatch::Config { .. }] if remedy != Remedy::Base => failure,
                    all => failure.at(told(all)),
                }
            }
        }
    }
}
