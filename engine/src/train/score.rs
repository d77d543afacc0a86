//! Scores rows that are not trained on.
//!
//! Rows are batched like training rows, with padding or in bins, and scored under teacher forcing: each scored token is
//! predicted from the row's own tokens before it. [`mean_loss`] gives the validation loss of a run, [`score_rows`] the
//! numbers of each row for an evaluation after it, and [`likeliest`] the best of several answers to the same prompt.
//!
//! ```text
//! loss            = sum of nll_sum / sum of num_scored      every token weighs the same, not every row
//! token accuracy  = sum of num_right / sum of num_scored
//! exact matches   = rows with is_exact
//! ```

use std::collections::BTreeSet;

use protocol::{Precision, RunSpec};

use super::{
    error::TrainError,
    step::{TokenScore, token_losses, token_scores},
};
use crate::{
    adapter::DeviceAdapter,
    data::{
        TokenSequence,
        batch::{Batch, evaluation_batches},
    },
    model::Model,
    pacing::{Interruption, Pacing},
};

/// The score of a row under a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowResult {
    /// 0-based row number in the dropped file.
    pub row: usize,
    /// Sum of negative log-likelihoods over the scored tokens, natural logarithm.
    pub nll_sum: f64,
    /// The number of tokens that the loss covers; at least 1 in a row that was prepared.
    pub num_scored: usize,
    /// The number of scored tokens that are the likeliest at their positions.
    pub num_right: usize,
    /// Whether greedy decoding writes everything that is scored, each turn after the row's own previous turns, and ends
    /// it there. The first token is decoded from the same tokens as under teacher forcing; if it matches the row, the
    /// next is, too, and so on to the end of the turn. So this needs no decoding: every scored token must be the
    /// likeliest, except for one right after a scored end of a turn (templates write a line break there), which
    /// decoding does not reach. A row that is cut before the end of its turn does not count.
    pub is_exact: bool,
}

/// Scores each of `rows`, under the base if there is no adapter; the results are in the order of the batches, which is
/// not that of `rows` if `spec` asks for packing.
///
/// `ends` are the tokens after which decoding stops; if there are none, no row counts as cut. `spec` says only how rows
/// are batched. Reports its progress in rows.
///
/// # Errors
/// The user's stop, or the device's failure.
pub async fn score_rows(
    model: &Model,
    adapter: Option<&DeviceAdapter>,
    rows: &[TokenSequence],
    spec: &RunSpec,
    ends: &BTreeSet<u32>,
    precision: Precision,
    pacing: &Pacing<'_>,
) -> Result<Vec<RowResult>, Interruption<TrainError>> {
    let mut results = Vec::with_capacity(rows.len());
    for batch in evaluation_batches(rows, spec) {
        let scores = token_scores(model, adapter, &batch, precision, pacing).await?;
        results.extend(of_rows(&batch, &scores, ends));
        pacing.progressed(results.len(), rows.len());
    }
    Ok(results)
}

/// Sums up the scored tokens of a batch, row by row.
///
/// # Shapes
/// - `scores`: one for each scored token, in the order of the batch
fn of_rows(batch: &Batch, scores: &[TokenScore], ends: &BTreeSet<u32>) -> Vec<RowResult> {
    let mut scores = scores.iter();
    let mut results = Vec::with_capacity(batch.rows.len());
    let places = batch.starts().into_iter().zip(&batch.lengths);
    for (&row, (start, &length)) in batch.rows.iter().zip(places) {
        let mut result = RowResult {
            row,
            nll_sum: 0.0,
            num_scored: 0,
            num_right: 0,
            is_exact: true,
        };
        // How a row that was cut before its end would continue is unknown.
        let mut is_ended = ends.is_empty();
        let scored = (start..start + length).filter(|&at| batch.loss_mask[at]);
        for (at, score) in scored.zip(&mut scores) {
            // A row's first token is never scored, so the token before belongs to the same row.
            let is_behind_end = batch.loss_mask[at - 1] && ends.contains(&batch.ids[at - 1]);
            result.nll_sum += f64::from(score.nll);
            result.num_scored += 1;
            result.num_right += usize::from(score.is_likeliest);
            // Decoding ends with the end of a turn; what the template writes after it is nobody's answer.
            result.is_exact &= score.is_likeliest || is_behind_end;
            is_ended |= ends.contains(&batch.ids[at]);
        }
        result.is_exact &= is_ended;
        results.push(result);
    }
    results
}

/// The loss over held-out rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOutLoss {
    /// Mean negative log-likelihood per scored token, natural logarithm.
    pub loss: f64,
    /// The number of tokens that the loss covers.
    pub scored_tokens: u64,
    /// The lowest number of a row whose own loss is not finite; `None` if the loss is finite.
    pub bad_row: Option<usize>,
    /// How many such rows there are.
    pub num_bad_rows: usize,
}

/// Computes the loss over `rows`, under the base if there is no adapter. Reports its progress.
///
/// A loss that is not finite is a result, not an error: the caller decides what it means.
///
/// # Errors
/// The user's stop, or the device's failure.
pub async fn mean_loss(
    model: &Model,
    adapter: Option<&DeviceAdapter>,
    rows: &[TokenSequence],
    spec: &RunSpec,
    precision: Precision,
    pacing: &Pacing<'_>,
) -> Result<HeldOutLoss, Interruption<TrainError>> {
    let ends = BTreeSet::new();
    let results = score_rows(model, adapter, rows, spec, &ends, precision, pacing).await?;
    let nll_sum: f64 = results.iter().map(|result| result.nll_sum).sum();
    let scored: usize = results.iter().map(|result| result.num_scored).sum();
    let is_bad = |result: &&RowResult| !result.nll_sum.is_finite();
    let bad = results.iter().filter(is_bad).map(|result| result.row);
    Ok(HeldOutLoss {
        loss: nll_sum / scored as f64,
        scored_tokens: scored as u64,
        bad_row: bad.clone().min(),
        num_bad_rows: bad.count(),
    })
}

/// Returns the index of the likeliest of `candidates`, which differ in their scored tokens: the one whose scored tokens
/// have the highest joint probability. `None` if there are no candidates.
///
/// A pass takes as many candidates, packed, as have `max_tokens` tokens together, or a single one. Probabilities are not
/// divided by the number of tokens: the candidates are whole answers, of which a longer one is less likely.
///
/// # Errors
/// Those of [`mean_loss`].
pub async fn likeliest(
    model: &Model,
    adapter: Option<&DeviceAdapter>,
    candidates: &[TokenSequence],
    max_tokens: usize,
    precision: Precision,
    pacing: &Pacing<'_>,
) -> Result<Option<usize>, Interruption<TrainError>> {
    let lengths = candidates.iter().map(|candidate| candidate.ids.len());
    let Some(longest) = lengths.max() else {
        return Ok(None);
    };
    let mut sums: Vec<f32> = Vec::with_capacity(candidates.len());
    for candidates in candidates.chunks((max_tokens / longest.max(1)).max(1)) {
        let batch = Batch::packed(&candidates.iter().collect::<Vec<_>>());
        let losses = token_losses(model, adapter, &batch, precision, pacing).await?;
        let mut losses = losses.into_iter();
        let scored = candidates.iter().map(TokenSequence::num_scored);
        sums.extend(scored.map(|num| losses.by_ref().take(num).sum::<f32>()));
    }
    let order = sums.iter().enumerate();
    Ok(order
        .min_by(|one, other| one.1.total_cmp(other.1))
        .map(|(index, _)| index))
}
