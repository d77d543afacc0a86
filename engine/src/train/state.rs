//! The state that an optimizer step changes: the adapter's parameters and the optimizer's moments.
//!
//! A step ([`TrainingState::step`]) is
//!
//! ```text
//! upload parameters -> for each micro-batch: sum of losses, sum of gradients     device
//!  -> divide by the scored tokens -> finite? -> clip -> AdamW -> parameters      host
//! ```
//!
//! so `per_device_train_batch_size` and `gradient_accumulation_steps` only decide how much is computed at a time: each
//! scored token of the step has the same weight, whichever micro-batch it is in (as transformers' `Trainer` does with
//! `num_items_in_batch`).
//!
//! All state is on the host. The device holds a copy of the adapter only for the duration of a step, and a failed or
//! stopped step leaves the parameters as they were.

use std::{borrow::Cow, slice};

use protocol::RunSpec;

use super::{
    error::TrainError,
    non_finite::NonFinite,
    optimizer::{AdamW, AdamWConfig, clip_factor, global_norm},
    step::forward_backward,
};
use crate::{
    adapter::{AdapterForm, DeviceAdapter},
    data::batch::Batch,
    device::DeviceProfile,
    layers::dropout::Dropout,
    model::Model,
    pacing::{Interruption, Pacing},
};

/// An adapter in training.
#[derive(Debug, Clone)]
pub struct TrainingState {
    /// What the parameters mean: layout, scaling, fixed matrices.
    pub form: AdapterForm,
    /// In the layout's order. Finite until a step makes them otherwise, which the next evaluation finds.
    pub parameters: Vec<f32>,
    /// The moments, and the number of steps done.
    pub optimizer: AdamW,
    /// The newest parameters known to give a finite loss and gradient; `None` before the second step, since the initial
    /// parameters are not a tuned adapter.
    pub last_finite: Option<Snapshot>,
    /// The learning rate of the latest step that changed the parameters; a rate of 0 changes nothing.
    pub learned_at: Option<f64>,
    /// What computes the steps, and in which precision.
    pub device: DeviceProfile,
    /// The largest global norm of a gradient; 0 is no limit.
    max_grad_norm: f64,
    /// For the inputs of the adapter, `lora_dropout`; 0 is off.
    dropout_probability: f64,
    /// The run's seed, from which the dropout masks are drawn.
    seed: u64,
    /// Passes so far, over the whole run: each has its own dropout masks.
    num_micro_steps: u64,
}

/// Parameters after a step, to be kept or to fall back to.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The number of optimizer steps that led to them.
    pub step: u64,
    /// In the layout's order.
    pub parameters: Vec<f32>,
}

/// The loss and gradient of an optimizer step, per scored token.
#[derive(Debug, Clone)]
pub struct MeanGradient {
    /// Mean negative log-likelihood, natural logarithm.
    pub loss: f64,
    /// Before clipping, in the layout's order.
    pub gradients: Vec<f32>,
    /// The number of tokens that the loss covers, over all micro-batches.
    pub scored_tokens: usize,
}

/// The numbers that an optimizer step reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOutcome {
    /// Mean negative log-likelihood per scored token, before the update.
    pub loss: f64,
    /// The global L2 norm of the mean gradient, before clipping.
    pub grad_norm: f64,
    /// The number of tokens that the loss covers.
    pub scored_tokens: usize,
}

impl TrainingState {
    /// Makes the initial state of a run with a new adapter; `spec.seed` determines its random parameters.
    ///
    /// # Errors
    /// [`TrainError::Start`]: the device's failure while the adapter's initialization is computed from the base.
    pub async fn start(
        spec: &RunSpec,
        model: &Model,
        device: DeviceProfile,
    ) -> Result<Self, TrainError> {
        let started = AdapterForm::start(&spec.adapter, model, spec.seed).await;
        let (form, parameters) = started.map_err(|failure| TrainError::Start(Box::new(failure)))?;
        Ok(Self::of(spec, form, parameters, device))
    }

    /// Makes the initial state of a run that continues an adapter: its parameters, but fresh moments and a step count
    /// of 0.
    ///
    /// # Shapes
    /// - `parameters`: one number for each of `form.layout.num_parameters`
    pub fn of(
        spec: &RunSpec,
        form: AdapterForm,
        parameters: Vec<f32>,
        device: DeviceProfile,
    ) -> Self {
        let groups = form.layout.groups();
        Self {
            optimizer: AdamW::new(AdamWConfig::from(spec), parameters.len()).with_groups(groups),
            form,
            parameters,
            last_finite: None,
            learned_at: None,
            device,
            max_grad_norm: spec.max_grad_norm,
            dropout_probability: spec.adapter.dropout(),
            seed: spec.seed,
            num_micro_steps: 0,
        }
    }

    /// Makes the current adapter on the device; later steps do not change it.
    pub fn upload(&self, model: &Model) -> DeviceAdapter {
        self.form.upload(&self.parameters, model)
    }

