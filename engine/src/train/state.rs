//! The state that an optimizer step changes: the adapter's parameters and the optimizer's moments.

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
    pub form: AdapterForm,
    /// In the layout's order.
    pub parameters: Vec<f32>,
    pub optimizer: AdamW,
    /// The newest parameters known to give a finite loss and gradient; `None` before the second step, since the initial
    /// parameters are not a tuned adapter.
    pub sound: Option<Snapshot>,
    /// The learning rate of the latest step that changed the parameters; a rate of 0 changes nothing.
    pub learned_at: Option<f64>,
    /// What computes the steps, and in which precision.
    pub device: DeviceProfile,
    max_grad_norm: f64,
    dropout_probability: f64,
    seed: u64,
    num_micro_steps: u64,
}

/// Parameters after a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub step: u64,
    pub parameters: Vec<f32>,
}

/// The loss and gradient of an optimizer step, per scored token.
#[derive(Debug, Clone)]
pub struct MeanGradient {
    pub loss: f64,
    /// Before clipping, in the layout's order.
    pub gradients: Vec<f32>,
    pub scored_tokens: usize,
}

/// The numbers that an optimizer step reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOutcome {
    pub loss: f64,
    /// Before clipping.
    pub grad_norm: f64,
    pub scored_tokens: usize,
}

impl TrainingState {
    /// The initial state of a run.
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

    /// The initial state of a run that continues an adapter.
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
            sound: None,
            learned_at: None,
            device,
            max_grad_norm: spec.max_grad_norm,
            dropout_probability: spec.adapter.dropout(),
            seed: spec.seed,
            num_micro_steps: 0,
        }
    }

    /// The current adapter on the device.
    pub fn upload(&self, model: &Model) -> DeviceAdapter {
        self.form.upload(&self.parameters, model)
    }

    /// Takes one optimizer step over the micro-batches together. After an error the parameters are unchanged.
    ///
    /// # Errors
    /// The user's stop, a device's failure, or a loss or gradient that is not finite.
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
        if done > 0 {
            self.sound = Some(Snapshot {
                step: done,
                parameters: self.parameters.clone(),
            });
        }
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

    /// The loss and gradient over the micro-batches together: summed until all are known, then divided once, so that
    /// every scored token has the same weight.
    ///
    /// # Errors
    /// The user's stop, or a device's failure.
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

    /// Each micro-batch, or the passes it is split into; see [`DeviceProfile::has_short_passes`].
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
                shape.num_tokens(model.blocks.len(), self.device.kept_bytes)
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

    fn next_dropout(&mut self) -> Option<Dropout> {
        self.num_micro_steps += 1;
        (self.dropout_probability > 0.0).then_some(Dropout {
            probability: self.dropout_probability,
            seed: self.seed,
            micro_step: self.num_micro_steps,
        })
    }
}

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
