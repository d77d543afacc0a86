//! Every setting against its range, and against model, dataset and device; all problems at once.
//!
//! The ranges themselves are in the table of settings ([`Setting`]), from which the page draws its controls; here are
//! the checks that need more than one value:
//!
//! | field | must fit |
//! |---|---|
//! | Ranks by module, Alphas by module | a module that is adapted |
//! | Blocks | the model's depth |
//! | Rank, for a start from the base | the number of singular directions of each weight |
//! | Sequence length | the model's context, less a learned prompt |
//! | Dataset files | at least one row to train on |
//! | Batch size, Sequence length | the device's memory |

use protocol::{
    AdapterSpec, Failure, FailureKind, LayerRange, ModelSummary, PreparedSummary, RunSpec, Setting,
    Settings, fits_pattern,
};

use crate::adapter::ModelShape;
use crate::device::DeviceProfile;

/// A setting that cannot work.
/// It reads as `field: what`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct SettingProblem {
    /// What it lies in, which decides the remedy.
    pub kind: ProblemKind,
    /// As the page labels it, such as `Learning rate`.
    pub field: &'static str,
    /// A sentence: what the value is and what it must be.
    pub what: String,
}

/// What a problem lies in. A failure has the remedy of a kind only if all of its problems are of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// A value, or values that do not fit each other.
    Setting,
    /// Too few rows that can be used.
    Dataset,
    /// More than the device can hold.
    Memory,
}

/// A run that cannot start, with every reason found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(problems))]
pub struct PlanError {
    /// Never empty.
    pub problems: Vec<SettingProblem>,
}

/// Returns all problems in one line.
fn join(problems: &[SettingProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join(" ")
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let all = |kind| error.problems.iter().all(|problem| problem.kind == kind);
        let (kind, remedy) = if all(ProblemKind::Dataset) {
            (
                FailureKind::Dataset,
                "Add rows, or choose a smaller validation split or a larger sequence length.",
            )
        } else if all(ProblemKind::Memory) {
            (
                FailureKind::OutOfMemory,
                "Choose a smaller batch size or sequence length; gradient accumulation can make up for a small batch.",
            )
        } else {
            (
                FailureKind::Settings,
                "Change these settings and start again.",
            )
        };
        let mut fields: Vec<&str> = error.problems.iter().map(|problem| problem.field).collect();
        fields.dedup();
        Failure::new(kind, error.to_string())
            .at(fields.join(", "))
            .remedy(remedy)
    }
}

/// The label of the setting that two checks are about.
const LENGTH: &str = "Sequence length";

/// Problems as they are found.
#[derive(Default)]
struct Problems(Vec<SettingProblem>);

impl Problems {
    /// Adds a problem.
    fn push(&mut self, kind: ProblemKind, field: &'static str, what: String) {
        self.0.push(SettingProblem { kind, field, what });
    }

    /// Ends the checks.
    ///
    /// # Errors
    /// All problems found, if there are any.
    fn into_result(self) -> Result<(), PlanError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(PlanError { problems: self.0 })
        }
    }
}

/// Checks everything that can be told from settings, model and dataset.
///
/// # Errors
/// [`PlanError`] with all problems, those of single settings first.
pub(super) fn check(
    spec: &RunSpec,
    model: &ModelSummary,
    dataset: &PreparedSummary,
) -> Result<(), PlanError> {
    let mut problems = Problems::default();
    let settings = Settings::from(spec);
    for setting in Setting::of_runs() {
        for what in setting.problems(&settings) {
            problems.push(ProblemKind::Setting, setting.label, what);
        }
    }
    check_adapter(&spec.adapter, &ModelShape::from(model), &mut problems);
    check_length(spec, model, &mut problems);
    check_data(dataset, &mut problems);
    problems.into_result()
}

