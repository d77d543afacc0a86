//! Plans and trains a run with what is loaded.

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
