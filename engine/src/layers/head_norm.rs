//! RMSNorm of each head's queries and keys before RoPE, as Qwen3 has it (`q_norm` and `k_norm` in `modeling_qwen3.py`).
//!
//! A head is a row for the norm: `[n, heads hd]` is read as `[n heads, hd]`, which copies nothing. Both weights are
//! frozen, so the backward gives gradients of the inputs alone; it needs the inputs, hence a block of such a family
//! saves queries and keys before their norms.

use burn::tensor::{FloatDType, Tensor};

use crate::kernels::{rms_norm, rms_norm_backward};

/// The frozen norms of a block's queries and keys, which its heads share. Fields have HF's names.
#[derive(Debug, Clone)]
pub struct HeadNorms {
    /// The weight for queries, `[1, hd]`.
    pub q_norm: Tensor<2>,
    /// The weight for keys, `[1, hd]`.
    pub k_norm: Tensor<2>,
    /// What is added to the mean square.
    pub eps: f64,
}

impl HeadNorms {
    /// Norms queries and keys, in their precision.
    ///
    /// # Shapes
    /// - `q`: `[n, h hd]`
    /// - `k`: `[n, kv hd]`
    /// - returns the same
    pub fn forward(&self, [q, k]: [Tensor<2>; 2]) -> [Tensor<2>; 2] {
        let normed = |x: Tensor<2>, weight: &Tensor<2>| {
            let (shape, precision) = (x.dims(), FloatDType::from(x.dtype()));
            rms_norm(by_head(x, weight), weight, self.eps, precision).reshape(shape)
        };
        [normed(q, &self.q_norm), normed(k, &self.k_norm)]
    }

    /// Computes the gradients of the inputs `q` and `k` of [`Self::forward`] from those of its outputs, in the
    /// precision of these.
    ///
    /// # Shapes
    /// - `d_q`, `q`: `[n, h hd]`
    /// - `d_k`, `k`: `[n, kv hd]`
    /// - returns the gradients of `q` and `k`
    pub fn backward(&self, [d_q, d_k]: [Tensor<2>; 2], [q, k]: [Tensor<2>; 2]) -> [Tensor<2>; 2] {
        let through = |dy: Tensor<2>, x: Tensor<2>, weight: &Tensor<2>| {
            let (shape, precision) = (dy.dims(), FloatDType::from(dy.dtype()));
            let x = by_head(x, weight);
            // There is no residual connection around these norms.
            let none = Tensor::zeros(x.dims(), &x.device());
            let dy = dy.reshape(x.dims());
            let dx = rms_norm_backward(dy, x, weight, self.eps, none);
            dx.cast(precision).reshape(shape)
        };
        [through(d_q, q, &self.q_norm), through(d_k, k, &self.k_norm)]
    }
}

/// `[n, heads hd]` as `[n heads, hd]`, in f32, as norms take their inputs.
fn by_head(x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    let ([n, width], [_, hd]) = (x.dims(), weight.dims());
    x.cast(FloatDType::F32).reshape([n * width / hd, hd])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Array, Random};

    const EPS: f64 = 1e-6;

    /// `w x / rms(x)` of each head, in f64.
    fn reference(x: &Array<2>, weight: &Array<2>) -> Array<2> {
        let hd = weight.values.len();
        Array::from_fn(x.shape, |index| {
            let head = &x.values[index / hd * hd..][..hd];
            let mean = head.iter().map(|value| value * value).sum::<f64>() / hd as f64;
            weight.values[index % hd] * x.values[index] / (mean + EPS).sqrt()
        })
    }

    #[test]
    fn both_passes_equal_the_formula() {
        let mut random = Random::new();
        for _ in 0..5 {
            let [n, heads, groups, half] = [1..6, 1..4, 1..4, 2..9].map(|range| random.size(range));
            let hd = 2 * half;
            let mut drawn = |shape: [usize; 2]| random.array(shape);
            let (q, k) = (drawn([n, heads * groups * hd]), drawn([n, heads * hd]));
            let weights = [drawn([1, hd]), drawn([1, hd])];
            let norms = HeadNorms {
                q_norm: weights[0].tensor(),
                k_norm: weights[1].tensor(),
                eps: EPS,
            };
            let dy = [drawn(q.shape), drawn(k.shape)];
            let inputs = || [q.tensor(), k.tensor()];
            let outputs = norms.forward(inputs());
            let gradients = norms.backward([dy[0].tensor(), dy[1].tensor()], inputs());
            let all = outputs.into_iter().zip(gradients).zip([&q, &k]);
            for (((output, gradient), x), (weight, dy)) in all.zip(weights.iter().zip(&dy)) {
                reference(x, weight).assert_close("forward", output, 1e-5);
                let expected = x.gradient(dy, |x| reference(x, weight));
                expected.assert_close("backward", gradient, 1e-4);
            }
        }
    }
}
