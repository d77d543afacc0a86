//! A run from its first evaluation to its end.
//!
//! ```text
//! evaluate base -> (micro-steps -> mean gradient -> clip -> AdamW -> StepMetrics -> now and then evaluate)* -> best
//! ```
//!
//! Losses and gradients are sums over scored tokens until the whole optimizer step is known, and are divided once by
//! its number of scored tokens: accumulation weighs every token equally, however rows are grouped into micro-batches.
//!
//! Which adapter a run leaves:
//!
//! | it ends | with held-out rows | without |
//! |---|---|---|
//! | finished | the one with the lowest loss on them | the last one |
//! | stopped | the best so far, or the current one, scored now | the current one |
//! | failed | the best so far, or the last one known to be good, scored if possible | the last one known to be good |
//!
//! Nothing that is not finite is kept. The base (step 0) is scored but never kept, so a run whose every evaluation is
//! worse than the base still leaves its best adapter; the summary has both losses. All of it works on the parameters on
//! the host: to keep an adapter is to copy a vector.

use std::rc::Rc;

use protocol::{
    EvaluationHistory, EvaluationMetrics, RunOutcome, RunState, RunSummary, StepHistory,
    StepMetrics,
};

use super::{
    error::{RunError, TrainError},
    non_finite::NonFinite,
    score::{HeldOutLoss, mean_loss},
    state::{Snapshot, StepOutcome, TrainingState},
    time_left::{Ahead, TimeLeft},
};
use crate::{
    adapter::AdapterForm,
    data::{
        TokenSequence,
        batch::{Batch, BatchSchedule},
    },
    model::Model,
    pacing::{Interruption, Pacing},
    plan::{RunPlan, schedule::Schedule},
    surroundings::Surroundings,
};

/// What a run needs. It owns nothing, so the model and the dataset stay loaded after it.
pub struct TrainingInput<'a> {
    /// The checked settings, with the number of steps, the steps between evaluations, and the device.
    pub plan: &'a RunPlan,
    /// The frozen base, on the device.
    pub model: &'a Model,
    /// The adapter to continue; a new one is made if there is none.
    pub initial: Option<&'a TrainedAdapter>,
    /// The rows to learn from; not empty.
    pub train: &'a [TokenSequence],
    /// The held-out rows; may be empty.
    pub validation: &'a [TokenSequence],
}

/// The result of a run, whatever its outcome.
#[derive(Debug, Clone)]
pub struct TrainingResult {
    /// How it ended, in numbers.
    pub summary: RunSummary,
    /// Why the run failed, if it did.
    pub failure: Option<RunError>,
    /// The kept adapter, if a step was kept.
    pub adapter: Option<Rc<TrainedAdapter>>,
    /// The metrics of its steps, thinned if there are many.
    pub steps: StepHistory,
    /// The losses on the held-out rows, the base's first.
    pub evaluations: EvaluationHistory,
}

/// An adapter after a run: what another run continues, and what is tried and exported.
#[derive(Debug, Clone)]
pub struct TrainedAdapter {
    /// Everything of it but the numbers.
    pub form: AdapterForm,
    /// In the layout's order; always finite.
    pub parameters: Vec<f32>,
}

impl TrainingResult {
    /// The numbers of the kept adapter; empty if no step was kept.
    pub fn parameters(&self) -> &[f32] {
        self.adapter
            .as_ref()
            .map_or(&[], |adapter| &adapter.parameters)
    }

    /// The result of a run that failed before its first evaluation.
    fn failed_at_start(error: TrainError) -> Self {
        Self {
            summary: RunSummary {
                outcome: RunOutcome::Failed,
                steps: 0,
                base_validation_loss: None,
                tuned_validation_loss: None,
                best_step: 0,
                elapsed_secs: 0.0,
                trainable_parameters: 0,
                has_adapter: false,
            },
            failure: Some(RunError {
                error,
                kept_step: None,
            }),
            adapter: None,
            steps: StepHistory::default(),
            evaluations: EvaluationHistory::default(),
        }
    }
}

