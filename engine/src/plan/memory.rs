//! What training will hold at its peak, from the shapes alone: of the worker's memory on the CPU, of the device's on
//! WebGPU.
//!
//! With `b` rows of `t` tokens in a micro-batch, `n = b t`, `s` scored positions (shape legend in the crate's
//! documentation), in 4-byte numbers unless said otherwise:
//!
//! | part | numbers |
//! |---|---|
//! | weights | as loaded, quantized; kernels unpack them as they go, so none is ever dense |
//! | worker | in bytes, on the CPU alone: the program, its threads, the tokenizer |
//! | block inputs | `(layers + 1) n d` |
//! | activations | of one block: what its backward needs and the gradients on their way, multiples of `n d`, `n h hd`, `n kv hd`, `n f` and `n r` per module, and the masks of a dropout; in half precision 2 bytes of what lies between the norms and the sums; attention's scores are never held |
//! | kept blocks | what the backward of the last blocks needs, as many as the [device](DeviceProfile::activation_budget_bytes) may keep, besides that one |
//! | head | `s c + 5 n d` and the quantized rows of a chunk, `c` words of the vocabulary at a time |
//! | adapter | multiples of the trainable parameters |
//!
//! One block is recomputed at a time, so nothing but the block inputs grows with the depth once the kept blocks are
//! full. Activations and head do not meet at their greatest; that both are counted pays for the gaps that an allocator
//! leaves, or nearly (see [`GAPS_RATIO`]). The tests hold the sum to what runs were measured to take.

use protocol::{DeviceKind, ModelSummary, Precision, PreparedSummary, RunSpec, TargetModule};

use crate::{
    arch::Architecture,
    device::DeviceProfile,
    sizes::{BlockShape, chunk_rows},
};

/// The program's own data, and what loading and reading leave in the worker's memory.
const PROGRAM_BYTES: u64 = 8 << 20;
/// A thread's stack, and its place in the pool.
const BYTES_PER_THREAD: u64 = 2 << 20;
/// A word of the vocabulary in the tokenizer: its text twice, its merge, and their places in three tables.
const BYTES_PER_WORD: u64 = 256;
/// `[n, d]` alive at once in a block: the residual stream, and its gradient.
const LIVE_RESIDUAL: u64 = 3;
/// `[n, d]` alive at once in a block: what norms and projections give, and their gradients.
const LIVE_HIDDEN: u64 = 3;
/// `[n, h hd]` alive at once: queries after RoPE and attended values.
const LIVE_QUERY: u64 = 2;
/// `[n, kv hd]` alive at once: keys after RoPE and values.
const LIVE_KEY_VALUE: u64 = 2;
/// `[n, h hd]` and `[n, kv hd]` alive at once besides, where heads have norms: what the norms take, and their gradient.
const LIVE_HEAD_NORM: u64 = 2;
/// `[n, f]` alive at once: gate, up, and a gradient.
const LIVE_INTERMEDIATE: u64 = 3;
/// `[n, r]` alive at once per module: `A x` and its gradient.
const LIVE_RANK: u64 = 2;
/// `[n, in]` for each module with dropout: the mask, and the input under it.
const LIVE_DROPOUT: u64 = 2;
/// `[s, d]` alive at once in the head: its input, the scored rows, their norm, the weighted rows, and their gradient.
const LIVE_HEAD_HIDDEN: u64 = 5;
/// What the gaps between allocations add to all that comes and goes, as a share of it.
const GAPS_RATIO: (u64, u64) = (1, 4);
/// Copies of each trainable parameter: the weight, two moments, the last finite and the best earlier weights, the sum
/// of gradients, and while they are moved the tensors of weights and of gradients, the latter once more in one piece.
const COPIES_OF_ADAPTER: u64 = 9;
/// As above, of what is on a device with memory of its own: weights, gradients, and these in one piece.
const DEVICE_COPIES_OF_ADAPTER: u64 = 3;

/// Bytes of each part of the peak; see the table above. Numbers too great for u64 stay at its maximum.
///
/// On WebGPU all parts are memory of the device, on the CPU all are memory of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// The weights as they were loaded, still quantized.
    pub weights_bytes: u64,
    /// The program, the stacks of its threads, the tokenizer; 0 on WebGPU.
    pub worker_bytes: u64,
    /// The input of every block and the output of the last, which grow with the depth.
    pub block_inputs_bytes: u64,
    /// One block at work: its forward, its backward, and the gradients between them.
    pub activations_bytes: u64,
    /// What the other blocks keep for their backward, up to what the device may keep.
    pub kept_blocks_bytes: u64,
    /// One chunk of the head, with its logits.
    pub head_bytes: u64,
    /// All copies of the adapter, its gradient and its moments.
    pub adapter_bytes: u64,
    /// What an allocator loses between blocks of memory that come and go.
    pub gaps_bytes: u64,
}

