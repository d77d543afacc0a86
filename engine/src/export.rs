//! The export of a run: one zip with the adapter as PEFT loads it, and everything needed to check and repeat the run.
//!
//! [`ExportFile`] lists its files.
//!
//! The same input gives the same bytes: files have a fixed order and a fixed date.

mod adapter;
pub mod gguf;
mod log;
pub mod merged;
pub mod mlx;
pub mod modelfile;
mod number;
mod readme;
pub mod recipe;

use std::io::{Cursor, Write};

use sha2::{Digest, Sha256};
use zip::{CompressionMethod, DateTime, System, ZipWriter, write::SimpleFileOptions};

pub use adapter::{base_model, files as adapter_files};
pub use log::{EvaluationReport, LogEntry};
pub use recipe::{Recipe, RecipeAdapter, RecipeError};

use crate::{
    adapter::{AdapterForm, ModelShape, NamedTensor, NotLowRank},
    data::TokenSequence,
    protocol::{
        AdapterSpec, DatasetSummary, DeviceReport, EvaluationMetrics, ExportFile, ExportKind,
        Failure, FailureKind, MergedKind, ModelSummary, PreparedSummary, RunSpec, RunSummary,
        ScoreReport, StepMetrics,
    },
    text::hex,
};

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
    /// Ascending.
    pub steps: &'a [StepMetrics],
    /// Ascending; step 0 is the base model.
    pub evaluations: &'a [EvaluationMetrics],
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
    #[error("the archive could not be written: {0}")]
    Zip(#[from] zip::result::ZipError),
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
            ExportError::Safetensors(_) | ExportError::Json(_) | ExportError::Zip(_) => {
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
    let recipe = Recipe::new(input);
    recipe.settings.check()?;

    let mut archive = Archive::default();
    let base = adapter::base_model(input.model);
    let shape = ModelShape::from(input.model);
    for (name, bytes) in adapter::files(&input.spec.adapter, &shape, base, input.tensors)? {
        archive.add(name, &bytes)?;
    }
    archive.add_text(ExportFile::Readme, &readme::render(input)?)?;
    archive.add_text(ExportFile::Recipe, &pretty_json(&recipe)?)?;
    archive.add_text(
        ExportFile::Log,
        &log::lines(input.steps, input.evaluations)?,
    )?;
    archive.add_text(ExportFile::Evaluation, &log::evaluation_json(input)?)?;
    if !input.held_out.is_empty() {
        archive.add_text(ExportFile::HeldOut, &log::held_out_lines(input.held_out)?)?;
    }
    if let Some(template) = input.chat_template {
        archive.add_text(ExportFile::ChatTemplate, template)?;
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
    match NotLowRank::of(spec)? {
        // MLX has its own form for DoRA.
        NotLowRank::Magnitudes
            if kind == ExportKind::Mlx && !spec.train_norms && !spec.train_head =>
        {
            None
        }
        reason => Some(ExportError::NoForm { format, reason }),
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
        archive.add(name, &bytes)?;
    }
    if let Some(template) = chat_template {
        archive.add_text(ExportFile::ChatTemplate, template)?;
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
    archive.write("adapter.gguf", &adapter)?;
    archive.write("README.md", readme::of_gguf_adapter(name).as_bytes())?;
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
        archive.write(name, &bytes)?;
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

/// A zip being written; the same on every machine.
struct Archive(ZipWriter<Cursor<Vec<u8>>>);

impl Default for Archive {
    fn default() -> Self {
        Self(ZipWriter::new(Cursor::default()))
    }
}

impl Archive {
    /// Trained numbers do not shrink, so nothing is compressed.
    fn add(&mut self, file: ExportFile, bytes: &[u8]) -> Result<(), ExportError> {
        self.write(file.name(), bytes)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .system(System::Unix)
            .unix_permissions(0o644);
        self.0.start_file(name, options)?;
        self.0.write_all(bytes).map_err(zip::result::ZipError::Io)?;
        Ok(())
    }

    fn add_text(&mut self, file: ExportFile, text: &str) -> Result<(), ExportError> {
        self.add(file, text.as_bytes())
    }

    fn finish(self) -> Result<Vec<u8>, ExportError> {
        Ok(self.0.finish()?.into_inner())
    }
}