/// Trains an adapter, to the end of the plan, a stop, or a failure.
///
/// The surroundings are told of everything as it happens; announcing the result is up to the caller. A failure is part
/// of the result, since a failed run may have kept an adapter.
pub async fn train(input: TrainingInput<'_>, surroundings: &dyn Surroundings) -> TrainingResult {
    let mut session = match Session::start(&input, surroundings).await {
        Ok(session) => session,
        Err(error) => return TrainingResult::failed_at_start(error),
    };
    let mut ended = session.run().await;
    let mut outcome = RunOutcome::Finished;
    if ended == Err(Interruption::Stopped) {
        outcome = RunOutcome::Stopped;
        session.pacing.ignore_stop();
        ended = session.keep_an_adapter().await;
    }
    match ended {
        Err(Interruption::Failed(error)) => {
            session.fall_back().await;
            let kept_step = session.best.as_ref().map(|best| best.adapter.step);
            let failure = RunError { error, kept_step };
            session.into_result(RunOutcome::Failed, Some(failure))
        }
        _ => session.into_result(outcome, None),
    }
}

/// Makes the state before the first step: that of `initial`, or of a new adapter of the plan's settings.
///
/// # Errors
/// Those of [`TrainingState::start`].
pub async fn start(
    plan: &RunPlan,
    initial: Option<&TrainedAdapter>,
    model: &Model,
) -> Result<TrainingState, TrainError> {
    let RunPlan { spec, device, .. } = plan;
    match initial.cloned() {
        Some(TrainedAdapter { form, parameters }) => {
            Ok(TrainingState::of(spec, form, parameters, *device))
        }
        None => TrainingState::start(spec, model, *device).await,
    }
}

/// A run under way.
struct Session<'a> {
    input: &'a TrainingInput<'a>,
    surroundings: &'a dyn Surroundings,
    pacing: Pacing<'a>,
    state: TrainingState,
    /// What the run leaves if it ends now.
    best: Option<Best>,
    steps: StepHistory,
    evaluations: EvaluationHistory,
    time_left: TimeLeft,
    /// On the clock without pauses.
    started_millis: f64,
}

/// The adapter with the lowest validation loss so far, or the newest if no rows are held out.
struct Best {
    adapter: Snapshot,
    /// Its mean loss on the held-out rows; `None` if it was not scored.
    loss: Option<f64>,
}

impl<'a> Session<'a> {
    /// Makes the state of the run; reports and scores nothing yet.
    ///
    /// # Errors
    /// Those of [`TrainingState::start`].
    async fn start(
        input: &'a TrainingInput<'a>,
        surroundings: &'a dyn Surroundings,
    ) -> Result<Self, TrainError> {
        let pacing = Pacing::new(surroundings);
        let started_millis = pacing.active_millis();
        Ok(Self {
            input,
            surroundings,
            pacing,
            state: start(input.plan, input.initial, input.model).await?,
            best: None,
            steps: StepHistory::default(),
            evaluations: EvaluationHistory::default(),
            time_left: TimeLeft::default(),
            started_millis,
        })
    }

    /// Takes all steps of the plan, with an evaluation before the first, every `eval_steps`, and after the last.
    ///
    /// # Errors
    /// The user's stop, or what ended the run.
    async fn run(&mut self) -> Result<(), Interruption<TrainError>> {
        let plan = self.input.plan;
        let schedule = Schedule::new(&plan.spec, plan.num_steps);
        let mut batches = BatchSchedule::new(self.input.train, &plan.spec);
        self.evaluate(0).await?;
        self.pacing.enter(RunState::Training);
        for step in 1..=plan.num_steps {
            let micro_batches = batches.next_step();
            let learning_rate = schedule.learning_rate_at(step);
            self.step(step, &micro_batches, learning_rate, &batches)
                .await?;
            if step % plan.eval_steps == 0 || step == plan.num_steps {
                self.evaluate(step).await?;
                if step < plan.num_steps {
                    self.pacing.enter(RunState::Training);
                }
            }
        }
        Ok(())
    }

