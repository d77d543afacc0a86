//! One pass over a batch: the loss, and the gradient of every adapter.
//!
//! The forward keeps each block's input, and everything the backward needs for as many of the last blocks as the
//! [device](DeviceProfile::activation_budget_bytes) may keep. The head returns the gradient of its input (see [`super::loss`]);
//! then, from the last block to the first, a block that kept only its input is recomputed, this time keeping what its
//! backward needs (Chen et al., arXiv 1604.06174). So memory grows by one activation per block, whatever the depth, and
//! for short sequences no block is computed twice. Every block boundary is a place to yield, to pause and to stop.
//!
//! ```text
//! forward   embed -> block 0 -> block 1 -> ... -> block L-1 -> scored rows -> norm -> head: loss, gradient
//! keeps               input      input             all of it
//! backward  d_hidden <- block 0 <- block 1 <- ... <- block L-1 <- rows of zeros between <- norm
//!                       recomputed recomputed        at once
//! ```
//!
//! Only positions whose next token is scored reach the last norm and the head: `s` of the `n = b t` positions. Nothing
//! here divides by the number of tokens; sums are divided once per optimizer step, in [`super::state`].
//!
//! Evaluation uses the same forward without keeping anything. The loss and all gradients but that of a trained head are
//! read from the device in one transfer, since a read waits for everything that is queued.

use burn::tensor::Tensor;
use protocol::Precision;

use super::{
    error::TrainError,
    loss::{HeadLoss, cross_entropy},
};
use crate::{
    adapter::{DeviceAdapter, flatten_gradients, head, prompt_tuning},
    data::batch::Batch,
    device::DeviceProfile,
    kernels::rms_norm_backward,
    layers::{
        block::{self, PassContext, norm_gradient},
        dropout::Dropout,
    },
    model::Model,
    pacing::{Interruption, Pacing},
    sizes::chunk_rows,
    tensor::{index_tensor, read_all},
};

/// The loss and gradient of one batch, both as sums over its scored tokens.
pub struct MicroStep {
    /// The sum of negative log-likelihoods over the scored tokens.
    pub nll_sum: f64,
    /// Gradient of that sum, in the adapter's layout.
    /// One number for each trainable parameter.
    pub gradients: Vec<f32>,
}

/// The positions whose next token is scored, and those tokens; `s` of each, in the order of the batch.
struct Scored {
    /// Indices into the `b t` positions of the batch.
    positions: Vec<usize>,
    /// The id at the position after each of `positions`.
    targets: Vec<u32>,
}

impl Scored {
    /// Collects them from the loss mask.
    ///
    /// ```text
    /// ids        11 12 13 14 15         mask       0 0 1 0 1
    /// positions     1     3             targets    13, 15
    /// ```
    fn of(batch: &Batch) -> Self {
        let scored = (0..batch.ids.len()).filter(|&index| batch.loss_mask[index]);
        // A row's first token is never scored, so the position before is in the same row.
        let positions = scored.clone().map(|index| index - 1).collect();
        let targets = scored.map(|index| batch.ids[index]).collect();
        Self { positions, targets }
    }
}

