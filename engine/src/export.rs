//! The export of a run: one zip with the adapter as PEFT loads it, and everything needed to check and repeat the run.
//! The same adapter also goes out for llama.cpp and mlx-lm, and merged into its base.
//!
//! | module | what it writes | who reads it |
//! |---|---|---|
//! | `adapter` | `adapter_model.safetensors`, `adapter_config.json` | `PeftModel.from_pretrained` |
//! | `readme`, `recipe`, `log` | the rest of a run's zip | people, scripts, the page |
//! | [`gguf`] | `adapter.gguf` | llama.cpp (`--lora`) |
//! | [`mlx`] | `adapters.safetensors`, its own `adapter_config.json` | mlx-lm (`--adapter-path`) |
//! | [`merged`] | a whole model | transformers, llama.cpp, Ollama |
//! | `archive` | the zip around small exports | |
//!
//! [`ExportFile`] lists the files of a run's zip in their order. The same input gives the same bytes: files have a
//! fixed order and a fixed date, and JSON keys keep the order in which they are written.
//!
//! Nothing non-finite is exported, and no file is written in part: [`build_zip`] checks everything before it writes.
//!
//! The scale of the low-rank product differs between the formats, though the function is the same:
//!
//! ```text
//! PEFT    W x + (alpha / r) B A x               alpha / sqrt(r) with use_rslora; ranks and alphas per module
//! GGUF    W x + (adapter.lora.alpha / r) B A x  one alpha per file, r read from each tensor
//! MLX     W x + scale (x a) b                   one rank and one scale per file; a is A^T, b is B^T
//! ```

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

/// A finished or stopped run, as plain data. Everything is borrowed: an export changes nothing of the run.
#[derive(Debug, Clone, Copy)]
pub struct ExportInput<'a> {
    /// The base, with its shape, its name and the hash of its file.
    pub model: &'a ModelSummary,
    /// The files that the rows came from.
    pub dataset: &'a DatasetSummary,
    /// How many rows were trained on, held out, cut and left out.
    pub prepared: &'a PreparedSummary,
    /// The held-out rows as they were scored, ascending by number; empty if none were held out, or if they were released.
    pub held_out: &'a [TokenSequence],
    /// The numbers of the held-out rows, whether they are still here or not.
    pub held_out_rows: &'a [usize],
    /// Every setting of the run; its adapter is the one that the tensors belong to.
    pub spec: &'a RunSpec,
    /// The adapter that the run continued, if any.
    pub initial: Option<&'a RecipeAdapter>,
    /// How the run ended, and which step's adapter this is.
    pub summary: &'a RunSummary,
    /// Where the run was computed.
    pub device: &'a DeviceReport,
    /// The log of the steps, thinned if the run was long.
    pub steps: &'a StepHistory,
    /// The log of the evaluations, thinned as well.
    pub evaluations: &'a EvaluationHistory,
    /// The losses before and after, as `evaluation.json` has them.
    pub evaluation: &'a EvaluationReport,
    /// What was scored after the run, at most one report per side.
    pub scores: &'a [ScoreReport],
    /// The tensors listed by [`crate::adapter::AdapterLayout::tensors`], in any order.
    pub tensors: &'a [NamedTensor],
    /// The source of the template that rendered the rows; `None` if the model has none.
    pub chat_template: Option<&'a str>,
    /// When the run ended: ISO 8601, UTC; `None` where the host has no calendar.
    pub finished_at: Option<&'a str>,
}