    /// Takes one optimizer step and reports it. `batches` is the schedule after it has handed out `micro_batches`.
    ///
    /// The speed counts tokens without padding; the time left is estimated from tokens with it, since they are
    /// computed, too.
    async fn step(
        &mut self,
        step: u64,
        micro_batches: &[Batch],
        learning_rate: f64,
        batches: &BatchSchedule<'_>,
    ) -> Result<(), Interruption<TrainError>> {
        let started = self.pacing.active_millis();
        let StepOutcome {
            loss,
            grad_norm,
            scored_tokens,
        } = self
            .state
            .step(self.input.model, micro_batches, learning_rate, &self.pacing)
            .await?;
        let now = self.pacing.active_millis();
        let elapsed_millis = now - started;
        let num_tokens: usize = micro_batches.iter().map(Batch::num_tokens).sum();
        let num_padded: usize = micro_batches.iter().map(Batch::num_padded).sum();
        self.time_left
            .stepped(step, num_padded as f64, elapsed_millis);
        let ahead = self.ahead_of(step, batches);
        let metrics = StepMetrics {
            step,
            num_steps: self.input.plan.num_steps,
            epoch: batches.epoch(),
            loss,
            learning_rate,
            grad_norm,
            num_tokens: num_tokens as u64,
            scored_tokens: scored_tokens as u64,
            tokens_per_sec: num_tokens as f64 / (elapsed_millis / 1000.0).max(1e-9),
            elapsed_millis,
            device_memory_bytes: self.memory_bytes(),
            remaining_secs: self.time_left.secs(ahead, now),
        };
        self.steps.push(metrics);
        self.surroundings.stepped(metrics);
        Ok(())
    }

    /// Scores the held-out rows and keeps the adapter if it is the best so far. Step 0 is the base.
    ///
    /// Without held-out rows it keeps the current adapter unseen. Either way the parameters must be finite.
    ///
    /// # Errors
    /// The user's stop, the device's failure, or [`TrainError::NonFinite`].
    async fn evaluate(&mut self, step: u64) -> Result<(), Interruption<TrainError>> {
        let parameters = &self.state.parameters;
        if !parameters.iter().all(|parameter| parameter.is_finite()) {
            return Err(self.non_finite(NonFinite::Adapter, step));
        }
        if self.input.validation.is_empty() {
            if step > 0 {
                self.keep(step, None);
            }
            return Ok(());
        }
        self.pacing.enter(RunState::Evaluating);
        let started = self.pacing.active_millis();
        let model = self.input.model;
        let adapter = (step > 0).then(|| self.state.upload(model));
        let HeldOutLoss {
            loss,
            scored_tokens,
            bad_row,
            num_bad_rows,
        } = mean_loss(
            model,
            adapter.as_ref(),
            self.input.validation,
            &self.input.plan.spec,
            self.input.plan.device.precision,
            &self.pacing,
        )
        .await?;
        if !loss.is_finite() {
            let what = NonFinite::HeldOutLoss {
                row: bad_row,
                is_alone: num_bad_rows == 1 && self.input.validation.len() > 1,
            };
            return Err(self.non_finite(what, step));
        }
        // Two comparisons: what is reported counts the base, what is kept does not.
        let is_best = self.evaluations.iter().all(|earlier| loss < earlier.loss);
        let beats_kept = self
            .best
            .as_ref()
            .and_then(|best| best.loss)
            .is_none_or(|best| loss < best);
        if step > 0 && beats_kept {
            self.keep(step, Some(loss));
        }
        let elapsed_millis = self.pacing.active_millis() - started;
        let metrics = EvaluationMetrics {
            step,
            loss,
            scored_tokens,
            is_best,
            elapsed_millis,
        };
        self.time_left.evaluated(step, elapsed_millis);
        self.evaluations.push(metrics);
        self.surroundings.evaluated(metrics);
        Ok(())
    }

