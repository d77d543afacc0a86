//! A run from its first evaluation to its end.
//!
//! ```text
//! evaluate base -> (micro-steps -> mean gradient -> clip -> AdamW -> StepMetrics -> now and then evaluate)* -> best
//! ```
//!
//! Losses and gradients are sums over scored tokens until the whole optimizer step is known, and are divided once by
//! its number of scored tokens: accumulation weighs every token alike, however rows fall into micro-batches.

use std::{cell::Cell, collections::VecDeque};

use super::{
    internal,
    optimizer::{AdamW, AdamWConfig, clip_factor, global_norm},
    pacing::{Interruption, Pacing},
    schedule::Schedule,
    step::{MicroStep, evaluate, forward_backward},
};
use crate::{
    adapter::AdapterLayout,
    data::{
        TokenSequence,
        batch::{Batch, BatchSchedule},
    },
    host::Host,
    layers::{block::BlockAdapter, dropout::Dropout},
    model::Llama,
    plan::RunPlan,
    protocol::{
        EvaluationMetrics, Event, Failure, FailureKind, Phase, RunId, RunOutcome, RunState,
        RunSummary, StepMetrics,
    },
};

/// Steps whose median duration predicts the rest.
const RECENT_STEPS: usize = 20;

/// What a run works on.
pub struct TrainingInput<'a> {
    pub run: RunId,
    pub plan: &'a RunPlan,
    pub model: &'a Llama,
    pub train: &'a [TokenSequence],
    pub validation: &'a [TokenSequence],
}

/// What a run leaves behind, whatever its outcome.
#[derive(Debug, Clone)]
pub struct TrainingResult {
    pub summary: RunSummary,
    /// Why the run failed, if it did.
    pub failure: Option<Failure>,
    pub layout: AdapterLayout,
    /// The kept adapter, in the layout's order; always finite.
    pub parameters: Vec<f32>,
    pub steps: Vec<StepMetrics>,
    pub evaluations: Vec<EvaluationMetrics>,
}

/// Trains. Progress is told to `host` as it comes; the result is the caller's to announce.
pub async fn train(input: TrainingInput<'_>, host: &dyn Host) -> TrainingResult {
    let mut session = Session::new(&input, host);
    let outcome = match session.run().await {
        Ok(()) => Ok(RunOutcome::Finished),
        Err(Interruption::Stopped) => session
            .settle_after_stop()
            .await
            .map(|()| RunOutcome::Stopped),
        Err(Interruption::Failed(failure)) => Err(failure),
    };
    match outcome {
        Ok(outcome) => session.into_result(outcome, None),
        Err(failure) => session.into_result(RunOutcome::Failed, Some(failure.in_run(input.run))),
    }
}

struct Session<'a> {
    input: &'a TrainingInput<'a>,
    host: &'a dyn Host,
    pacing: Pacing<'a>,
    layout: AdapterLayout,
    parameters: Vec<f32>,
    optimizer: AdamW,
    best: Option<Best>,
    steps: Vec<StepMetrics>,
    evaluations: Vec<EvaluationMetrics>,
    recent_millis: VecDeque<f64>,
    started_millis: f64,
    num_micro_steps: u64,
}

/// The adapter with the lowest validation loss so far, or the newest where nothing is held out.
struct Best {
    step: u64,
    loss: Option<f64>,
    parameters: Vec<f32>,
}

impl<'a> Session<'a> {
    fn new(input: &'a TrainingInput<'a>, host: &'a dyn Host) -> Self {
        let spec = &input.plan.spec;
        let layout = AdapterLayout::new(&spec.lora, &input.model.config);
        let parameters = layout.initial_parameters(spec.seed);
        let optimizer = AdamW::new(AdamWConfig::from(spec), parameters.len());
        let pacing = Pacing::new(host, input.run);
        let started_millis = pacing.active_millis();
        Self {
            input,
            host,
            pacing,
            layout,
            parameters,
            optimizer,
            best: None,
            steps: Vec::new(),
            evaluations: Vec::new(),
            recent_millis: VecDeque::new(),
            started_millis,
            num_micro_steps: 0,
        }
    }

