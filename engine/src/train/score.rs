//! Scoring rows that are not learnt from.

use std::cell::Cell;

use super::{
    pacing::{Interruption, Pacing},
    step::{evaluate, token_losses},
};
use crate::{
    adapter::DeviceAdapter,
    data::{
        TokenSequence,
        batch::{Batch, evaluation_batches},
    },
    host::Host,
    model::Llama,
    protocol::{Event, Phase, RunSpec},
};

/// Mean negative log-likelihood over `rows`, and the tokens it was taken over; of the base where there is no adapter.
/// Tells its progress.
///
/// # Errors
/// The user's stop, or the device's failure.
pub async fn mean_loss(
    model: &Llama,
    adapter: Option<&DeviceAdapter>,
    rows: &[TokenSequence],
    spec: &RunSpec,
    pacing: &Pacing<'_>,
    host: &dyn Host,
) -> Result<(f64, u64), Interruption> {
    let (nll_sum, scored, done) = (Cell::new(0.0), Cell::new(0), Cell::new(0));
    for batch in evaluation_batches(rows, spec) {
        nll_sum.set(nll_sum.get() + evaluate(model, adapter, &batch, pacing).await?);
        scored.set(scored.get() + batch.num_scored() as u64);
        done.set(done.get() + batch.rows.len() as u64);
        host.emit(Event::Progress {
            phase: Phase::Evaluating,
            done: done.get(),
            total: Some(rows.len() as u64),
        });
    }
    Ok((nll_sum.get() / scored.get() as f64, scored.get()))
}

/// Index of the likeliest of `candidates`, which differ in what is scored: the one whose scored tokens have the greatest
/// probability together. `None` where there is none.
///
/// # Errors
/// As [`mean_loss`].
pub async fn likeliest(
    model: &Llama,
    adapter: Option<&DeviceAdapter>,
    candidates: &[TokenSequence],
    pacing: &Pacing<'_>,
) -> Result<Option<usize>, Interruption> {
    let batch = Batch::packed(&candidates.iter().collect::<Vec<_>>());
    let losses = token_losses(model, adapter, &batch, pacing).await?;
    let mut losses = losses.into_iter();
    let sums: Vec<f32> = candidates
        .iter()
        .map(|candidate| losses.by_ref().take(candidate.num_scored()).sum())
        .collect();
    let order = sums.iter().enumerate();
    Ok(order
        .min_by(|one, other| one.1.total_cmp(other.1))
        .map(|(index, _)| index))
}
