//! Every setting against its range, and against model, dataset and device; all problems at once.

use protocol::{
    AdapterSpec, Failure, FailureKind, LayerRange, ModelSummary, PreparedSummary, RunSpec, Setting,
    Settings, fits_pattern,
};

use crate::adapter::ModelShape;
use crate::device::DeviceProfile;

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct SettingProblem {
    pub kind: ProblemKind,
    /// As the page labels it, such as `Learning rate`.
    pub field: &'static str,
    /// What it is and what it must be.
    pub what: String,
}

/// What a problem lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    Setting,
    Dataset,
    Memory,
}

/// A run that cannot start, with every reason found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(problems))]
pub struct PlanError {
    /// Never empty.
    pub problems: Vec<SettingProblem>,
}

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

const LENGTH: &str = "Sequence length";

/// Problems as they are found.
#[derive(Default)]
struct Problems(Vec<SettingProblem>);

impl Problems {
    fn push(&mut self, kind: ProblemKind, field: &'static str, what: String) {
        self.0.push(SettingProblem { kind, field, what });
    }

    fn into_result(self) -> Result<(), PlanError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(PlanError { problems: self.0 })
        }
    }
}

/// Everything that can be told from settings, model and dataset.
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

/// Every entry must fit a module that is adapted.
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

/// A start from the base has no more directions than the base.
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

/// Rows fit the model's context, where a learned prompt takes its place.
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

/// Whether the device can hold the run.
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