/// Sizes of one micro-batch at its greatest, or of one pass over it where it is split.
struct BatchShape {
    /// `b`, 1 if rows are quantized and passes are short.
    rows: u64,
    /// `t`, with the tokens of a learned prompt.
    tokens_per_row: u64,
    /// `s`, at most `b t`.
    scored: u64,
}

impl BatchShape {
    /// Bounds the micro-batches of a run.
    ///
    /// `pass_tokens` limits a pass over packed rows where a micro-batch is split into passes. A whole quantized row is
    /// counted in any case, since evaluations take one at a time.
    fn new(spec: &RunSpec, dataset: &PreparedSummary, pass_tokens: Option<u64>) -> Self {
        let num_rows = match spec.packing {
            true => super::num_batched_rows(spec, dataset),
            // The rows that are held out are as many to a batch as there are, too.
            false => dataset
                .num_training_rows
                .max(dataset.num_validation_rows)
                .max(dataset.num_test_rows),
        };
        let rows = spec.per_device_train_batch_size.min(num_rows) as u64;
        let prompt = spec.adapter.prompt_tokens() as u64;
        let longest = dataset.longest_tokens.min(spec.data.max_seq_length) as u64 + prompt;
        let tokens_per_row = if spec.packing {
            // Packed rows may be full, but hold no more than there is.
            let mean = dataset.training_tokens.div_ceil(rows.max(1));
            mean.min(spec.data.max_seq_length as u64)
        } else {
            longest
        };
        let tokens = rows.saturating_mul(tokens_per_row);
        let (rows, tokens_per_row, tokens) = match pass_tokens {
            Some(pass) if spec.packing => {
                // The losses before the run and of the held-out rows are taken a bin at a time.
                let tokens = tokens.min(pass.max(tokens_per_row));
                (1, tokens, tokens)
            }
            _ => (rows, tokens_per_row, tokens),
        };
        let scored = if spec.packing {
            // A bin may have all the rows that are scored most.
            dataset.scored_tokens
        } else {
            // The rows' mean share of scored tokens, for a batch of the longest rows.
            let ratio = dataset.scored_tokens as f64 / dataset.training_tokens.max(1) as f64;
            (tokens as f64 * ratio).ceil() as u64
        };
        Self {
            rows,
            tokens_per_row,
            scored: scored.min(tokens),
        }
    }

    /// Returns `n = b t`.
    fn tokens(&self) -> u64 {
        self.rows.saturating_mul(self.tokens_per_row)
    }
}

impl MemoryEstimate {
    /// Estimates the peak of a run; `dataset` was prepared under `spec.data`, and `device` has the run's precision.
    ///
    /// `resident_bytes` are the weights as they were loaded.
    pub(super) fn new(
        spec: &RunSpec,
        model: &ModelSummary,
        dataset: &PreparedSummary,
        device: DeviceProfile,
        resident_bytes: u64,
    ) -> Self {
        let hidden = model.hidden_size as u64;
        let num_inputs = (model.num_hidden_layers as u64).saturating_add(1);
        let (worker_bytes, copies_of_adapter) = match device.kind {
            DeviceKind::WebGpu => (0, DEVICE_COPIES_OF_ADAPTER),
            DeviceKind::Cpu => (worker_bytes(model, device), COPIES_OF_ADAPTER),
        };
        let block = block_shape(spec, model, device.precision);
        let pass_tokens = device.has_short_passes().then(|| {
            block.num_tokens(model.num_hidden_layers, device.activation_budget_bytes) as u64
        });
        let trainable_parameters = super::trainable_parameters(spec, model);
        let batch = BatchShape::new(spec, dataset, pass_tokens);
        let activations_bytes = activations_bytes(spec, model, &batch, device.precision);
        let head_bytes = head_bytes(model, &batch, resident_bytes);
        let (part, whole) = GAPS_RATIO;
        Self {
            weights_bytes: resident_bytes,
            worker_bytes,
            block_inputs_bytes: numbers(&[&[num_inputs, batch.tokens(), hidden]]),
            activations_bytes,
            kept_blocks_bytes: kept_blocks_bytes(
                block,
                model,
                &batch,
                device.activation_budget_bytes,
            ),
            head_bytes,
            adapter_bytes: numbers(&[&[copies_of_adapter, trainable_parameters]]),
            gaps_bytes: activations_bytes.saturating_add(head_bytes) / whole * part,
        }
    }

