//! Attention with its gradients, and RoPE.

use burn::tensor::{Tensor, TensorData};
use protocol::DeviceProblem;

use super::Bench;
use crate::kernels::{Heads, Visibility, attention, attention_backward, rope};

impl Bench<'_> {
    /// Checks the causal softmax of nine query heads over three key heads, and all three gradients.
    pub(super) async fn attention(&mut self) -> Result<(), DeviceProblem> {
        let heads = Heads {
            batch: 1,
            tokens: 69,
            past: 0,
            query_heads: 9,
            key_value_heads: 3,
            head_dim: 64,
        };
        let (t, hd) = (heads.tokens, heads.head_dim);
        let (q, k, v) = (
            self.random(t, 9 * hd),
            self.random(t, 3 * hd),
            self.random(t, 3 * hd),
        );
        let operands = [&q, &k, &v].map(|pair| self.activations(pair));
        let visibility = Visibility::causal();
        let (output, log_sums) = attention(operands.clone(), &visibility, heads);
        // The softmax weights of every query and head.
        let weights: Vec<Vec<f64>> = (0..t * 9)
            .map(|index| {
                let (query, head) = (index / 9, index % 9);
                let key_head = head / heads.group() * hd;
                let score = |key: usize| {
                    let terms =
                        (0..hd).map(|l| q.at(query, head * hd + l) * k.at(key, key_head + l));
                    (terms.sum::<f64>() * heads.scale()).exp()
                };
                let scores: Vec<f64> = (0..=query).map(score).collect();
                let total: f64 = scores.iter().sum();
                scores.into_iter().map(|score| score / total).collect()
            })
            .collect();
        let reference = |query: usize, col: usize| {
            let (head, l) = (col / hd, col % hd);
            let weights = weights[query * 9 + head].iter().enumerate();
            weights
                .map(|(key, weight)| weight * v.at(key, head / heads.group() * hd + l))
                .sum()
        };
        self.compare("softmax attention", output.clone(), reference)
            .await?;
        let dy = self.random(t, 9 * hd);
        let [d_queries, d_keys, d_values] = attention_backward(
            self.activations(&dy),
            operands,
            output,
            log_sums,
            &visibility,
            heads,
        );
        // The gradient of every score: `p (dp - sum p dp)`, with `dp = dy v`.
        let d_scores: Vec<Vec<f64>> = (0..t * 9)
            .map(|index| {
                let (query, head) = (index / 9, index % 9);
                let key_head = head / heads.group() * hd;
                let weights = &weights[index];
                let along = |key: usize| {
                    let terms =
                        (0..hd).map(|l| dy.at(query, head * hd + l) * v.at(key, key_head + l));
                    terms.sum::<f64>()
                };
                let along: Vec<f64> = (0..weights.len()).map(along).collect();
                let mean: f64 = weights.iter().zip(&along).map(|(p, dp)| p * dp).sum();
                let terms = weights.iter().zip(along);
                terms.map(|(p, dp)| p * (dp - mean)).collect()
            })
            .collect();
        // `dq = s sum ds k` over the keys that the query sees.
        let reference = |query: usize, col: usize| {
            let (head, l) = (col / hd, col % hd);
            let terms = d_scores[query * 9 + head].iter().enumerate();
            let terms = terms.map(|(key, ds)| ds * k.at(key, head / heads.group() * hd + l));
            heads.scale() * terms.sum::<f64>()
        };
        self.compare("attention's gradient of queries", d_queries, reference)
            .await?;
        // `dk = s sum ds q` over the queries that see the key, for every head of its group.
        let reference = |key: usize, col: usize| {
            let (key_head, l) = (col / hd, col % hd);
            let heads_ = key_head * heads.group()..(key_head + 1) * heads.group();
            let terms = heads_
                .flat_map(|head| (key..t).map(move |query| (head, query)))
                .map(|(head, query)| d_scores[query * 9 + head][key] * q.at(query, head * hd + l));
            heads.scale() * terms.sum::<f64>()
        };
        self.compare("attention's gradient of keys", d_keys, reference)
            .await?;
        // `dv = sum p dy` over the queries that see the key, for every head of its group.
        let reference = |key: usize, col: usize| {
            let (key_head, l) = (col / hd, col % hd);
            (key_head * heads.group()..(key_head + 1) * heads.group())
                .flat_map(|head| (key..t).map(move |query| (head, query)))
                .map(|(head, query)| weights[query * 9 + head][key] * dy.at(query, head * hd + l))
                .sum()
        };
        self.compare("attention's gradient of values", d_values, reference)
            .await
    }

    /// Checks a norm, its gradient, and SwiGLU of its result. With `i = 1 / sqrt(mean(x^2) + eps)`:
    ///
    /// ```text
    /// norm      w x i                              SwiGLU of it   silu(norm) up
    /// gradient  residual + (w dy - x mean(w dy x) i^2) i
    /// ```
    pub(super) async fn rotation(&mut self) -> Result<(), DeviceProblem> {
        let (t, heads, half) = (43, 3, 32);
        let (x, angles) = (self.random(t, heads * 2 * half), self.random(t, half));
        let table = |of: fn(f32) -> f32| {
            let values = angles.values.iter().map(|&angle| of(3.0 * angle)).collect();
            Tensor::from_data(TensorData::new::<f32, _>(values, [t, half]), self.device)
        };
        let (cos, sin) = (table(f32::cos), table(f32::sin));
        let rotated = rope(self.activations(&x), &cos, &sin, false);
        let reference = |row: usize, col: usize| {
            let (head, within) = (col / (2 * half) * 2 * half, col % half);
            let angle = 3.0 * angles.at(row, within);
            let (a, b) = (x.at(row, head + within), x.at(row, head + half + within));
            match col % (2 * half) < half {
                true => a * angle.cos() - b * angle.sin(),
                false => b * angle.cos() + a * angle.sin(),
            }
        };
        self.compare("rotation of heads", rotated, reference).await
    }
}
