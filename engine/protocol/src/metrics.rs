//! The numbers of a run, as they are measured.

use serde::{Deserialize, Serialize};

/// One optimizer step. Losses are mean negative log-likelihoods per scored token, natural logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Counted from 1.
    pub step: u64,
    pub num_steps: u64,
    /// The number of epochs done, as a fraction.
    pub epoch: f64,
    pub loss: f64,
    pub learning_rate: f64,
    /// The global L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The number of tokens processed in this step, without padding.
    pub num_tokens: u64,
    /// The number of tokens that the loss covers.
    pub scored_tokens: u64,
    pub tokens_per_sec: f64,
    pub elapsed_millis: f64,
    /// The device memory in use after the step, if known.
    pub device_memory_bytes: Option<u64>,
    /// The estimated remaining time of the run, with its evaluations.
    pub remaining_secs: Option<f64>,
}

/// The loss over the held-out rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvaluationMetrics {
    /// 0 is the base model, before the first step.
    pub step: u64,
    pub loss: f64,
    pub scored_tokens: u64,
    /// Whether this is the lowest loss of the run so far.
    pub is_best: bool,
    pub elapsed_millis: f64,
}

/// How a run ended. Losses as in [`StepMetrics`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub outcome: RunOutcome,
    /// The number of finished steps.
    pub steps: u64,
    pub base_validation_loss: Option<f64>,
    /// The loss of the kept adapter.
    pub tuned_validation_loss: Option<f64>,
    /// The step whose adapter was kept.
    pub best_step: u64,
    pub elapsed_secs: f64,
    pub trainable_parameters: u64,
    /// Whether there is an adapter to try and to export.
    pub has_adapter: bool,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    Finished,
    Stopped,
    /// The failure is sent right after in a separate event.
    Failed,
}

/// What a run is doing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Preparing,
    Training,
    Evaluating,
    Paused,
}
