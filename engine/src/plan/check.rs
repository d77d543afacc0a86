//! Every setting against its range, all problems at once.

use std::fmt::Display;

use super::DeviceBudget;
use crate::protocol::{Failure, FailureKind, ModelSummary, PreparedSummary, RunSpec, TargetModule};

const MAX_RANK: usize = 256;
/// Alphas are small integers; this one is exact in f32 and far beyond any use.
const MAX_ALPHA: usize = 65_536;
const MAX_DROPOUT: f64 = 0.95;
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
                "Add rows, or choose a smaller validation split or a greater sequence length.",
            )
        } else if all(ProblemKind::Memory) {
            (
                FailureKind::OutOfMemory,
                "Choose a smaller batch size or sequence length; gradient accumulation makes up for a small batch.",
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
                format!("{value} cannot work; it must be {allowed}."),
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
    check_lora(spec, &mut problems);
    check_optimizer(spec, &mut problems);
    check_length(spec, &mut problems);
    check_data(spec, model, dataset, &mut problems);
    problems.into_result()
}

fn check_lora(spec: &RunSpec, problems: &mut Problems) {
    let lora = &spec.adapter;
    problems.require(
        "Rank",
        lora.r,
        (1..=MAX_RANK).contains(&lora.r),
        "from 1 to 256",
    );
    problems.require(
        "Alpha",
        lora.lora_alpha,
        (1..=MAX_ALPHA).contains(&lora.lora_alpha),
        "from 1 to 65536",
    );
    problems.require(
        "Dropout",
        lora.lora_dropout,
        (0.0..=MAX_DROPOUT).contains(&lora.lora_dropout),
        "from 0 to 0.95",
    );
    if lora.target_modules.is_empty() {
        problems.push(
            ProblemKind::Setting,
            "Target modules",
            "none is chosen; at least one must be.".to_owned(),
        );
    }
    for module in TargetModule::ALL {
        let count = lora.target_modules.iter().filter(|&&m| m == module).count();
        if count > 1 {
            problems.push(
                ProblemKind::Setting,
                "Target modules",
                format!("{} is named {count} times; once is enough.", module.name()),
            );
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
    let longest = model.max_position_embeddings;
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
                "no row is left to train on ({} held out, {} without anything to learn).",
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
                "the run would need about {} MB, and the device can hold {} MB.",
                needed_bytes.div_ceil(1_000_000),
                limit / 1_000_000
            ),
        );
    }
    problems.into_result()
}
