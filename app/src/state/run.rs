//! A training run as the page follows it.

use protocol::{
    EvaluationHistory, EvaluationMetrics, FailureKind, RunId, RunSpec, RunState, RunSummary,
    StepHistory, StepMetrics,
};

use super::slot::ratio;

/// What the user asked of a run and the worker has not yet carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Pause,
    Resume,
    Stop,
}

/// One run, from the request on.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub id: RunId,
    pub spec: RunSpec,
    /// `None` once the run is over.
    pub state: Option<RunState>,
    pub steps: StepHistory,
    pub evaluations: EvaluationHistory,
    /// Rows done and rows in all of the evaluation under way.
    pub evaluating: Option<(u64, Option<u64>)>,
    pub asked: Option<Asked>,
    pub summary: Option<RunSummary>,
    /// The failure that ended it early.
    pub failure: Option<FailureKind>,
}

impl Run {
    pub fn new(id: RunId, spec: RunSpec) -> Self {
        Self {
            id,
            spec,
            state: Some(RunState::Preparing),
            steps: StepHistory::default(),
            evaluations: EvaluationHistory::default(),
            evaluating: None,
            asked: None,
            summary: None,
            failure: None,
        }
    }

    pub fn is_active(&self) -> bool {
        self.state.is_some()
    }

    pub fn is_paused(&self) -> bool {
        self.state == Some(RunState::Paused)
    }

    /// A late state of a run that is over brings it back to life no more.
    pub fn state_changed(&mut self, state: RunState) {
        if self.state.is_none() {
            return;
        }
        self.state = Some(state);
        if state != RunState::Evaluating {
            self.evaluating = None;
        }
        let is_done = match self.asked {
            Some(Asked::Pause) => state == RunState::Paused,
            Some(Asked::Resume) => state != RunState::Paused,
            Some(Asked::Stop) | None => false,
        };
        if is_done {
            self.asked = None;
        }
    }

    pub fn stepped(&mut self, steps: Vec<StepMetrics>) {
        steps.into_iter().for_each(|step| self.steps.push(step));
    }

    pub fn evaluated(&mut self, evaluations: Vec<EvaluationMetrics>) {
        let evaluations = evaluations.into_iter();
        evaluations.for_each(|evaluation| self.evaluations.push(evaluation));
        self.evaluating = None;
    }

    pub fn ended(&mut self, summary: RunSummary) {
        self.summary = Some(summary);
        self.abandon();
    }

    pub fn failed(&mut self, kind: FailureKind) {
        self.failure = Some(kind);
        self.abandon();
    }

    /// The worker is gone or done; nothing more will come.
    pub fn abandon(&mut self) {
        self.state = None;
        self.asked = None;
        self.evaluating = None;
    }

    /// Mean loss per scored token of the last step.
    pub fn training_loss(&self) -> Option<f64> {
        self.steps.latest().map(|step| step.loss)
    }

    /// Held-out loss of the base model.
    pub fn base_validation_loss(&self) -> Option<f64> {
        let measured = self.evaluations.base();
        measured
            .map(|evaluation| evaluation.loss)
            .or_else(|| self.summary.as_ref()?.base_validation_loss)
    }

    /// Held-out loss of the kept adapter once the run is over, of the latest one before.
    pub fn validation_loss(&self) -> Option<f64> {
        let kept = self
            .summary
            .as_ref()
            .and_then(|summary| summary.tuned_validation_loss);
        kept.or_else(|| self.evaluations.latest().map(|evaluation| evaluation.loss))
    }

    /// The speed of the last step during the run, and of all its steps afterward.
    pub fn tokens_per_sec(&self) -> Option<f64> {
        if self.is_active() {
            return self.steps.latest().map(|step| step.tokens_per_sec);
        }
        self.steps.tokens_per_sec()
    }

    /// The remaining seconds; `None` for a run that is over.
    pub fn remaining_secs(&self) -> Option<f64> {
        let last = self.steps.latest().filter(|_| self.is_active());
        last?.remaining_secs
    }

    /// The learning rate of the last step; `None` for a run that is over.
    pub fn present_rate(&self) -> Option<f64> {
        let last = self.steps.latest().filter(|_| self.is_active());
        Some(last?.learning_rate)
    }

    /// Steps done and steps in all.
    pub fn position(&self) -> Option<(u64, u64)> {
        self.steps.latest().map(|step| (step.step, step.num_steps))
    }

    /// Done share from 0 to 1.
    pub fn ratio(&self) -> Option<f64> {
        let (step, num_steps) = self.position()?;
        ratio(step, Some(num_steps))
    }
}

/// The result of a run that can be tried and exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    pub run: RunId,
    /// The hash of the model it was trained on.
    pub model_sha256: String,
    pub spec: RunSpec,
    pub summary: RunSummary,
}
