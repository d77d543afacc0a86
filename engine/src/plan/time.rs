//! How long a run will take, from its shapes and from how fast the device computed a block and a part of the head.
//!
//! A step takes `n` tokens, including padding, through every block and back, and `s` scored tokens through the head. An
//! evaluation takes the held-out rows through them once. What a block takes is measured ([`Speed`]); what depends on
//! the settings is computed from it: attention grows with the length of the rows, blocks whose activations are not kept
//! are recomputed, and adapters add their own products. After a run, its steps correct the whole estimate.
//!
//! ```text
//! block = block_millis * layers * (1 + adapters + attention(t)) / (1 + attention(measured t))
//! step  = (n block (1 + 0.4 recomputed) + s head_millis) * accumulation + the optimizer's part
//! eval  = 0.5 held_out (block + scored_ratio * head_millis)
//! total = (step * num_steps + eval * num_evaluations) * ratio
//! ```
//!
//! `adapters` and `attention` are in units of the block's products with its weights, `sum of in * out` over its
//! modules.

use protocol::{ModelSummary, PreparedSummary, TargetModule};

use super::{RunPlan, memory::block_shape};
use crate::device::DeviceProfile;

/// Returns the number of tokens in the row with which a block is measured on that device: a GPU needs many to be busy,
/// a CPU is nearly as fast with few.
pub fn measured_tokens(device: DeviceProfile) -> usize {
    if device.has_short_passes() { 128 } else { 512 }
}

/// A forward's share of a forward with its backward: products with the weights come once in each.
const FORWARD: f64 = 0.5;
/// The recomputed share of a block: its forward except the last product.
const AGAIN: f64 = 0.4;
/// An adapter's products are narrow, and take more time than their share of the arithmetic.
const NARROW: f64 = 2.0;
/// The rest of a step: the optimizer, reading and writing the adapter.
const MILLIS_PER_STEP: f64 = 5.0;
/// The same, for each trainable parameter.
const MILLIS_PER_PARAMETER: f64 = 2e-5;

/// The speed of a device with a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Milliseconds of a block, forward and backward, for each token of a row of [`measured_tokens`].
    pub block_millis: f64,
    /// Milliseconds of the head's loss and gradient for each scored token.
    pub head_millis: f64,
    /// How much longer than computed the steps of the last run took; 1 before a run.
    pub ratio: f64,
}

/// The lengths of a run's rows, after they were cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowLengths {
    /// Tokens of each training row, ascending.
    training: Vec<usize>,
    /// Tokens of all held-out rows together.
    validation_tokens: usize,
}

impl RowLengths {
    /// Takes the lengths of the training rows in any order.
    pub fn new(mut training: Vec<usize>, validation_tokens: usize) -> Self {
        training.sort_unstable();
        Self {
            training,
            validation_tokens,
        }
    }

    /// Returns the mean length of the longest of `b` rows that are drawn at random, to which the others are padded.
    ///
    /// With lengths `l_1 <= ... <= l_n`, the longest of `b` draws is among the first `i` with probability `(i / n)^b`,
    /// so its mean is `sum l_i ((i / n)^b - ((i - 1) / n)^b)`. Draws count as independent, although an epoch draws each
    /// row once.
    fn mean_longest(&self, b: usize) -> f64 {
        let n = self.training.len() as f64;
        // The share of draws in which all rows are among the first `count`.
        let share = |count: usize| (count as f64 / n).powf(b as f64);
        let rows = self.training.iter().enumerate();
        rows.map(|(at, &length)| length as f64 * (share(at + 1) - share(at)))
            .sum()
    }

    /// Returns the mean length; 0 without rows.
    fn mean(&self) -> f64 {
        let sum: usize = self.training.iter().sum();
        sum as f64 / self.training.len().max(1) as f64
    }
}

/// The durations of the parts of a run, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeEstimate {
    /// One optimizer step, with all its micro-batches.
    pub step_secs: f64,
    /// One evaluation; 0 without held-out rows.
    pub evaluation_secs: f64,
    num_steps: u64,
    /// With the base's.
    num_evaluations: u64,
}

