//! Plans and trains a run with what is loaded.
//!
//! These are thin: the workbench's parts become the plain input of [`crate::train`], whose reports [`Gathering`] turns
//! into events. After each of them the device's memory for activations is released.

use protocol::{BatchPreview, BatchRow, BatchToken, Failure, RunId, RunSpec};

use super::model::LoadedModel;
use crate::{
    data::prepare::Prepared,
    device::DeviceProfile,
    host::{Gathering, Host},
    pacing::Interruption,
    plan::RunPlan,
    train::{
        one_batch::{self, OneBatch},
        session::{self, TrainedAdapter, TrainingInput, TrainingResult},
    },
};

/// Checks a run; see [`RunPlan::new`].
///
/// The plan has the settings as they will be used, the memory that the run takes, and the number of its steps. `device`
/// limits what it may take; the weights that are loaded already count.
///
/// # Errors
/// All impossible settings at once.
pub fn plan(
    spec: &RunSpec,
    model: &LoadedModel,
    prepared: &Prepared,
    device: DeviceProfile,
) -> Result<RunPlan, Failure> {
    let resident_bytes = model.base.num_bytes();
    let (model, dataset) = (&model.summary, &prepared.summary);
    Ok(RunPlan::new(spec, model, dataset, device, resident_bytes)?)
}

/// Trains; see [`session::train`].
///
/// Whatever happens is part of the result: a stop, and a failure too. `initial` is the adapter that the run continues.
pub async fn train(
    run: RunId,
    plan: &RunPlan,
    model: &LoadedModel,
    initial: Option<&TrainedAdapter>,
    prepared: &Prepared,
    host: &dyn Host,
) -> TrainingResult {
    let input = TrainingInput {
        plan,
        model: &model.base,
        initial,
        train: &prepared.train,
        validation: &prepared.validation,
    };
    let gathering = Gathering::new(host, run);
    let result = session::train(input, &gathering).await;
    gathering.send();
    // Releases the memory of activations; the weights stay.
    model.base.device.memory_cleanup();
    result
}

/// Takes the first step of a run; see [`one_batch::step`]. `None` if it was stopped.
///
/// The adapter of the step is discarded. `loss_before` and `loss_after` are those of the same rows, so their difference
/// is what the step learned of them.
///
/// # Shapes
/// - `rows` of the preview: those of all micro-batches in turn, each with its tokens and without padding
///
/// # Errors
/// A device's failure, or a loss or gradient that is not finite.
pub async fn step_one_batch(
    run: RunId,
    plan: &RunPlan,
    model: &LoadedModel,
    initial: Option<&TrainedAdapter>,
    prepared: &Prepared,
    host: &dyn Host,
) -> Result<Option<BatchPreview>, Failure> {
    let gathering = Gathering::new(host, run);
    let stepped = one_batch::step(plan, &model.base, initial, &prepared.train, &gathering).await;
    gathering.send();
    model.base.device.memory_cleanup();
    match stepped {
        Ok(stepped) => Ok(Some(BatchPreview {
            rows: preview_rows(&stepped, model),
            loss_before: stepped.loss_before(),
            loss_after: stepped.loss_after,
            grad_norm: stepped.grad_norm,
            learning_rate: plan.spec.learning_rate,
            scored_tokens: stepped.num_scored() as u64,
        })),
        Err(Interruption::Stopped) => Ok(None),
        Err(Interruption::Failed(error)) => Err(error.into()),
    }
}

/// The rows of the step's micro-batches, token by token, each scored token with its loss before the step. The losses of
/// a micro-batch are those of its scored tokens alone, in their order, so they are handed out along the loss mask.
///
/// ```text
/// ids        [ 1  5  9 | 1  7  3 ]     two rows of a packed micro-batch
/// loss_mask  [ .  .  x | .  x  x ]     losses [0.7, 1.2, 0.4]
/// rows       [1, 5, 9: 0.7]  [1, 7: 1.2, 3: 0.4]
/// ```
fn preview_rows(stepped: &OneBatch, model: &LoadedModel) -> Vec<BatchRow> {
    let encoder = model.encoder();
    let mut rows = Vec::new();
    for (batch, losses) in stepped.micro_batches.iter().zip(&stepped.losses) {
        let mut losses = losses.iter().copied();
        let places = batch.starts().into_iter().zip(&batch.lengths);
        for (&row, (start, &length)) in batch.rows.iter().zip(places) {
            let tokens = (start..start + length)
                .map(|at| BatchToken {
                    token: encoder.token_preview(batch.ids[at], batch.loss_mask[at]),
                    loss: batch.loss_mask[at].then(|| losses.next()).flatten(),
                })
                .collect();
            rows.push(BatchRow { row, tokens });
        }
    }
    rows
}