    async fn run(&mut self) -> Result<(), Interruption> {
        let plan = self.input.plan;
        let schedule = Schedule::new(&plan.spec, plan.num_steps);
        let mut batches = BatchSchedule::new(self.input.train, &plan.spec);
        self.evaluate(0).await?;
        self.pacing.enter(RunState::Training);
        for step in 1..=plan.num_steps {
            let micro_batches = batches.next_step();
            let learning_rate = schedule.learning_rate_at(step);
            self.step(step, &micro_batches, learning_rate, batches.epoch())
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

    /// One optimizer step.
    async fn step(
        &mut self,
        step: u64,
        micro_batches: &[Batch],
        learning_rate: f64,
        epoch: f64,
    ) -> Result<(), Interruption> {
        let started = self.pacing.active_millis();
        let model = self.input.model;
        let adapter = self.layout.upload(&self.parameters, &model.device);
        let mut nll_sum = 0.0;
        let mut gradients = vec![0.0f32; self.parameters.len()];
        for batch in micro_batches {
            let dropout = self.next_dropout();
            let micro_step =
                forward_backward(model, &adapter, batch, dropout, &self.pacing).await?;
            nll_sum += micro_step.nll_sum;
            add_gradients(&mut gradients, &micro_step)?;
        }
        let scored_tokens: usize = micro_batches.iter().map(Batch::num_scored).sum();
        let loss = nll_sum / scored_tokens as f64;
        let inverse = (1.0 / scored_tokens as f64) as f32;
        gradients
            .iter_mut()
            .for_each(|gradient| *gradient *= inverse);
        let grad_norm = global_norm(&gradients);
        if !loss.is_finite() || !grad_norm.is_finite() {
            return Err(Interruption::Failed(non_finite(step, loss, learning_rate)));
        }
        self.update(&gradients, grad_norm, learning_rate)?;

        let elapsed_millis = self.pacing.active_millis() - started;
        let num_tokens: usize = micro_batches.iter().map(Batch::num_tokens).sum();
        let metrics = StepMetrics {
            step,
            num_steps: self.input.plan.num_steps,
            epoch,
            loss,
            learning_rate,
            grad_norm,
            num_tokens: num_tokens as u64,
            scored_tokens: scored_tokens as u64,
            tokens_per_sec: num_tokens as f64 / (elapsed_millis / 1000.0).max(1e-9),
            elapsed_millis,
            device_memory_bytes: self.memory_bytes(),
            remaining_secs: self.remaining_secs(step, elapsed_millis),
        };
        self.steps.push(metrics);
        self.host.emit(Event::Step {
            run: self.input.run,
            metrics,
        });
        Ok(())
    }

    fn update(
        &mut self,
        gradients: &[f32],
        grad_norm: f64,
        learning_rate: f64,
    ) -> Result<(), Interruption> {
        let factor = clip_factor(grad_norm, self.input.plan.spec.max_grad_norm) as f32;
        let clipped: Vec<f32> = gradients.iter().map(|gradient| gradient * factor).collect();
        self.optimizer
            .update(&mut self.parameters, &clipped, learning_rate)
            .map_err(|error| Interruption::Failed(internal(&error.to_string())))
    }

    fn next_dropout(&mut self) -> Option<Dropout> {
        let spec = &self.input.plan.spec;
        self.num_micro_steps += 1;
        (spec.lora.lora_dropout > 0.0).then_some(Dropout {
            probability: spec.lora.lora_dropout,
            seed: spec.seed,
            micro_step: self.num_micro_steps,
        })
    }

    /// Scores the held-out rows and keeps the adapter if it is the best so far. Step 0 is the base.
    async fn evaluate(&mut self, step: u64) -> Result<(), Interruption> {
        if self
            .parameters
            .iter()
            .any(|parameter| !parameter.is_finite())
        {
            return Err(Interruption::Failed(non_finite(step, f64::NAN, 0.0)));
        }
        if self.input.validation.is_empty() {
            if step > 0 {
                self.best = Some(Best {
                    step,
                    loss: None,
                    parameters: self.parameters.clone(),
                });
            }
            return Ok(());
        }
        self.pacing.enter(RunState::Evaluating);
        let started = self.pacing.active_millis();
        let model = self.input.model;
        let adapter = (step > 0).then(|| self.layout.upload(&self.parameters, &model.device));
        let (loss, scored_tokens) = self.validation_loss(adapter.as_deref()).await?;
        if !loss.is_finite() {
            return Err(Interruption::Failed(non_finite(step, loss, 0.0)));
        }
        let is_best = self.evaluations.iter().all(|earlier| loss < earlier.loss);
        let beats_kept = self
            .best
            .as_ref()
            .and_then(|best| best.loss)
            .is_none_or(|best| loss < best);
        if step > 0 && beats_kept {
            self.best = Some(Best {
                step,
                loss: Some(loss),
                parameters: self.parameters.clone(),
            });
        }
        let elapsed_millis = self.pacing.active_millis() - started;
        let metrics = EvaluationMetrics {
            step,
            loss,
            scored_tokens,
            is_best,
            elapsed_millis,
        };
        self.evaluations.push(metrics);
        self.host.emit(Event::Evaluation {
            run: self.input.run,
            metrics,
        });
        Ok(())
    }

    /// Mean negative log-likelihood over the held-out rows, and the tokens it was taken over.
    async fn validation_loss(
        &self,
        adapter: Option<&[BlockAdapter]>,
    ) -> Result<(f64, u64), Interruption> {
        let rows = self.input.validation;
        let batch_size = self.input.plan.spec.per_device_train_batch_size;
        let (nll_sum, scored, done) = (Cell::new(0.0), Cell::new(0), Cell::new(0));
        for rows_of_batch in rows.chunks(batch_size) {
            let batch = Batch::new(&rows_of_batch.iter().collect::<Vec<_>>());
            nll_sum.set(
                nll_sum.get() + evaluate(self.input.model, adapter, &batch, &self.pacing).await?,
            );
            scored.set(scored.get() + batch.num_scored() as u64);
            done.set(done.get() + rows_of_batch.len() as u64);
            let total = Some(rows.len() as u64);
            self.host.emit(Event::Progress {
                phase: Phase::Evaluating,
                done: done.get(),
                total,
            });
        }
        Ok((nll_sum.get() / scored.get() as f64, scored.get()))
    }

    /// After a stop: steps were made but no adapter was scored yet, so the present one is.
    async fn settle_after_stop(&mut self) -> Result<(), Failure> {
        self.pacing.ignore_stop();
        let steps = self.steps.len() as u64;
        if self.best.is_some() || steps == 0 {
            return Ok(());
        }
        match self.evaluate(steps).await {
            Err(Interruption::Failed(failure)) => Err(failure),
            Ok(()) | Err(Interruption::Stopped) => Ok(()),
        }
    }

    /// Seconds to come, from the median of recent steps; the first step compiles and is left out.
    fn remaining_secs(&mut self, step: u64, elapsed_millis: f64) -> Option<f64> {
        if step > 1 {
            self.recent_millis.push_back(elapsed_millis);
            if self.recent_millis.len() > RECENT_STEPS {
                self.recent_millis.pop_front();
            }
        }
        let mut sorted: Vec<f64> = self.recent_millis.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2)?;
        let plan = self.input.plan;
        let per_evaluation = self
            .evaluations
            .last()
            .map_or(0.0, |evaluation| evaluation.elapsed_millis);
        let num_evaluations = plan.num_steps.div_ceil(plan.eval_steps) - step / plan.eval_steps;
        let millis =
            median * (plan.num_steps - step) as f64 + per_evaluation * num_evaluations as f64;
        Some(millis / 1000.0)
    }

    /// What the device's allocator holds, or, where the backend has none of its own, the worker.
    fn memory_bytes(&self) -> Option<u64> {
        let pools = self.input.model.device.memory_pool_usage();
        pools
            .map(|usage| usage.bytes_reserved)
            .or_else(|| self.host.memory_bytes())
    }

    fn into_result(self, outcome: RunOutcome, failure: Option<Failure>) -> TrainingResult {
        let base_validation_loss = self
            .evaluations
            .iter()
            .find(|metrics| metrics.step == 0)
            .map(|metrics| metrics.loss);
        let summary = RunSummary {
            outcome,
            steps: self.steps.len() as u64,
            base_validation_loss,
            tuned_validation_loss: self.best.as_ref().and_then(|best| best.loss),
            best_step: self.best.as_ref().map_or(0, |best| best.step),
            elapsed_secs: (self.pacing.active_millis() - self.started_millis) / 1000.0,
            trainable_parameters: self.layout.num_parameters as u64,
            has_adapter: self.best.is_some(),
        };
        TrainingResult {
            summary,
            failure,
            layout: self.layout,
            parameters: self.best.map(|best| best.parameters).unwrap_or_default(),
            steps: self.steps,
            evaluations: self.evaluations,
        }
    }
}

fn add_gradients(sum: &mut [f32], micro_step: &MicroStep) -> Result<(), Interruption> {
    if sum.len() != micro_step.gradients.len() {
        return Err(Interruption::Failed(internal(
            "the gradient has another length than the adapter",
        )));
    }
    for (sum, gradient) in sum.iter_mut().zip(&micro_step.gradients) {
        *sum += gradient;
    }
    Ok(())
}

fn non_finite(step: u64, loss: f64, learning_rate: f64) -> Failure {
    let what = if loss.is_finite() {
        "A gradient became infinite or not a number."
    } else {
        "The loss became infinite or not a number."
    };
    let rate = if learning_rate > 0.0 {
        format!(", learning rate {learning_rate:.2e}")
    } else {
        String::new()
    };
    Failure::new(
        FailureKind::NonFinite,
        format!("{what} The last sound adapter is kept."),
    )
    .at(format!("step {step}{rate}"))
    .remedy("Lower the learning rate (a tenth is a good try) and start again.")
}