    /// Makes the failure of numbers that are not finite in the evaluation after a step.
    fn non_finite(&self, what: NonFinite, step: u64) -> Interruption<TrainError> {
        let precision = self.input.plan.device.precision;
        let at = what.at(step, self.state.learned_at, precision);
        Interruption::Failed(TrainError::NonFinite(at))
    }

    /// Makes the current parameters those that the run leaves.
    fn keep(&mut self, step: u64, loss: Option<f64>) {
        let parameters = self.state.parameters.clone();
        self.best = Some(Best {
            adapter: Snapshot { step, parameters },
            loss,
        });
    }

    /// Makes sure that the run has an adapter to keep when it ends: the best one that was scored, otherwise the current
    /// one.
    async fn keep_an_adapter(&mut self) -> Result<(), Interruption<TrainError>> {
        let steps = self.state.optimizer.step;
        let is_settled = self.best.is_some() && !self.input.validation.is_empty();
        if is_settled || steps == 0 {
            return Ok(());
        }
        self.evaluate(steps).await
    }

    /// Like [`Self::keep_an_adapter`], after a failure: with the newest parameters that are known to be good.
    async fn fall_back(&mut self) {
        self.pacing.ignore_stop();
        if let Some(Snapshot { step, parameters }) = self.state.last_finite.take() {
            self.state.parameters = parameters;
            self.state.optimizer.step = step;
            // A failure here hides nothing: the first failure is reported, and what was kept stays. A lost device can
            // no longer score, but its failure does not mean that the parameters are bad.
            if let Err(Interruption::Failed(TrainError::Device(_))) = self.keep_an_adapter().await
                && self.best.is_none()
            {
                self.keep(step, None);
            }
        }
    }

    /// What is still to be done after a step; the evaluation that is due after it, too.
    fn ahead_of(&self, step: u64, batches: &BatchSchedule<'_>) -> Ahead {
        let plan = self.input.plan;
        let steps = plan.num_steps - step;
        let evaluations = if self.input.validation.is_empty() {
            0
        } else {
            plan.num_steps.div_ceil(plan.eval_steps) - (step - 1) / plan.eval_steps
        };
        Ahead {
            steps,
            tokens: batches.tokens_ahead(steps),
            evaluations,
        }
    }

    /// The memory held by the device's allocator, or by the worker if the backend has no allocator of its own.
    fn memory_bytes(&self) -> Option<u64> {
        let pools = self.input.model.device.memory_pool_usage();
        pools
            .map(|usage| usage.bytes_reserved)
            .or_else(|| self.surroundings.memory_bytes())
    }

    /// Makes the result; the adapter is what was kept.
    fn into_result(self, outcome: RunOutcome, failure: Option<RunError>) -> TrainingResult {
        let base_validation_loss = self.evaluations.base().map(|metrics| metrics.loss);
        let summary = RunSummary {
            outcome,
            steps: self.steps.num_steps(),
            base_validation_loss,
            tuned_validation_loss: self.best.as_ref().and_then(|best| best.loss),
            best_step: self.best.as_ref().map_or(0, |best| best.adapter.step),
            elapsed_secs: (self.pacing.active_millis() - self.started_millis) / 1000.0,
            trainable_parameters: self.state.form.layout.num_parameters as u64,
            has_adapter: self.best.is_some(),
        };
        TrainingResult {
            summary,
            failure,
            adapter: self.best.map(|best| {
                Rc::new(TrainedAdapter {
                    form: self.state.form,
                    parameters: best.adapter.parameters,
                })
            }),
            steps: self.steps,
            evaluations: self.evaluations,
        }
    }
}
