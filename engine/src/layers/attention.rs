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

#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests {
    use super::*;
    use crate::testing::{Array, Random};

    /// `queries` `[b h, t, hd]`, `keys` and `values` `[b kv, past + t, hd]`.
    fn reference(heads: Heads, queries: &Array<3>, keys: &Array<3>, values: &Array<3>) -> Array<3> {
        let [_, t, hd] = queries.shape;
        let [_, num_keys, _] = keys.shape;
        let group = heads.query_heads / heads.key_value_heads;
        let mut output = Array::from_fn(queries.shape, |_| 0.0);
        for row in 0..queries.shape[0] * t {
            let (head, query) = (row / t, row % t);
            let query_row = &queries.values[row * hd..][..hd];
            // Rows count batch by batch, so a query head's key head is its number divided by the group throughout.
            let of_key = |array: &Array<3>, key: usize, l: usize| {
                array.values[(head / group * num_keys + key) * hd + l]
            };
            let num_visible = num_keys - t + query + 1;
            let scores: Vec<f64> = (0..num_visible)
                .map(|key| {
                    let dot: f64 = (0..hd).map(|l| query_row[l] * of_key(keys, key, l)).sum();
                    (dot / (hd as f64).sqrt()).exp()
                })
                .collect();
            let total: f64 = scores.iter().sum();
            for l in 0..hd {
                output.values[row * hd + l] = (0..num_visible)
                    .map(|key| scores[key] / total * of_key(values, key, l))
                    .sum();
            }
        }
        output
    }

    fn random_heads(random: &mut Random) -> Heads {
        let [batch, key_value_heads, group, tokens, head_dim] =
            [1..3, 1..4, 1..4, 1..8, 1..8].map(|range| random.size(range));
        Heads {
            batch,
            tokens,
            query_heads: key_value_heads * group,
            key_value_heads,
            head_dim,
        }
    }

    #[test]
    fn both_passes_equal_the_formula() {
        let mut random = Random::new();
        for _ in 0..8 {
            let heads = random_heads(&mut random);
            let [rows, key_rows] =
                [heads.query_heads, heads.key_value_heads].map(|heads_| heads.batch * heads_);
            let (t, hd) = (heads.tokens, heads.head_dim);
            let q = random.array([rows, t, hd]).times(3.0);
            let k = random.array([key_rows, t, hd]).times(3.0);
            let v = random.array([key_rows, t, hd]);
            let dy = random.array([rows, t, hd]);
            let mask = causal_mask(0, t, &Device::flex());
            let (y, saved) = forward(heads, q.tensor(), k.tensor(), v.tensor(), &mask);
            reference(heads, &q, &k, &v).assert_close("forward", y, 1e-5);
            let d = backward(heads, dy.tensor(), saved);
            let d_q = q.gradient(&dy, |q| reference(heads, q, &k, &v));
            d_q.assert_close("queries", d.queries, 1e-4);
            let d_k = k.gradient(&dy, |k| reference(heads, &q, k, &v));
            d_k.assert_close("keys", d.keys, 1e-4);
            let d_v = v.gradient(&dy, |v| reference(heads, &q, &k, v));
            d_v.assert_close("values", d.values, 1e-4);
        }
    }

    #[test]
    fn later_queries_see_what_came_before() {
        let mut random = Random::new();
        for _ in 0..8 {
            let heads = random_heads(&mut random);
            let past = random.size(1..9);
            let (t, hd) = (heads.tokens, heads.head_dim);
            let q = random.array([heads.batch * heads.query_heads, t, hd]);
            let shape = [heads.batch * heads.key_value_heads, past + t, hd];
            let (k, v) = (random.array(shape), random.array(shape));
            let mask = causal_mask(past, t, &Device::flex());
            let (y, _) = forward(heads, q.tensor(), k.tensor(), v.tensor(), &mask);
            reference(heads, &q, &k, &v).assert_close("forward", y, 1e-5);
        }
    }

    #[test]
    fn heads_are_split_by_batch_and_merged_again() {
        let mut random = Random::new();
        let heads = random_heads(&mut random);
        let (b, t, h, hd) = (heads.batch, heads.tokens, heads.query_heads, heads.head_dim);
        let x = random.array([b * t, h * hd]);
        let expected = Array::from_fn([b * h, t, hd], |index| {
            let (head, position, l) = (index / (t * hd), index / hd % t, index % hd);
            x.at(head / h * t + position, head % h * hd + l)
        });
        let split = heads.split(x.tensor(), h);
        expected.assert_close("split", split.clone(), 0.0);
        x.assert_close("merged", heads.merge(split, h), 0.0);
    }
}
