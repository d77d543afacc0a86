//! The export of a run: one zip with the adapter as PEFT loads it, and everything needed to check and repeat the run.
//!
//! [`ExportFile`] lists its files.
//!
//! The same input gives the same bytes: files have a fixed order and a fixed date.

mod adapter;
mod archive;
pub mod gguf;
mod log;
pub mod merged;
pub mod mlx;
pub mod modelfile;
mod readme;
pub mod recipe;

use sha2::{Digest, Sha256};

pub use adapter::{base_model, files as adapter_files};
pub use log::{EvaluationReport, LogEntry};

use formats::text::hex;
use protocol::{
    AdapterSpec, DatasetSummary, DeviceReport, EvaluationHistory, ExportFile, ExportKind, Failure,
    FailureKind, MergedKind, ModelSummary, PreparedSummary, RecipeAdapter, RunSpec, RunSummary,
    ScoreReport, StepHistory,
};

use crate::{
    adapter::{AdapterForm, LowRankUpdate, ModelShape, NamedTensor, NotLowRank},
    data::TokenSequence,
};
use archive::Archive;

/// A finished or stopped run, as plain data.
#[derive(Debug, Clone, Copy)]
pub struct ExportInput<'a> {
    pub model: &'a ModelSummary,
    pub dataset: &'a DatasetSummary,
    pub prepared: &'a PreparedSummary,
    /// The held-out rows as they were scored.
    pub held_out: &'a [TokenSequence],
    pub spec: &'a RunSpec,
    /// The adapter that the run continued, if any.
    pub initial: Option<&'a RecipeAdapter>,
    pub summary: &'a RunSummary,
    pub device: &'a DeviceReport,
    pub steps: &'a StepHistory,
    pub evaluations: &'a EvaluationHistory,
    pub evaluation: &'a EvaluationReport,
    /// What was scored after the run.
    pub scores: &'a [ScoreReport],
    /// The tensors listed by [`crate::adapter::AdapterLayout::tensors`], in any order.
    pub tensors: &'a [NamedTensor],
    pub chat_template: Option<&'a str>,
    /// ISO 8601, UTC.
    pub finished_at: Option<&'a str>,
}

/// Why there is no zip.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("there is no trained adapter to export")]
    EmptyAdapter,
    #[error("{name} is missing from the adapter")]
    MissingTensor { name: String },
    #[error("{name} is in the adapter, but the run did not train it or it is there twice")]
    UnexpectedTensor { name: String },
    #[error("{name} has {actual} values instead of {expected}")]
    WrongLength {
        name: String,
        actual: usize,
        expected: usize,
    },
    #[error("{name} has the shape {actual}, but the model and the rank need {expected}")]
    WrongShape {
        name: String,
        actual: String,
        expected: String,
    },
    #[error("{name} holds {value}")]
    NonFinite { name: String, value: f64 },
    #[error("{format} cannot hold it, because {reason}")]
    NoForm {
        format: &'static str,
        reason: NotLowRank,
    },
    #[error("the adapter could not be written: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
    #[error("a file of the archive could not be written: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is larger than the 4 GiB that the archive can hold")]
    TooLarge,
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let what = format!("The adapter cannot be exported: {error}.");
        match error {
            ExportError::EmptyAdapter => Failure::new(FailureKind::WrongState, what)
                .remedy("Train first; a stopped run can be exported, too."),
            ExportError::NoForm { .. } => Failure::new(FailureKind::WrongState, what)
                .remedy("Export the PEFT adapter instead."),
            ExportError::NonFinite { name, .. } => Failure::new(FailureKind::NonFinite, what)
                .at(name)
                .remedy("Train again with a lower learning rate."),
            ExportError::MissingTensor { name }
            | ExportError::UnexpectedTensor { name }
            | ExportError::WrongLength { name, .. }
            | ExportError::WrongShape { name, .. } => {
                Failure::new(FailureKind::Internal, what).at(name)
            }
            ExportError::TooLarge => Failure::new(FailureKind::OutOfMemory, what)
                .remedy("Train an adapter of a lower rank, or of fewer modules."),
            ExportError::Safetensors(_) | ExportError::Json(_) => {
                Failure::new(FailureKind::Internal, what)
            }
        }
    }
}

/// The bytes of the zip.
///
/// # Errors
/// Refuses an adapter that is empty, incomplete, of wrong shapes or not finite, and losses or settings that are not
/// finite. (Non-finite numbers of the log, if a run ended with one, are written as null.)
pub fn build_zip(input: &ExportInput<'_>) -> Result<Vec<u8>, ExportError> {
    adapter::check(input)?;
    input.evaluation.check()?;
    recipe::check(input.spec)?;

    let mut archive = Archive::default();
    let base = adapter::base_model(input.model);
    let shape = ModelShape::from(input.model);
    for (name, bytes) in adapter::files(&input.spec.adapter, &shape, base, input.tensors)? {
        archive.add(name.name(), &bytes)?;
    }
    archive.add_text(ExportFile::Readme.name(), &readme::render(input)?)?;
    archive.add_text(
        ExportFile::Recipe.name(),
        &pretty_json(&recipe::recipe(input))?,
    )?;
    archive.add_text(
        ExportFile::Log.name(),
        &log::lines(input.steps, input.evaluations)?,
    )?;
    archive.add_text(ExportFile::Evaluation.name(), &log::evaluation_json(input)?)?;
    if !input.held_out.is_empty() {
        archive.add_text(
            ExportFile::HeldOut.name(),
            &log::held_out_lines(input.held_out)?,
        )?;
    }
    if let Some(template) = input.chat_template {
        archive.add_text(ExportFile::ChatTemplate.name(), template)?;
    }
    archive.finish()
}

