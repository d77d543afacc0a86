//! What training will hold on the device, from the shapes alone.
//!
//! With `b` rows of `t` tokens in a micro-batch and `n = b t` (shape legend in the crate's documentation), in 4-byte
//! numbers unless said otherwise:
//!
//! | part | numbers |
//! |---|---|
//! | weights | as loaded, packed |
//! | dense block | `d (h + 2 kv) hd + h hd d + 3 d f`, on the GPU twice (one copy transposed) |
//! | block inputs | `(layers + 1) n d` |
//! | activations | multiples of `n d`, `n h hd`, `n kv hd`, `n f` (2 bytes each in half precision, but for the residual stream) and `n r` a module; attention's scores are never held |
//! | head | `2 s c + 2 c d + 3 n d`, `s` scored positions, `c` words of the vocabulary at a time |
//! | adapter | `4` a trainable parameter: weight, gradient, two moments |
//!
//! One block is dense and recomputed at a time, so nothing but the block inputs grows with the depth.

use super::DeviceBudget;
use crate::protocol::{
    DeviceKind, ModelSummary, Precision, PreparedSummary, RunSpec, TargetModule,
};

const BYTES_PER_NUMBER: u64 = 4;
/// `[n, d]` alive at once in a block: the residual stream, and its gradient.
const LIVE_RESIDUAL: u64 = 4;
/// `[n, d]` alive at once in a block: what norms and projections give, and their gradients.
const LIVE_HIDDEN: u64 = 4;
/// `[n, h hd]` alive at once: queries before and after RoPE, attended values, and their gradients.
const LIVE_QUERY: u64 = 6;
/// `[n, kv hd]` alive at once: keys before and after RoPE, values, and their gradients.
const LIVE_KEY_VALUE: u64 = 6;
/// `[n, f]` alive at once: gate, up, activation, product, and their gradients.
const LIVE_INTERMEDIATE: u64 = 8;
/// `[n, r]` alive at once a module: `A x` and its gradient.
const LIVE_RANK: u64 = 2;
/// Words of the vocabulary that the head scores at a time.
const HEAD_CHUNK: u64 = 8_192;
/// `[scored, chunk]` alive at once: logits and their gradient.
const LIVE_LOGITS: u64 = 2;
/// `[chunk, d]` alive at once: the head's rows, dense, and a transposed copy.
const LIVE_HEAD_WEIGHTS: u64 = 2;
/// `[n, d]` alive at once in the head: its input, the scored rows, and their gradient.
const LIVE_HEAD_HIDDEN: u64 = 3;
/// Weight, gradient and two moments of each trainable parameter.
const COPIES_OF_ADAPTER: u64 = 4;

/// Bytes of each part of the peak. Numbers too great for u64 stay at its maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    pub weights_bytes: u64,
    pub dense_block_bytes: u64,
    pub block_inputs_bytes: u64,
    pub activations_bytes: u64,
    pub head_bytes: u64,
    pub adapter_bytes: u64,
}

/// Sizes of one micro-batch at its greatest.
struct BatchShape {
    rows: u64,
    tokens_per_row: u64,
    scored: u64,
}

impl BatchShape {
    fn new(spec: &RunSpec, dataset: &PreparedSummary) -> Self {
        let rows = spec
            .per_device_train_batch_size
            .min(dataset.num_training_rows) as u64;
        let tokens_per_row = dataset.longest_tokens.min(spec.data.max_seq_length) as u64;
        let tokens = rows.saturating_mul(tokens_per_row);
        // The rows' mean share of scored tokens, for a batch of the longest rows.
        let scored_ratio = dataset.scored_tokens as f64 / dataset.training_tokens.max(1) as f64;
        Self {
            rows,
            tokens_per_row,
            scored: ((tokens as f64 * scored_ratio).ceil() as u64).min(tokens),
        }
    }

    fn tokens(&self) -> u64 {
        self.rows.saturating_mul(self.tokens_per_row)
    }
}

impl MemoryEstimate {
    /// The peak of a run; `dataset` was prepared under `spec.data`.
    pub(super) fn new(
        spec: &RunSpec,
        model: &ModelSummary,
        dataset: &PreparedSummary,
        device: DeviceBudget,
        trainable_parameters: u64,
    ) -> Self {
        let batch = BatchShape::new(spec, dataset);
        let hidden = model.hidden_size as u64;
        let num_inputs = (model.num_hidden_layers as u64).saturating_add(1);
        let copies_of_block = match device.kind {
            DeviceKind::WebGpu => 2,
            DeviceKind::Cpu => 1,
        };
        Self {
            weights_bytes: device.resident_bytes,
            dense_block_bytes: numbers(&[&[copies_of_block, weights_per_block(model)]]),
            block_inputs_bytes: numbers(&[&[num_inputs, batch.tokens(), hidden]]),
            activations_bytes: activations_bytes(
                spec,
                model,
                &batch,
                spec.precision.on(device.precision),
            ),
            head_bytes: head_bytes(model, &batch),
            adapter_bytes: numbers(&[&[COPIES_OF_ADAPTER, trainable_parameters]]),
        }
    }

    /// The sum of all parts.
    pub fn total_bytes(&self) -> u64 {
        [
            self.weights_bytes,
            self.dense_block_bytes,
            self.block_inputs_bytes,
            self.activations_bytes,
            self.head_bytes,
            self.adapter_bytes,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// Bytes of a sum of products of numbers.
fn numbers(terms: &[&[u64]]) -> u64 {
    terms
        .iter()
        .map(|factors| {
            factors
                .iter()
                .copied()
                .fold(BYTES_PER_NUMBER, u64::saturating_mul)
        })
        .fold(0, u64::saturating_add)
}

/// Elements of one block's seven matrices.
fn weights_per_block(model: &ModelSummary) -> u64 {
    TargetModule::ALL
        .into_iter()
        .map(|module| {
            let (in_features, out_features) = super::features(model, module);
            (in_features as u64).saturating_mul(out_features as u64)
        })
        .fold(0, u64::saturating_add)
}

fn activations_bytes(
    spec: &RunSpec,
    model: &ModelSummary,
    batch: &BatchShape,
    precision: Precision,
) -> u64 {
    let n = batch.tokens();
    let heads = model.num_attention_heads as u64;
    let head_dim = model.head_dim as u64;
    let key_value_heads = model.num_key_value_heads as u64;
    let num_modules = spec.lora.target_modules.len() as u64;
    let inside = numbers(&[
        &[LIVE_HIDDEN, n, model.hidden_size as u64],
        &[LIVE_QUERY, n, heads, head_dim],
        &[LIVE_KEY_VALUE, n, key_value_heads, head_dim],
        &[LIVE_INTERMEDIATE, n, model.intermediate_size as u64],
    ]);
    let inside = match precision {
        Precision::Single => inside,
        Precision::Half => inside / 2,
    };
    let always_single = numbers(&[
        &[LIVE_RESIDUAL, n, model.hidden_size as u64],
        &[LIVE_RANK, n, spec.lora.r as u64, num_modules],
    ]);
    inside.saturating_add(always_single)
}

fn head_bytes(model: &ModelSummary, batch: &BatchShape) -> u64 {
    let hidden = model.hidden_size as u64;
    let chunk = HEAD_CHUNK.min(model.vocab_size as u64);
    numbers(&[
        &[LIVE_LOGITS, batch.scored, chunk],
        &[LIVE_HEAD_WEIGHTS, chunk, hidden],
        &[LIVE_HEAD_HIDDEN, batch.tokens(), hidden],
    ])
}
