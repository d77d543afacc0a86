//! Numbers of a run, as they come.

use serde::{Deserialize, Serialize};

/// One optimizer step. Losses are mean negative log-likelihoods per scored token, natural logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Counted from 1.
    pub step: u64,
    pub num_steps: u64,
    /// Epochs done, as a fraction.
    pub epoch: f64,
    pub loss: f64,
    pub learning_rate: f64,
    /// Global L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Tokens that went through the model in this step, padding left out.
    pub num_tokens: u64,
    /// Tokens that the loss was taken over.
    pub scored_tokens: u64,
    pub tokens_per_sec: f64,
    pub elapsed_millis: f64,
    /// What the device holds after the step, where it tells.
    pub device_memory_bytes: Option<u64>,
    /// Median of recent steps times the steps to come.
    pub remaining_secs: Option<f64>,
}

/// Loss over the held-out rows.
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
    /// Steps that were finished.
    pub steps: u64,
    pub base_validation_loss: Option<f64>,
    /// Of the adapter that was kept.
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
    /// The failure was sent just before as an event of its own.
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
