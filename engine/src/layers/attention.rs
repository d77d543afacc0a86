//! Causal grouped-query attention over whole sequences, with its backward, and over a cache for generation.
//!
//! The `g` query heads of a group are laid one after the other as rows, `[b kv, g t, hd]`, so that they meet their
//! shared keys `[b kv, t, hd]` in one matmul and no key is repeated.

use burn::tensor::{Device, Tensor, TensorData};

use crate::kernels::batched_matmul;

/// Sizes that attention works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    pub batch: usize,
    pub tokens: usize,
    pub query_heads: usize,
    pub key_value_heads: usize,
    pub head_dim: usize,
}

impl Heads {
    /// Query heads that share a key head.
    fn group(self) -> usize {
        self.query_heads / self.key_value_heads
    }

    /// `[b t, heads hd] -> [b heads, t, hd]`
    pub fn split(self, x: Tensor<2>, heads: usize) -> Tensor<3> {
        let Self {
            batch,
            tokens,
            head_dim,
            ..
        } = self;
        x.reshape([batch, tokens, heads, head_dim])
            .swap_dims(1, 2)
            .reshape([batch * heads, tokens, head_dim])
    }

    /// `[b heads, t, hd] -> [b t, heads hd]`
    pub fn merge(self, x: Tensor<3>, heads: usize) -> Tensor<2> {
        let Self {
            batch,
            tokens,
            head_dim,
            ..
        } = self;
        x.reshape([batch, heads, tokens, head_dim])
            .swap_dims(1, 2)
            .reshape([batch * tokens, heads * head_dim])
    }

    /// `[b h, t, hd] -> [b kv, g t, hd]`; the layout is the same in memory.
    fn stack_groups(self, queries: Tensor<3>) -> Tensor<3> {
        let [rows, tokens, head_dim] = queries.dims();
        queries.reshape([rows / self.group(), self.group() * tokens, head_dim])
    }

    /// The inverse of [`Self::stack_groups`].
    fn unstack_groups(self, x: Tensor<3>) -> Tensor<3> {
        let [rows, stacked, head_dim] = x.dims();
        x.reshape([rows * self.group(), stacked / self.group(), head_dim])
    }

    fn scale(self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }
}

/// What [`backward`] needs of a forward.
#[derive(Debug, Clone)]
pub struct Saved {
    /// `[b kv, g t, hd]`, not scaled
    queries: Tensor<3>,
    keys: Tensor<3>,
    values: Tensor<3>,
    /// `[b kv, g t, t]`
    weights: Tensor<3>,
}

/// Gradients of queries `[b h, t, hd]`, keys and values `[b kv, t, hd]`.
pub struct Gradients {
    pub queries: Tensor<3>,
    pub keys: Tensor<3>,
    pub values: Tensor<3>,
}

/// `softmax(q k^T / sqrt(hd) + mask) v`. `queries` `[b h, t, hd]`, `keys` and `values` `[b kv, t', hd]`, `mask`
/// `[1, 1, t, t']` of zeros and large negatives; returns `[b h, t, hd]`.
pub fn forward(
    heads: Heads,
    queries: Tensor<3>,
    keys: Tensor<3>,
    values: Tensor<3>,
    mask: &Tensor<4>,
) -> (Tensor<3>, Saved) {
    let queries = heads.stack_groups(queries);
    let scores =
        batched_matmul(queries.clone(), keys.clone().swap_dims(1, 2)).mul_scalar(heads.scale());
    let weights = masked_softmax(scores, heads.group(), mask);
    let output = batched_matmul(weights.clone(), values.clone());
    (
        heads.unstack_groups(output),
        Saved {
            queries,
            keys,
            values,
            weights,
        },
    )
}

/// Gradients from the output's gradient `[b h, t, hd]`.
pub fn backward(heads: Heads, d_output: Tensor<3>, saved: Saved) -> Gradients {
    let Saved {
        queries,
        keys,
        values,
        weights,
    } = saved;
    let d_output = heads.stack_groups(d_output);
    let d_values = batched_matmul(weights.clone().swap_dims(1, 2), d_output.clone());
    let d_weights = batched_matmul(d_output, values.swap_dims(1, 2));
    let projection = (d_weights.clone() * weights.clone()).sum_dim(2);
    let d_scores = (weights * (d_weights - projection)).mul_scalar(heads.scale());
    let d_queries = batched_matmul(d_scores.clone(), keys);
    let d_keys = batched_matmul(d_scores.swap_dims(1, 2), queries);
    Gradients {
        queries: heads.unstack_groups(d_queries),
        keys: d_keys,
        values: d_values,
    }
}

/// Softmax over the last dimension of `[b kv, g t, t']` under a mask that every group shares.
fn masked_softmax(scores: Tensor<3>, group: usize, mask: &Tensor<4>) -> Tensor<3> {
    let [batch, stacked, keys] = scores.dims();
    let scores = scores.reshape([batch, group, stacked / group, keys]) + mask.clone();
    let exponentials = (scores.clone() - scores.max_dim(3)).exp();
    let weights = exponentials.clone() / exponentials.sum_dim(3);
    weights.reshape([batch, stacked, keys])
}

/// Lets query `i`, at position `past + i`, see the keys `0..=past + i`: `[1, 1, t, past + t]`.
pub fn causal_mask(past: usize, tokens: usize, device: &Device) -> Tensor<4> {
    // Far below any score, far above f32's minimum: a sum with a score stays finite.
    const HIDDEN: f32 = -1e30;
    let keys = past + tokens;
    let mask: Vec<f32> = (0..tokens)
        .flat_map(|query| (0..keys).map(move |key| if key <= past + query { 0.0 } else { HIDDEN }))
        .collect();
    Tensor::from_data(TensorData::new(mask, [1, 1, tokens, keys]), device)
}
