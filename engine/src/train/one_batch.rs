//! The first optimizer step of a run by itself, on an adapter that is discarded.
//!
//! It shows what a run would train on before the run: the very micro-batches of the first step, the loss of each token,
//! and whether one step at the full rate lowers the loss of these tokens.
//!
//! ```text
//! losses (base, or the adapter to continue) -> the step -> loss_after on the same micro-batches
//! ```

use super::{
    error::TrainError,
    non_finite::NonFinite,
    session::{self, TrainedAdapter},
    state::StepOutcome,
    step::{evaluate, token_losses},
};
use crate::{
    data::{Batch, BatchSchedule, TokenSequence},
    model::Model,
    pacing::{Interruption, Pacing},
    plan::RunPlan,
    surroundings::Surroundings,
};

/// What the step was taken on, and what it did.
pub struct OneBatch {
    /// The micro-batches of the first step of the schedule.
    pub micro_batches: Vec<Batch>,
    /// The losses of the scored tokens of every micro-batch, in order, before the step, without dropout.
    pub losses: Vec<Vec<f32>>,
    /// Mean over all scored tokens, after the step.
    pub loss_after: f64,
    /// The global L2 norm of the mean gradient, before clipping.
    pub grad_norm: f64,
}

impl OneBatch {
    /// Returns the mean over all scored tokens, before the step.
    pub fn loss_before(&self) -> f64 {
        let losses = self.losses.iter().flatten();
        losses.map(|&loss| f64::from(loss)).sum::<f64>() / self.num_scored() as f64
    }

    /// Returns the number of tokens that the loss covers, over all micro-batches.
    pub fn num_scored(&self) -> usize {
        self.losses.iter().map(Vec::len).sum()
    }
}

/// Takes the step with the schedule's highest rate: the first rate of a warm-up is 0, which would show nothing. It is
/// paused and stopped like a run.
///
/// `initial` is the adapter to continue and stays as it is.
///
/// # Errors
/// The user's stop, the device's failure, or a loss or gradient that is not finite, before the step or after it.
pub async fn step(
    plan: &RunPlan,
    model: &Model,
    initial: Option<&TrainedAdapter>,
    train: &[TokenSequence],
    surroundings: &dyn Surroundings,
) -> Result<OneBatch, Interruption<TrainError>> {
    let pacing = Pacing::new(surroundings);
    let precision = plan.device.precision;
    let micro_batches = BatchSchedule::new(train, &plan.spec).next_step();
    let mut state = session::start(plan, initial, model).await?;
    // A new adapter does not change anything yet, except for a prompt.
    let is_changed = initial.is_some() || plan.spec.adapter.prompt_tokens() > 0;
    let present = is_changed.then(|| state.upload(model));
    let mut losses = Vec::with_capacity(micro_batches.len());
    for batch in &micro_batches {
        losses.push(token_losses(model, present.as_ref(), batch, precision, &pacing).await?);
    }
    let rate = plan.spec.learning_rate;
    let StepOutcome { grad_norm, .. } = state.step(model, &micro_batches, rate, &pacing).await?;
    let adapter = state.upload(model);
    let mut nll_sum = 0.0;
    for batch in &micro_batches {
        nll_sum += evaluate(model, Some(&adapter), batch, precision, &pacing).await?;
    }
    let scored: usize = micro_batches.iter().map(Batch::num_scored).sum();
    let loss_after = nll_sum / scored as f64;
    if !loss_after.is_finite() {
        let at = NonFinite::Loss.at(1, Some(rate), precision);
        return Err(Interruption::Failed(TrainError::NonFinite(at)));
    }
    Ok(OneBatch {
        micro_batches,
        losses,
        loss_after,
        grad_norm,
    })
}