    /// Takes one optimizer step over the micro-batches together. After an error the parameters are unchanged.
    ///
    /// The reported loss is that of the parameters before the update, as transformers logs it.
    ///
    /// # Errors
    /// The user's stop, the device's failure, or [`TrainError::NonFinite`] if the loss or the gradient is not finite.
    pub async fn step(
        &mut self,
        model: &Model,
        micro_batches: &[Batch],
        learning_rate: f64,
        pacing: &Pacing<'_>,
    ) -> Result<StepOutcome, Interruption<TrainError>> {
        let MeanGradient {
            loss,
            mut gradients,
            scored_tokens,
        } = self.gradient(model, micro_batches, pacing).await?;
        let done = self.optimizer.step;
        let grad_norm = global_norm(&gradients);
        if !loss.is_finite() || !grad_norm.is_finite() {
            let what = NonFinite::of_step(loss);
            let at = what.at(done + 1, self.learned_at, self.device.precision);
            return Err(Interruption::Failed(TrainError::NonFinite(at)));
        }
        // This step's loss and gradient were computed with the present parameters, which proves them usable.
        if done > 0 {
            self.last_finite = Some(Snapshot {
                step: done,
                parameters: self.parameters.clone(),
            });
        }
        // Clipping cannot rescue a gradient that is not finite, so it comes after the check.
        let factor = clip_factor(grad_norm, self.max_grad_norm) as f32;
        gradients
            .iter_mut()
            .for_each(|gradient| *gradient *= factor);
        self.optimizer
            .update(&mut self.parameters, &gradients, learning_rate)
            .map_err(|error| TrainError::Bug(error.to_string()))?;
        if learning_rate > 0.0 {
            self.learned_at = Some(learning_rate);
        }
        Ok(StepOutcome {
            loss,
            grad_norm,
            scored_tokens,
        })
    }

    /// Computes the loss and gradient over the micro-batches together: summed until all are known, then divided once,
    /// so that every scored token has the same weight.
    ///
    /// Changes nothing but the count of passes, on which dropout masks depend.
    ///
    /// # Shapes
    /// - `micro_batches`: `[b, t]` each, with at least one scored token among them
    /// - returns one gradient for each parameter
    ///
    /// # Errors
    /// The user's stop, or the device's failure.
    pub async fn gradient(
        &mut self,
        model: &Model,
        micro_batches: &[Batch],
        pacing: &Pacing<'_>,
    ) -> Result<MeanGradient, Interruption<TrainError>> {
        let adapter = self.upload(model);
        let mut nll_sum = 0.0;
        let mut gradients = vec![0.0f32; self.parameters.len()];
        let passes = self.passes(model, &adapter, micro_batches);
        for batch in passes.iter().flat_map(|passes| &**passes) {
            let dropout = self.next_dropout();
            let micro_step =
                forward_backward(model, &adapter, batch, dropout, self.device, pacing).await?;
            nll_sum += micro_step.nll_sum;
            add_gradients(&mut gradients, &micro_step.gradients)?;
        }
        let scored_tokens: usize = micro_batches.iter().map(Batch::num_scored).sum();
        let inverse = (1.0 / scored_tokens as f64) as f32;
        gradients
            .iter_mut()
            .for_each(|gradient| *gradient *= inverse);
        Ok(MeanGradient {
            loss: nll_sum / scored_tokens as f64,
            gradients,
            scored_tokens,
        })
    }

    /// Returns each micro-batch, or the passes it is split into so that every block of a pass can keep what its
    /// backward needs; see [`DeviceProfile::has_short_passes`]. Only packed batches are split.
    fn passes<'a>(
        &self,
        model: &Model,
        adapter: &DeviceAdapter,
        micro_batches: &'a [Batch],
    ) -> Vec<Cow<'a, [Batch]>> {
        let shape = model.block_shape(
            adapter,
            self.dropout_probability > 0.0,
            self.device.precision,
        );
        let max_tokens = match shape {
            Some(shape) if self.device.has_short_passes() => {
                shape.num_tokens(model.blocks.len(), self.device.activation_budget_bytes)
            }
            _ => usize::MAX,
        };
        let micro_batches = micro_batches.iter();
        let passes = micro_batches.map(|batch| match batch.passes(max_tokens) {
            Some(passes) => Cow::Owned(passes),
            None => Cow::Borrowed(slice::from_ref(batch)),
        });
        passes.collect()
    }

    /// Counts a pass and returns its dropout; `None` if dropout is off.
    fn next_dropout(&mut self) -> Option<Dropout> {
        self.num_micro_steps += 1;
        (self.dropout_probability > 0.0).then_some(Dropout {
            probability: self.dropout_probability,
            seed: self.seed,
            micro_step: self.num_micro_steps,
        })
    }
}

/// Adds a pass's gradients to the sum.
///
/// # Errors
/// [`TrainError::Bug`] if their lengths differ.
fn add_gradients(sum: &mut [f32], gradients: &[f32]) -> Result<(), Interruption<TrainError>> {
    if sum.len() != gradients.len() {
        let message = "the gradient and the adapter differ in length".to_owned();
        return Err(Interruption::Failed(TrainError::Bug(message)));
    }
    for (sum, gradient) in sum.iter_mut().zip(gradients) {
        *sum += gradient;
    }
    Ok(())
}