impl TimeEstimate {
    /// Estimates the parts of a run; `dataset` and `lengths` are of the rows as they were prepared for the plan.
    ///
    /// The first step's compiling is not in it.
    pub fn new(
        plan: &RunPlan,
        model: &ModelSummary,
        dataset: &PreparedSummary,
        lengths: &RowLengths,
        speed: Speed,
    ) -> Self {
        let spec = &plan.spec;
        let b = spec.per_device_train_batch_size;
        let prompt = spec.adapter.prompt_tokens() as f64;
        let (rows, row_tokens) = if spec.packing {
            let bins = dataset.num_packed_rows.max(1);
            let tokens = dataset.training_tokens as f64 / bins as f64;
            (b.min(bins), tokens)
        } else {
            let rows = b.min(lengths.training.len().max(1));
            let longest = if spec.group_by_length {
                lengths.mean()
            } else {
                lengths.mean_longest(rows)
            };
            (rows, longest + prompt)
        };
        let tokens = rows as f64 * row_tokens;
        let layers = model.num_hidden_layers as f64;
        let shape = block_shape(spec, model, plan.device.precision);
        let num_kept = shape.num_kept(
            tokens as u64,
            model.num_hidden_layers,
            plan.device.activation_budget_bytes,
        ) as f64;
        let is_kept = spec.packing && plan.device.has_short_passes();
        let again = if is_kept {
            0.0
        } else {
            1.0 - num_kept / layers.max(1.0)
        };

        let weights: f64 = TargetModule::ALL
            .iter()
            .map(|&module| product(model.projection_features(module)))
            .sum();
        let adapters: f64 = TargetModule::ALL
            .iter()
            .filter_map(|&module| {
                let (input, output) = model.projection_features(module);
                Some(spec.adapter.device_rank(module)? as f64 * (input + output) as f64)
            })
            .sum();
        // Of the adapter three products of each side, of the weights two.
        let adapters = NARROW * 1.5 * adapters / weights;
        let attention = attention(model, plan.device, weights, row_tokens, adapters);

        let per_epoch = if spec.packing {
            dataset.num_packed_rows
        } else {
            lengths.training.len()
        };
        let scored = dataset.scored_tokens as f64 / per_epoch.max(1) as f64 * rows as f64;
        let block = speed.block_millis * attention * layers;
        let pass = tokens * block * (1.0 + AGAIN * again) + scored * speed.head_millis;
        let step = pass * spec.gradient_accumulation_steps as f64
            + MILLIS_PER_STEP
            + MILLIS_PER_PARAMETER * plan.trainable_parameters as f64;
        let validation = lengths.validation_tokens as f64;
        let scored_ratio = dataset.scored_tokens as f64 / dataset.training_tokens.max(1) as f64;
        let evaluation = FORWARD * validation * (block + scored_ratio * speed.head_millis);
        Self {
            step_secs: step * speed.ratio / 1000.0,
            evaluation_secs: evaluation * speed.ratio / 1000.0,
            num_steps: plan.num_steps,
            num_evaluations: 1 + plan.num_steps.div_ceil(plan.eval_steps),
        }
    }

    /// Returns the whole run, including the evaluations before, during and after it.
    pub fn total_secs(&self) -> f64 {
        self.step_secs * self.num_steps as f64 + self.evaluation_secs * self.num_evaluations as f64
    }
}

/// Returns the number of weights of a projection with these features.
fn product((input, output): (usize, usize)) -> f64 {
    input as f64 * output as f64
}

/// Returns how much longer a block takes for each token of a row than in the measured one, with its adapters.
///
/// `weights` and `adapters` are the block's number of weights and the adapters' share of their time.
fn attention(
    model: &ModelSummary,
    device: DeviceProfile,
    weights: f64,
    row_tokens: f64,
    adapters: f64,
) -> f64 {
    let queries = (model.num_attention_heads * model.head_dim) as f64;
    // A token sees half of its row; scores and values forward, and two and a half times that backward.
    let part = |tokens: f64| 7.0 * tokens * queries / (4.0 * weights);
    (1.0 + adapters + part(row_tokens)) / (1.0 + part(measured_tokens(device) as f64))
}

#[cfg(test)]
mod tests;
