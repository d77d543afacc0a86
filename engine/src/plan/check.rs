//! Every setting against its range, all problems at once.

use std::fmt::Display;

use protocol::{
    AdapterSpec, Failure, FailureKind, LayerRange, ModelSummary, PreparedSummary, RunSpec,
    TargetModule, fits_pattern,
};

use super::DeviceBudget;
use crate::adapter::ModelShape;

const MAX_RANK: usize = 256;
/// Far beyond any use.
const MAX_ALPHA: f64 = 65_536.0;
const MAX_DROPOUT: f64 = 0.95;
const MAX_LR_RATIO: f64 = 1000.0;
const MAX_VIRTUAL_TOKENS: usize = 256;
const MAX_VALIDATION_SPLIT: f64 = 0.9;
const MIN_SEQUENCE_LENGTH: usize = 8;
/// Rows of a batch and batches of a step.
const MAX_BATCH: usize = 4_096;
const MAX_EPOCHS: f64 = 10_000.0;
const MAX_STEPS: u64 = 10_000_000;

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

/// Problems as they are found.
#[derive(Default)]
struct Problems(Vec<SettingProblem>);

impl Problems {
    fn require(&mut self, field: &'static str, value: impl Display, is_met: bool, allowed: &str) {
        if !is_met {
            self.push(
                ProblemKind::Setting,
                field,
                format!("{value} is not possible; it must be {allowed}."),
            );
        }
    }

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

/// Everything that can be told from settings, model and dataset. NaN is in no range.
pub(super) fn check(
    spec: &RunSpec,
    model: &ModelSummary,
    dataset: &PreparedSummary,
) -> Result<(), PlanError> {
    let mut problems = Problems::default();
    check_adapter(spec, &ModelShape::from(model), &mut problems);
    check_optimizer(spec, &mut problems);
    check_length(spec, &mut problems);
    check_data(spec, model, dataset, &mut problems);
    problems.into_result()
}

fn check_adapter(spec: &RunSpec, shape: &ModelShape, problems: &mut Problems) {
    let adapter = &spec.adapter;
    let facts = adapter.method.facts();
    if facts.has_rank {
        let rank = adapter.r;
        problems.require(
            "Rank",
            rank,
            (1..=MAX_RANK).contains(&rank),
            "from 1 to 256",
        );
        let dropout = adapter.lora_dropout;
        let is_possible = (0.0..=MAX_DROPOUT).contains(&dropout);
        problems.require("Dropout", dropout, is_possible, "from 0 to 0.95");
    }
    if facts.has_alpha {
        let alpha = adapter.lora_alpha;
        let allowed = "above 0 and at most 65536";
        problems.require("Alpha", alpha, is_alpha(alpha), allowed);
        let is_rank = |rank: &usize| (1..=MAX_RANK).contains(rank);
        let ranks = adapter.rank_pattern.iter();
        let ranks = ranks.map(|(key, rank)| (key, rank.to_string(), is_rank(rank)));
        let of = (adapter, shape);
        check_pattern("Ranks by module", ranks, "from 1 to 256", of, problems);
        let alphas = adapter.alpha_pattern.iter();
        let alphas = alphas.map(|(key, alpha)| (key, alpha.to_string(), is_alpha(*alpha)));
        check_pattern("Alphas by module", alphas, allowed, of, problems);
    }
    if facts.has_prompt {
        let tokens = adapter.num_virtual_tokens;
        let is_possible = (1..=MAX_VIRTUAL_TOKENS).contains(&tokens);
        problems.require("Virtual tokens", tokens, is_possible, "from 1 to 256");
        if spec.packing {
            let what = "with prompt tuning, rows cannot be packed, since the learned prompt comes before every row.";
            problems.push(ProblemKind::Setting, "Packing", what.to_owned());
        }
    }
    let ratio = adapter.loraplus_lr_ratio;
    let is_possible = ratio > 0.0 && ratio <= MAX_LR_RATIO;
    problems.require(
        "Learning rate ratio",
        ratio,
        is_possible,
        "above 0 and at most 1000",
    );
    if let Some(LayerRange { first, last }) = adapter.layers_to_transform
        && (first > last || last >= shape.num_hidden_layers)
    {
        let end = shape.num_hidden_layers.saturating_sub(1);
        let what = format!("{first}-{last} is out of range; the model has blocks 0-{end}.");
        problems.push(ProblemKind::Setting, "Blocks", what);
    }
    if !facts.has_modules {
        return;
    }
    if adapter.target_modules.is_empty() {
        problems.push(
            ProblemKind::Setting,
            "Target modules",
            "none is chosen; choose at least one.".to_owned(),
        );
    }
    for module in TargetModule::ALL {
        let count = adapter
            .target_modules
            .iter()
            .filter(|&&m| m == module)
            .count();
        if count > 1 {
            problems.push(
                ProblemKind::Setting,
                "Target modules",
                format!("{} is listed {count} times; once is enough.", module.name()),
            );
        }
    }
    check_start(adapter, shape, problems);
}

fn is_alpha(alpha: f64) -> bool {
    alpha > 0.0 && alpha <= MAX_ALPHA
}

/// Every entry, with its value and whether that is possible, must fit a module that is adapted.
fn check_pattern<'a>(
    field: &'static str,
    pattern: impl Iterator<Item = (&'a String, String, bool)>,
    allowed: &str,
    (adapter, shape): (&AdapterSpec, &ModelShape),
    problems: &mut Problems,
) {
    for (key, value, is_possible) in pattern {
        let mut modules = adapter.modules(shape.num_hidden_layers);
        if !modules.any(|(layer, module)| fits_pattern(key, layer, module)) {
            let what = format!("{key} is not among the modules to train.");
            problems.push(ProblemKind::Setting, field, what);
        }
        if !is_possible {
            let what = format!("{key} is {value}; it must be {allowed}.");
            problems.push(ProblemKind::Setting, field, what);
        }
    }
}

/// A start from the base has no more directions than the base.
fn check_start(adapter: &AdapterSpec, shape: &ModelShape, problems: &mut Problems) {
    if !adapter.method.facts().starts_from_base {
        return;
    }
    for &module in &adapter.target_modules {
        let (input, output) = shape.features[module as usize];
        let most = input.min(output);
        let ranks = adapter.rank_pattern.values().chain([&adapter.r]);
        if ranks.max().is_some_and(|&rank| rank > most) {
            let what = format!(
                "{} has only {most} directions to start from.",
                module.name()
            );
            problems.push(ProblemKind::Setting, "Rank", what);
        }
    }
}

fn check_optimizer(spec: &RunSpec, problems: &mut Problems) {
    let rate = spec.learning_rate;
    problems.require(
        "Learning rate",
        rate,
        rate > 0.0 && rate <= 1.0,
        "above 0 and at most 1",
    );
    for (field, value) in [
        ("Warm-up ratio", spec.warmup_ratio),
        ("Weight decay", spec.weight_decay),
    ] {
        problems.require(field, value, (0.0..=1.0).contains(&value), "from 0 to 1");
    }
    for (field, value) in [
        ("Adam beta 1", spec.adam_beta1),
        ("Adam beta 2", spec.adam_beta2),
    ] {
        problems.require(
            field,
            value,
            (0.0..1.0).contains(&value),
            "at least 0 and below 1",
        );
    }
    let epsilon = spec.adam_epsilon;
    // Below f32's normal numbers it would vanish from the denominator that it guards.
    let is_normal = epsilon >= f64::from(f32::MIN_POSITIVE) && epsilon <= 1.0;
    problems.require(
        "Adam epsilon",
        epsilon,
        is_normal,
        "above 1e-37 and at most 1",
    );
    let norm = spec.max_grad_norm;
    problems.require(
        "Max gradient norm",
        norm,
        norm >= 0.0 && norm.is_finite(),
        "0 (off) or a positive number",
    );
}

fn check_length(spec: &RunSpec, problems: &mut Problems) {
    let epochs = spec.num_train_epochs;
    let has_end = epochs > 0.0 || spec.max_steps > 0;
    problems.require(
        "Epochs",
        epochs,
        has_end && (0.0..=MAX_EPOCHS).contains(&epochs),
        "above 0 (or 0 where max steps is set) and at most 10000",
    );
    problems.require(
        "Max steps",
        spec.max_steps,
        spec.max_steps <= MAX_STEPS,
        "at most 10000000",
    );
    for (field, value) in [
        ("Batch size", spec.per_device_train_batch_size),
        ("Gradient accumulation", spec.gradient_accumulation_steps),
    ] {
        problems.require(
            field,
            value,
            (1..=MAX_BATCH).contains(&value),
            "from 1 to 4096",
        );
    }
}

fn check_data(
    spec: &RunSpec,
    model: &ModelSummary,
    dataset: &PreparedSummary,
    problems: &mut Problems,
) {
    // A learned prompt takes its place in the model's context.
    let longest = model
        .max_position_embeddings
        .saturating_sub(spec.adapter.prompt_tokens());
    problems.require(
        "Sequence length",
        spec.data.max_seq_length,
        (MIN_SEQUENCE_LENGTH..=longest).contains(&spec.data.max_seq_length),
        &format!("from {MIN_SEQUENCE_LENGTH} to {longest}, the model's context"),
    );
    let split = spec.data.validation_split;
    problems.require(
        "Validation split",
        split,
        (0.0..=MAX_VALIDATION_SPLIT).contains(&split),
        "from 0 to 0.9",
    );
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
pub(super) fn check_memory(needed_bytes: u64, device: DeviceBudget) -> Result<(), PlanError> {
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