/// Why an adapter cannot be exported in this form, if so.
pub fn refusal(kind: ExportKind, spec: &AdapterSpec) -> Option<ExportError> {
    let format = match kind {
        ExportKind::Peft => return None,
        ExportKind::Gguf => "A GGUF adapter",
        ExportKind::Mlx => "An MLX adapter",
    };
    let reason = match NotLowRank::of(spec)? {
        // MLX has its own form for DoRA.
        NotLowRank::Magnitudes if kind == ExportKind::Mlx => NotLowRank::besides_method(spec)?,
        reason => reason,
    };
    Some(ExportError::NoForm { format, reason })
}

/// [`LowRankUpdate::padded`] for a format that has one scaling for all modules.
///
/// # Errors
/// [`ExportError::NonFinite`] where the scalings are so far apart that `b` overflows.
fn padded(update: LowRankUpdate, r: usize, scaling: f64) -> Result<LowRankUpdate, ExportError> {
    let update = update.padded(r, scaling);
    match update.b.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(ExportError::NonFinite {
            name: format!("layer {} {}.lora_b", update.layer, update.module.name()),
            value: f64::from(value),
        }),
        None => Ok(update),
    }
}

/// The SHA-256 of the tensors' file.
///
/// # Errors
/// As [`adapter_files`].
pub fn adapter_sha256(tensors: &[NamedTensor]) -> Result<String, ExportError> {
    Ok(hex(&Sha256::digest(adapter::safetensors(tensors)?)))
}

/// A zip for PEFT with only an adapter, without a run.
///
/// # Errors
/// As [`adapter_files`].
pub fn peft_zip(
    form: &AdapterForm,
    parameters: &[f32],
    shape: &ModelShape,
    base: &str,
    chat_template: Option<&str>,
) -> Result<Vec<u8>, ExportError> {
    let mut archive = Archive::default();
    let tensors = form.tensors(parameters);
    for (name, bytes) in adapter::files(&form.layout.spec, shape, base, &tensors)? {
        archive.add(name.name(), &bytes)?;
    }
    if let Some(template) = chat_template {
        archive.add_text(ExportFile::ChatTemplate.name(), template)?;
    }
    archive.finish()
}

/// A zip for llama.cpp: `adapter.gguf`, and a README that says how to use it. `name` is the base's.
///
/// # Errors
/// [`ExportError::NoForm`]
pub fn gguf_zip(
    form: &AdapterForm,
    parameters: &[f32],
    shape: &ModelShape,
    name: &str,
) -> Result<Vec<u8>, ExportError> {
    if let Some(error) = refusal(ExportKind::Gguf, &form.layout.spec) {
        return Err(error);
    }
    let mut archive = Archive::default();
    let adapter = gguf::adapter(form.pairs(parameters), shape, name)?;
    archive.add("adapter.gguf", &adapter)?;
    archive.add_text("README.md", &readme::of_gguf_adapter(name))?;
    archive.finish()
}

/// A zip for mlx-lm; see [`mlx`].
///
/// # Errors
/// [`ExportError::NoForm`]
pub fn mlx_zip(
    form: &AdapterForm,
    parameters: &[f32],
    shape: &ModelShape,
    base: &str,
) -> Result<Vec<u8>, ExportError> {
    let mut archive = Archive::default();
    for (name, bytes) in mlx::files(form, parameters, shape, base)? {
        archive.add(name, &bytes)?;
    }
    archive.finish()
}

/// A name for the zip, from the model's: `inlay-smollm2-135m-instruct-lora.zip`.
pub fn file_name(model: &ModelSummary, kind: ExportKind) -> String {
    named(
        &model.name,
        match kind {
            ExportKind::Peft => "lora",
            ExportKind::Gguf => "gguf",
            ExportKind::Mlx => "mlx",
        },
    )
}

/// A name for a merged model's zip: `inlay-smollm2-135m-instruct-merged-q8_0.zip`.
pub fn merged_file_name(model: &str, kind: MergedKind) -> String {
    let kind = kind.type_name().to_ascii_lowercase();
    named(model, &format!("merged-{kind}"))
}

fn named(model: &str, end: &str) -> String {
    let words: Vec<String> = model
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let mut name = words.join("-");
    name.truncate(80);
    if name.is_empty() {
        format!("inlay-{end}.zip")
    } else {
        format!("inlay-{name}-{end}.zip")
    }
}

/// Indented JSON with a newline at its end.
fn pretty_json(value: &impl serde::Serialize) -> Result<String, ExportError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
