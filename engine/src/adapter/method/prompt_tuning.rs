//! Prompt tuning (Lester et al., arXiv 2104.08691): learned embeddings `P` `[p, d]` before every row, `[P; E(x)]`; the
//! model itself does not change. They take positions `0..p` and are neither scored nor cut off.
//!
//! `P` starts from the embeddings of randomly chosen tokens of the vocabulary, regardless of their frequency (PEFT's
//! `SAMPLE_VOCAB`): the paper found random numbers much worse. A row's virtual tokens have ids from `v`, the size of
//! the vocabulary, on (see [`crate::data::batch::Batch::prompted`]); the model's `embed` handles them.

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

/// The embeddings of randomly chosen tokens.
pub(in crate::adapter) async fn start(
    num_tokens: usize,
    base: &dyn Base,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<f32>, Failure> {
    let vocabulary = base.shape().vocab_size as u64;
    let ids = (0..num_tokens).map(|_| ((u64::from(rng.next_u32()) * vocabulary) >> 32) as u32);
    let ids: Vec<u32> = ids.collect();
    Ok(read_all(base.embeddings(&ids)).await?)
}

/// The gradient of `P`, from that of the embedded rows `[n, d]`: the sum over all rows' virtual tokens.
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
