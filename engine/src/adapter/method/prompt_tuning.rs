//! Prompt tuning (Lester et al., arXiv 2104.08691): learned embeddings `P` `[p, d]` before every row, `[P; E(x)]`; the
//! model itself does not change. They take positions `0..p` and are neither scored nor cut off.
//!
//! `P` starts from the embeddings of randomly chosen tokens of the vocabulary, regardless of their frequency (PEFT's
//! `SAMPLE_VOCAB`): the paper found random numbers much worse. A row's virtual tokens have ids from `v`, the size of
//! the vocabulary, on (see [`crate::data::batch::Batch::prompted`]); the model's `embed` handles them:
//!
//! ```text
//! ids of a row   v  v+1  v+2 | 40   7  12        p = 3
//! embeddings    P_0 P_1  P_2 | E40 E7 E12
//! positions      0   1    2  | 3    4   5
//! ```
//!
//! The paper prepends to the encoder's input of T5; here, as in PEFT's causal models, the virtual tokens are like any
//! others before the row: attention sees them and RoPE counts them.

use burn::tensor::Tensor;
use protocol::{AdapterSpec, Failure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Adaptation, Projections};
use crate::{
    adapter::{
        Base, ModelShape, NotLowRank,
        peft::{ConfigReader, ConfigWriter, PeftConfig},
    },
    tensor::{index_tensor, read_all},
};

/// Prompt tuning as [`super::of`] returns it.
pub(super) struct PromptTuning;

impl Adaptation for PromptTuning {
    fn projections(&self) -> Option<&dyn Projections> {
        None
    }

    fn config(&self) -> &dyn PeftConfig {
        self
    }

    fn not_low_rank(&self) -> Option<NotLowRank> {
        Some(NotLowRank::Prompt)
    }
}

impl PeftConfig for PromptTuning {
    fn peft_type(&self) -> &'static str {
        "PROMPT_TUNING"
    }

    /// Writes the number of virtual tokens, and the sizes of the base that PEFT's `PromptLearningConfig` has.
    ///
    /// `prompt_tuning_init` is `RANDOM`, since the embeddings are in the file and nothing must be looked up in a
    /// tokenizer.
    fn write(&self, spec: &AdapterSpec, shape: &ModelShape, config: &mut ConfigWriter) {
        config.put("num_virtual_tokens", json!(spec.num_virtual_tokens));
        config.put("token_dim", json!(shape.hidden_size));
        config.put("num_transformer_submodules", json!(1));
        config.put("num_attention_heads", json!(shape.num_attention_heads));
        config.put("num_layers", json!(shape.num_hidden_layers));
        config.put("prompt_tuning_init", json!("RANDOM"));
        config.put("prompt_tuning_init_text", Value::Null);
        config.put("tokenizer_name_or_path", Value::Null);
    }

    fn read(&self, spec: &mut AdapterSpec, reader: &mut dyn ConfigReader) {
        spec.num_virtual_tokens = reader.count("num_virtual_tokens");
    }
}

/// Reads the embeddings of `num_tokens` randomly chosen tokens; a token may come twice.
///
/// # Shapes
/// - returns `[num_tokens, d]`, row by row
///
/// # Errors
/// The device's failure.
pub(in crate::adapter) async fn start(
    num_tokens: usize,
    base: &dyn Base,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<f32>, Failure> {
    let vocabulary = base.shape().vocab_size as u64;
    // The upper half of a 64-bit product maps a draw nearly evenly to `0..vocabulary` without a division.
    let ids = (0..num_tokens).map(|_| ((u64::from(rng.next_u32()) * vocabulary) >> 32) as u32);
    let ids: Vec<u32> = ids.collect();
    Ok(read_all(base.embeddings(&ids)).await?)
}

/// Computes the gradient of `P` from that of the embedded rows: the sum over all rows' virtual tokens.
///
/// # Shapes
/// - `d_embedded`: `[n, d]`, the gradient of the first block's input
/// - `ids`: the `n` ids, of which those from `vocabulary` on are virtual
/// - returns `[p d]`, row by row
pub fn gradient(d_embedded: &Tensor<2>, ids: &[u32], vocabulary: usize, p: usize) -> Tensor<1> {
    let virtual_tokens = ids.iter().enumerate();
    let positions: Vec<usize> = virtual_tokens
        .filter(|(_, id)| **id as usize >= vocabulary)
        .map(|(position, _)| position)
        .collect();
    let [_, d] = d_embedded.dims();
    let device = d_embedded.device();
    // Each row has all of them, in order.
    let rows = positions.len() / p;
    let of_rows = d_embedded
        .clone()
        .select(0, index_tensor(&positions, &device));
    of_rows.reshape([rows, p * d]).sum_dim(0).flatten(0, 1)
}