/// Computes the loss and gradients of a batch.
///
/// A learned prompt is put in front of every row first, so `batch` comes without it. `dropout` is the micro-step's, and
/// recomputed blocks draw the same masks again. `device` gives the precision and how much may be kept.
///
/// # Shapes
/// - `batch`: `[b, t]`
/// - returns gradients in the order of the adapter's layout: per block its modules and norms, then the last norm, the
///   prompt, and the head
///
/// # Errors
/// The user's stop, or the device's failure. [`TrainError::Bug`] if a part of the result is missing.
pub async fn forward_backward(
    model: &Model,
    adapter: &DeviceAdapter,
    batch: &Batch,
    dropout: Option<Dropout>,
    device: DeviceProfile,
    pacing: &Pacing<'_>,
) -> Result<MicroStep, Interruption<TrainError>> {
    let batch = &*model.prompted(batch, Some(adapter));
    let context = model.context(batch, dropout, device.precision);
    let pass = Pass {
        model,
        context: &context,
        pacing,
    };
    let (hidden, kept) = pass
        .forward_saving(adapter, batch, device.activation_budget_bytes)
        .await?;

    let scored = Scored::of(batch);
    let rows = hidden.select(0, index_tensor(&scored.positions, &model.device));
    let norm = adapter.norm.as_ref().unwrap_or(&model.norm);
    let eps = model.config.rms_norm_eps;
    let normed = model.final_norm(rows.clone(), Some(adapter));
    let head_loss = pass.head_loss(normed.clone(), Some(adapter), &scored, true);
    let HeadLoss {
        nll,
        gradient,
        log_sums,
        ..
    } = head_loss.await?;
    let Some(gradient) = gradient else {
        return Err(bug("the head gave no gradient"));
    };
    let d_norm = adapter
        .norm
        .as_ref()
        .map(|_| norm_gradient(gradient.clone(), rows.clone(), eps));
    let zeros = rows.zeros_like();
    let d_rows = rms_norm_backward(gradient, rows, norm, eps, zeros);
    let mut d_hidden = spread_rows(d_rows, &scored.positions, batch.ids.len());

    let mut of_blocks: Vec<Option<Tensor<1>>> = vec![None; model.blocks.len()];
    for (block, kept) in model.blocks.iter().zip(kept).rev() {
        let block_adapter = &adapter.blocks[block.index];
        let saved = match kept {
            Kept::All(saved) => saved,
            Kept::Input(input) => {
                let (_, saved) = block.forward_saving(input, Some(block_adapter), &context, false);
                pacing.boundary(&d_hidden).await?;
                saved
            }
        };
        // The first block's input is the embedding: only a learned prompt has a use for its gradient.
        let needs_input = block.index > 0 || adapter.prompt.is_some();
        let (d_input, block_gradients) = block.backward(
            d_hidden.clone(),
            block_adapter,
            &context,
            saved,
            needs_input,
        );
        of_blocks[block.index] = flatten_gradients(block_gradients);
        if let Some(d_input) = d_input {
            d_hidden = d_input;
        }
        pacing.boundary(&d_hidden).await?;
    }
    let of_prompt = adapter.prompt.as_ref().map(|prompt| {
        let (vocabulary, [p, _]) = (model.config.vocab_size, prompt.dims());
        prompt_tuning::gradient(&d_hidden, &batch.ids, vocabulary, p)
    });
    let gradients = of_blocks
        .into_iter()
        .flatten()
        .chain(d_norm)
        .chain(of_prompt);
    // One read for the loss, too, which comes last.
    let read = gradients.chain([nll.sum()]).collect();
    let mut values = read_all(Tensor::cat(read, 0)).await?;
    let Some(nll_sum) = values.pop().map(f64::from) else {
        return Err(bug("no loss was read"));
    };
    // The head's gradient needs all log-sums, so it takes a second pass over the vocabulary. It comes last in the
    // layout.
    if let Some(own) = &adapter.head {
        let chunk = chunk_rows(scored.targets.len());
        values.extend(head::gradient(normed, own, &scored.targets, log_sums, chunk, pacing).await?);
    }
    Ok(MicroStep {
        nll_sum,
        gradients: values,
    })
}

/// Sums the negative log-likelihoods of a batch's scored tokens, under the base if there is no adapter.
///
/// The sum is in f64, so that long batches lose nothing. Dropout is off.
///
/// # Errors
/// The user's stop, or the device's failure.
pub async fn evaluate(
    model: &Model,
    adapter: Option<&DeviceAdapter>,
    batch: &Batch,
    precision: Precision,
    pacing: &Pacing<'_>,
) -> Result<f64, Interruption<TrainError>> {
    let losses = token_losses(model, adapter, batch, precision, pacing).await?;
    Ok(losses.into_iter().map(f64::from).sum())
}

/// Computes the negative log-likelihood of each of a batch's scored tokens, under the base if there is no adapter.
///
/// # Shapes
/// - returns `[s]`, in the order of the batch's positions
///
/// # Errors
/// The user's stop, or the device's failure.
pub async fn token_losses(
    model: &Model,
    adapter: Option<&DeviceAdapter>,
    batch: &Batch,
    precision: Precision,
    pacing: &Pacing<'_>,
) -> Result<Vec<f32>, Interruption<TrainError>> {
    let scores = token_scores(model, adapter, batch, precision, pacing).await?;
    Ok(scores.into_iter().map(|score| score.nll).collect())
}