/// Checks the adapter's settings against the model's modules and blocks.
fn check_adapter(adapter: &AdapterSpec, shape: &ModelShape, problems: &mut Problems) {
    if adapter.method.facts().has_alpha {
        let ranks = adapter.rank_pattern.keys();
        check_pattern("Ranks by module", ranks, (adapter, shape), problems);
        let alphas = adapter.alpha_pattern.keys();
        check_pattern("Alphas by module", alphas, (adapter, shape), problems);
    }
    if let Some(LayerRange { first, last }) = adapter.layers_to_transform
        && (first > last || last >= shape.num_hidden_layers)
    {
        let end = shape.num_hidden_layers.saturating_sub(1);
        let what = format!("{first}-{last} is out of range; the model has blocks 0-{end}.");
        problems.push(ProblemKind::Setting, "Blocks", what);
    }
    if adapter.method.facts().starts_from_base {
        check_start(adapter, shape, problems);
    }
}

/// Checks that every entry of `rank_pattern` or `alpha_pattern` fits a module that is adapted: one that fits none would
/// have no effect.
fn check_pattern<'a>(
    field: &'static str,
    keys: impl Iterator<Item = &'a String>,
    (adapter, shape): (&AdapterSpec, &ModelShape),
    problems: &mut Problems,
) {
    for key in keys {
        let mut modules = adapter.modules(shape.num_hidden_layers);
        if !modules.any(|(layer, module)| fits_pattern(key, layer, module)) {
            let what = format!("{key} is not among the modules to train.");
            problems.push(ProblemKind::Setting, field, what);
        }
    }
}

/// Checks that a start from the base (PiSSA, OLoRA) asks for no more directions than each weight has, `min(in, out)`, at
/// the rank that each module has of its own. A kind of module is told once.
fn check_start(adapter: &AdapterSpec, shape: &ModelShape, problems: &mut Problems) {
    let mut told = Vec::new();
    for (layer, module) in adapter.modules(shape.num_hidden_layers) {
        let (input, output) = shape.features[module as usize];
        let most = input.min(output);
        if adapter.rank(layer, module) > most && !told.contains(&module) {
            let what = format!(
                "{} has only {most} directions to start from.",
                module.name()
            );
            problems.push(ProblemKind::Setting, "Rank", what);
            told.push(module);
        }
    }
}

/// Checks that rows fit the model's context, where a learned prompt takes its place. A length that is already out of
/// its range is not told twice.
fn check_length(spec: &RunSpec, model: &ModelSummary, problems: &mut Problems) {
    let longest = model
        .max_position_embeddings
        .saturating_sub(spec.adapter.prompt_tokens());
    let length = spec.data.max_seq_length;
    let is_told = problems.0.iter().any(|problem| problem.field == LENGTH);
    if length > longest && !is_told {
        let what = format!(
            "{length} is not possible; it must be from 8 to {longest}, the model's context."
        );
        problems.push(ProblemKind::Setting, LENGTH, what);
    }
}

/// Checks that a row is left to train on.
fn check_data(dataset: &PreparedSummary, problems: &mut Problems) {
    if dataset.num_training_rows == 0 {
        problems.push(
            ProblemKind::Dataset,
            "Dataset files",
            format!(
                "no rows are left to train on ({} held out, {} with nothing to learn).",
                dataset.num_validation_rows, dataset.num_without_target
            ),
        );
    }
}

/// Checks whether the device can hold the run; a device without a known limit can.
///
/// # Errors
/// [`PlanError`] with one problem of kind [`ProblemKind::Memory`].
pub(super) fn check_memory(needed_bytes: u64, device: DeviceProfile) -> Result<(), PlanError> {
    let mut problems = Problems::default();
    if let Some(limit) = device.limit_bytes.filter(|&limit| needed_bytes > limit) {
        problems.push(
            ProblemKind::Memory,
            "Batch size, Sequence length",
            format!(
                "the run needs about {} MB, but the device can hold only {} MB.",
                needed_bytes.div_ceil(1_000_000),
                limit / 1_000_000
            ),
        );
    }
    problems.into_result()
}