/// Why there is no zip. Each message completes the sentence "The adapter cannot be exported: ...".
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No step was kept, or the adapter has no tensors.
    #[error("there is no trained adapter to export")]
    EmptyAdapter,
    /// A tensor of the layout was not passed: a bug.
    #[error("{name} is missing from the adapter")]
    MissingTensor { name: String },
    /// A tensor is not of the layout, or comes twice: a bug.
    #[error("{name} is in the adapter, but the run did not train it or it is there twice")]
    UnexpectedTensor { name: String },
    /// A tensor does not have as many values as its shape says: a bug.
    #[error("{name} has {actual} values instead of {expected}")]
    WrongLength {
        name: String,
        actual: usize,
        expected: usize,
    },
    /// A tensor has another shape than the layout says: a bug.
    #[error("{name} has the shape {actual}, but the model and the rank need {expected}")]
    WrongShape {
        name: String,
        actual: String,
        expected: String,
    },
    /// A weight, a loss or a setting is NaN or infinite. `name` is that of the tensor or the field.
    #[error("{name} holds {value}")]
    NonFinite { name: String, value: f64 },
    /// An adapter's alpha that f32, the type of GGUF's header, holds as zero or infinity.
    #[error("its alpha is {alpha:e}, which a GGUF file cannot hold")]
    Alpha { alpha: f64 },
    /// The format has no way to say what the method does; see [`refusal`].
    #[error("{format} cannot hold it, because {reason}")]
    NoForm {
        format: &'static str,
        reason: NotLowRank,
    },
    /// The library refused the tensors: a bug.
    #[error("the adapter could not be written: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// A file of JSON could not be written: a bug.
    #[error("a file of the archive could not be written: {0}")]
    Json(#[from] serde_json::Error),
    /// The zip would need zip64, which this archive does not write.
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
            ExportError::Alpha { .. } => Failure::new(FailureKind::WrongState, what).remedy(
                "Export the PEFT adapter instead, or train with an alpha nearer to the rank.",
            ),
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

/// Returns the bytes of a run's zip, with the files of [`ExportFile`] in their order. `held_out.jsonl` and
/// `chat_template.jinja` are there only where there is something to write.
///
/// # Errors
/// Refuses an adapter that is empty, incomplete, of wrong shapes or not finite, and losses or settings that are not
/// finite. (Non-finite numbers of the log, if a run ended with one, are written as null.) [`ExportError::TooLarge`]
/// from 4 GiB on.
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

/// Why an adapter cannot be exported in this form, if so. PEFT has a form for every method.
///
/// A GGUF adapter holds low-rank products and nothing else. An MLX adapter holds these and DoRA's magnitudes, but no
/// trained norms and no trained head.
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

/// The SHA-256 of `adapter_model.safetensors` as these tensors make it, in hexadecimal. Recipes name the adapter that a
/// run continued by it.
///
/// # Errors
/// As [`adapter_files`].
pub fn adapter_sha256(tensors: &[NamedTensor]) -> Result<String, ExportError> {
    Ok(hex(&Sha256::digest(adapter::safetensors(tensors)?)))
}

/// A zip for PEFT with only an adapter, without a run: for adapters that came in or were blended, and for the page's
/// copies.
///
/// `parameters` are in the order of `form`'s layout; `base` becomes `base_model_name_or_path`. That the numbers are
/// finite is the caller's business: an adapter that is held always is.
///
/// # Errors
/// As [`adapter_files`], and [`ExportError::TooLarge`].
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
/// [`ExportError::NoForm`] if [`refusal`] says so, [`ExportError::EmptyAdapter`] for a form without pairs, and
/// [`ExportError::TooLarge`].
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

/// A zip for mlx-lm; see [`mlx`]. `base` is the hub id that `mlx_lm.generate --model` would be given.
///
/// # Errors
/// [`ExportError::NoForm`] if [`refusal`] says so, [`ExportError::EmptyAdapter`] for a form without pairs, and
/// [`ExportError::TooLarge`].
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

/// A name for the zip, from the model's and the form's: `inlay-smollm2-135m-instruct-lora.zip`.
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

/// Joins the model's words of ASCII letters and digits, in lower case, with hyphens; at most 80 characters of them. A
/// name without any is left out.
///
/// ```text
/// SmolLM2-135M (Instruct), lora  ->  inlay-smollm2-135m-instruct-lora.zip
/// 模型, lora                     ->  inlay-lora.zip
/// ```
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

/// Indented JSON with a newline at its end, as Python's tools and editors leave it.
fn pretty_json(value: &impl serde::Serialize) -> Result<String, ExportError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