/// A scored token under teacher forcing: predicted from the row's own tokens before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenScore {
    /// Negative log-likelihood, natural logarithm.
    pub nll: f32,
    /// Whether no other token is likelier there, so that greedy decoding writes it; see [`super::loss`] for ties.
    pub is_likeliest: bool,
}

/// Scores each of a batch's scored tokens, under the base if there is no adapter.
///
/// Nothing is kept for a backward, and dropout is off.
///
/// # Shapes
/// - returns `[s]`, in the order of the batch's positions; a learned prompt does not shift them
///
/// # Errors
/// The user's stop, or the device's failure. [`TrainError::Bug`] if the head gives no comparison with the likeliest
/// token.
pub async fn token_scores(
    model: &Model,
    adapter: Option<&DeviceAdapter>,
    batch: &Batch,
    precision: Precision,
    pacing: &Pacing<'_>,
) -> Result<Vec<TokenScore>, Interruption<TrainError>> {
    let batch = &*model.prompted(batch, adapter);
    let context = model.context(batch, None, precision);
    let pass = Pass {
        model,
        context: &context,
        pacing,
    };
    let hidden = pass.forward(adapter, batch).await?;
    let scored = Scored::of(batch);
    let rows = hidden.select(0, index_tensor(&scored.positions, &model.device));
    let loss = pass
        .head_loss(model.final_norm(rows, adapter), adapter, &scored, false)
        .await?;
    let Some(lead) = loss.lead else {
        return Err(bug("the head gave no lead"));
    };
    // One read for both.
    let values = read_all(Tensor::cat(vec![loss.nll, lead], 1)).await?;
    let score = |pair: &[f32]| TokenScore {
        nll: pair[0],
        is_likeliest: pair[1] <= 0.0,
    };
    Ok(values.chunks_exact(2).map(score).collect())
}

/// Makes the error of a part that is missing where the code promises one.
fn bug(message: &str) -> Interruption<TrainError> {
    Interruption::Failed(TrainError::Bug(message.to_owned()))
}

/// What a block keeps from its forward.
#[allow(
    clippy::large_enum_variant,
    reason = "a few kilobytes of handles a block"
)]
/// What a block keeps from its forward, `[n, ..]` tensors on the device.
enum Kept {
    /// Its input `[n, d]`: the block is computed again before its backward.
    Input(Tensor<2>),
    /// Everything that its backward needs.
    All(block::Saved),
}

/// The values shared by the parts of one pass, forward and backward.
struct Pass<'a> {
    model: &'a Model,
    context: &'a PassContext,
    pacing: &'a Pacing<'a>,
}