    /// Returns the sum of all parts, at most `u64::MAX`.
    pub fn total_bytes(&self) -> u64 {
        [
            self.weights_bytes,
            self.worker_bytes,
            self.block_inputs_bytes,
            self.activations_bytes,
            self.kept_blocks_bytes,
            self.head_bytes,
            self.adapter_bytes,
            self.gaps_bytes,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// Returns the bytes of a sum of products of numbers in single precision.
///
/// ```text
/// [[3, n, d], [2, n, r]]  ->  4 (3 n d + 2 n r)
/// ```
fn numbers(terms: &[&[u64]]) -> u64 {
    bytes(terms, Precision::Single)
}

/// Returns the bytes of a sum of products of numbers; saturates, as settings and files can ask for anything.
fn bytes(terms: &[&[u64]], precision: Precision) -> u64 {
    let product = |factors: &&[u64]| {
        let factors = factors.iter().copied();
        factors.fold(precision.num_bytes() as u64, u64::saturating_mul)
    };
    terms.iter().map(product).fold(0, u64::saturating_add)
}

/// Returns what the worker holds besides tensors.
fn worker_bytes(model: &ModelSummary, device: DeviceProfile) -> u64 {
    let threads = (device.threads as u64).saturating_mul(BYTES_PER_THREAD);
    let tokenizer = (model.vocab_size as u64).saturating_mul(BYTES_PER_WORD);
    [PROGRAM_BYTES, threads, tokenizer]
        .into_iter()
        .fold(0, u64::saturating_add)
}

/// Returns the bytes of one block at work.
///
/// What lies between the first norm and the output of a block has the precision of the run; the residual stream, norms
/// of heads, and everything of the adapter are always 32-bit.
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
    let intermediate = model.intermediate_size as u64;
    let modules = &spec.adapter.target_modules;
    let inputs = |module: &TargetModule| model.projection_features(*module).0 as u64;
    let dropped = if spec.adapter.dropout() > 0.0 {
        modules.iter().map(inputs).fold(0, u64::saturating_add)
    } else {
        0
    };
    let ranks = modules
        .iter()
        .filter_map(|&module| spec.adapter.device_rank(module));
    let ranks = ranks.fold(0u64, |sum, rank| sum.saturating_add(rank as u64));
    // The adapter of `down_proj` keeps its input; the others' are kept anyway, or are norms.
    let kept = u64::from(modules.contains(&TargetModule::DownProj));
    let of_norms = if Architecture::of_summary(model).has_head_norms() {
        LIVE_HEAD_NORM
    } else {
        0
    };
    let inside = [
        &[LIVE_HIDDEN, n, model.hidden_size as u64][..],
        &[LIVE_QUERY, n, heads, head_dim],
        &[LIVE_KEY_VALUE, n, key_value_heads, head_dim],
        &[LIVE_INTERMEDIATE + kept, n, intermediate],
    ];
    let always_single = [
        &[LIVE_RESIDUAL, n, model.hidden_size as u64][..],
        &[of_norms, n, heads.saturating_add(key_value_heads), head_dim],
        &[LIVE_RANK, n, ranks],
        &[LIVE_DROPOUT, n, dropped],
    ];
    bytes(&inside, precision).saturating_add(numbers(&always_single))
}

/// Returns the sizes that determine how much a block keeps for its backward, for a block in which every target module
/// is adapted. Training asks the loaded model instead; see [`crate::model::Model::block_shape`].
pub(super) fn block_shape(
    spec: &RunSpec,
    model: &ModelSummary,
    precision: Precision,
) -> BlockShape {
    let modules = &spec.adapter.target_modules;
    BlockShape {
        features: TargetModule::ALL.map(|module| {
            let (input, output) = model.projection_features(module);
            (input as u64, output as u64)
        }),
        ranks: TargetModule::ALL
            .map(|module| spec.adapter.device_rank(module).map(|rank| rank as u64)),
        scaled: TargetModule::ALL
            .map(|module| modules.contains(&module) && spec.adapter.scales_output(module)),
        query_heads: model.num_attention_heads as u64,
        has_dropout: spec.adapter.dropout() > 0.0,
        precision,
    }
}

/// Returns the memory of the blocks that are not computed again, except for one, whose activations are counted
/// separately. `most` is what the device may keep.
fn kept_blocks_bytes(
    block: BlockShape,
    model: &ModelSummary,
    batch: &BatchShape,
    most: usize,
) -> u64 {
    let n = batch.tokens();
    let num_kept = block.num_kept(n, model.num_hidden_layers, most) as u64;
    num_kept
        .saturating_sub(1)
        .saturating_mul(block.kept_bytes(n))
}

/// Returns the bytes of one chunk of the head: logits, the scored rows and their gradient, and the quantized rows of the
/// chunk at the mean size of the model's weights.
fn head_bytes(model: &ModelSummary, batch: &BatchShape, resident_bytes: u64) -> u64 {
    let hidden = model.hidden_size as u64;
    let chunk = chunk_rows(batch.scored.try_into().unwrap_or(usize::MAX)) as u64;
    let chunk = chunk.min(model.vocab_size as u64);
    let bytes_per_weight = resident_bytes.div_ceil(model.parameters.max(1));
    let quantized = chunk
        .saturating_mul(hidden)
        .saturating_mul(bytes_per_weight);
    let live = numbers(&[
        &[batch.scored, chunk],
        &[LIVE_HEAD_HIDDEN, batch.scored, hidden],
    ]);
    live.saturating_add(quantized)
}
