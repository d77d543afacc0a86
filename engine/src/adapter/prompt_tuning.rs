//! Prompt tuning (Lester et al., arXiv 2104.08691): learned embeddings `P` `[p, d]` before every row, `[P; E(x)]`; the
//! model itself does not change. They take positions `0..p` and are neither scored nor cut off.
//!
//! `P` starts from the embeddings of randomly chosen tokens of the vocabulary, regardless of their frequency (PEFT's
//! `SAMPLE_VOCAB`): the paper found random numbers much worse. A row's virtual tokens have ids from `v`, the size of
//! the vocabulary, on (see [`crate::data::batch::Batch::prompted`]); [`crate::model::Llama::embed`] handles them.

use burn::tensor::Tensor;
use protocol::Failure;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    model::Llama,
    tensor::{index_tensor, read_all},
};

/// The embeddings of randomly chosen tokens.
pub(super) async fn start(
    num_tokens: usize,
    model: &Llama,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<f32>, Failure> {
    let vocabulary = model.config.vocab_size as u64;
    let ids = (0..num_tokens).map(|_| ((u64::from(rng.next_u32()) * vocabulary) >> 32) as u32);
    let ids: Vec<u32> = ids.collect();
    read_all(model.embed_tokens.select_rows(&ids, &model.device)).await
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