impl Pass<'_> {
    /// Computes the last block's output and keeps nothing.
    ///
    /// # Shapes
    /// - returns `[b t, d]`
    async fn forward(
        &self,
        adapter: Option<&DeviceAdapter>,
        batch: &Batch,
    ) -> Result<Tensor<2>, Interruption> {
        let mut hidden = self.model.embed(&batch.ids, adapter);
        for block in &self.model.blocks {
            let adapter = adapter.map(|adapter| &adapter.blocks[block.index]);
            hidden = block.forward(hidden, adapter, self.context, None);
            self.pacing.boundary(&hidden).await?;
        }
        Ok(hidden)
    }

    /// Computes the last block's output, as [`Self::forward`] does, and what every block keeps for its backward.
    ///
    /// The last blocks keep everything, because theirs are the first backwards: what they hold is freed soonest.
    ///
    /// # Shapes
    /// - returns `[b t, d]`, and one [`Kept`] per block, first block first
    async fn forward_saving(
        &self,
        adapter: &DeviceAdapter,
        batch: &Batch,
        kept_bytes: usize,
    ) -> Result<(Tensor<2>, Vec<Kept>), Interruption> {
        let blocks = &self.model.blocks;
        let first_kept = blocks.len() - self.num_kept(adapter, kept_bytes);
        let mut hidden = self.model.embed(&batch.ids, Some(adapter));
        let mut kept = Vec::with_capacity(blocks.len());
        for block in blocks {
            let input = hidden.clone();
            let adapter = Some(&adapter.blocks[block.index]);
            if block.index < first_kept {
                hidden = block.forward(hidden, adapter, self.context, None);
                kept.push(Kept::Input(input));
            } else {
                let (output, saved) = block.forward_saving(input, adapter, self.context, true);
                hidden = output.unwrap_or(hidden);
                kept.push(Kept::All(saved));
            }
            self.pacing.boundary(&hidden).await?;
        }
        Ok((hidden, kept))
    }

    /// Returns the number of last blocks that keep everything their backward needs. The very last always does: its
    /// backward follows at once.
    ///
    /// All blocks are taken to have the shape of the one that keeps most; see [`Model::block_shape`].
    fn num_kept(&self, adapter: &DeviceAdapter, kept_bytes: usize) -> usize {
        let has_dropout = self.context.dropout.is_some();
        let Some(shape) = self
            .model
            .block_shape(adapter, has_dropout, self.context.precision)
        else {
            return 0;
        };
        let heads = self.context.heads;
        let (tokens, layers) = (heads.batch * heads.tokens, self.model.blocks.len());
        shape.num_kept(tokens as u64, layers, kept_bytes).max(1)
    }

    /// Runs the head over the scored rows, in chunks that bound the number of logits held at a time.
    ///
    /// # Shapes
    /// - `normed`: `[s, d]`, after the last norm
    async fn head_loss(
        &self,
        normed: Tensor<2>,
        adapter: Option<&DeviceAdapter>,
        scored: &Scored,
        with_gradient: bool,
    ) -> Result<HeadLoss, Interruption> {
        // No fence between chunks, only a place to stop: their results are sums that the next chunk needs anyway.
        let breathe = async || self.pacing.breathe().await;
        cross_entropy(
            normed,
            self.model.head_of(adapter),
            &scored.targets,
            chunk_rows(scored.targets.len()),
            with_gradient,
            breathe,
        )
        .await
    }
}

/// Places `rows` at `positions` of a larger matrix, with zeros elsewhere: a gather from the rows and one row of zeros,
/// since a scatter would need atomics on the GPU.
///
/// ```text
/// rows r0 r1, positions 1 3, 5 rows   ->   0 r0 0 r1 0   =   select [2 0 2 1 2] of (r0, r1, zeros)
/// ```
///
/// # Shapes
/// - `rows`: `[s, d]`
/// - returns `[num_rows, d]`
fn spread_rows(rows: Tensor<2>, positions: &[usize], num_rows: usize) -> Tensor<2> {
    let device = rows.device();
    let [num_scored, hidden_size] = rows.dims();
    let mut sources = vec![num_scored; num_rows];
    for (source, &position) in positions.iter().enumerate() {
        sources[position] = source;
    }
    let zeros = Tensor::zeros([1, hidden_size], &device);
    Tensor::cat(vec![rows, zeros], 0).select(0, index_tensor(&sources, &device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::TokenSequence,
        testing::{Array, Random},
    };

    #[test]
    fn rows_are_spread_over_zeros() {
        let mut random = Random::new();
        for _ in 0..10 {
            let (num_rows, d) = (random.size(1..40), random.size(1..9));
            let positions: Vec<usize> = (0..num_rows).filter(|_| random.size(0..3) == 0).collect();
            let rows = random.array([positions.len(), d]);
            if positions.is_empty() {
                continue;
            }
            let expected = Array::from_fn([num_rows, d], |index| {
                let source = positions.iter().position(|&position| position == index / d);
                source.map_or(0.0, |source| rows.at(source, index % d))
            });
            let spread = spread_rows(rows.tensor(), &positions, num_rows);
            expected.assert_close("spread", spread, 0.0);
        }
    }

    #[test]
    fn a_scored_token_is_predicted_from_the_position_before_it() {
        let row = |ids: &[u32], mask: &[bool]| TokenSequence {
            row: 0,
            ids: ids.to_vec(),
            loss_mask: mask.to_vec(),
        };
        let first = row(&[11, 12, 13, 14, 15], &[false, false, true, false, true]);
        let second = row(&[21, 22], &[false, true]);
        let scored = Scored::of(&Batch::new(&[&first, &second]));
        // Rows are padded to eight.
        assert_eq!(scored.positions, [1, 3, 8]);
        assert_eq!(scored.targets, [13, 15, 22]);
    }
}
