//! A frozen projection with a low-rank adapter beside it.
//!
//! LoRA (Hu et al., arXiv 2106.09685): `y = x W^T + s (drop(x) A^T) B^T` with `s = alpha / r`. The update is never
//! folded into a dense `W`. Of the adapter everything is f32; the rest is of the precision of `x` and `dy`.

use burn::tensor::{FloatDType, Tensor};

use super::frozen::FrozenMatrix;
use crate::kernels::{LowRank, add_residual, matmul};

/// One module's adapter on the device.
#[derive(Debug, Clone)]
pub struct LoraPair {
    /// `A`, `[r, in]`
    pub a: Tensor<2>,
    /// `B`, `[out, r]`
    pub b: Tensor<2>,
    pub scaling: f64,
}

/// Gradients of a [`LoraPair`], of the same shapes.
#[derive(Debug, Clone)]
pub struct LoraGradients {
    pub a: Tensor<2>,
    pub b: Tensor<2>,
}

/// What [`backward`] needs of a forward with an adapter.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The adapter's input after dropout, `[n, in]`.
    input: Tensor<2>,
    /// `input A^T`, `[n, r]`
    low_rank: Tensor<2>,
    /// Zeros and `1 / (1 - p)`s, where dropout is on.
    dropout: Option<Tensor<2>>,
}

impl Saved {
    /// The adapter's part of a forward; `dropout` multiplies its input `[n, in]`.
    pub fn new(x: Tensor<2>, lora: &LoraPair, dropout: Option<Tensor<2>>) -> Self {
        let input = match &dropout {
            Some(mask) => x.cast(FloatDType::F32) * mask.clone(),
            None => x,
        };
        let low_rank = matmul(input.clone(), lora.a.clone().transpose());
        Self {
            input,
            low_rank,
            dropout,
        }
    }
}

/// `[n, in] -> [n, out]`; `adapter` is what [`Saved::new`] made of the same `x`.
pub fn forward(
    x: Tensor<2>,
    weight: &FrozenMatrix,
    adapter: Option<(&LoraPair, &Saved)>,
) -> Tensor<2> {
    let low_rank = adapter.map(|(lora, saved)| LowRank {
        u: saved.low_rank.clone(),
        v: lora.b.clone(),
        scaling: lora.scaling,
    });
    weight.forward(x, low_rank)
}

/// The gradients of a projection: of its input `[n, in]`, through the frozen weight and the adapter, and of the
/// adapter's `A` and `B`.
pub fn backward(
    dy: Tensor<2>,
    weight: &FrozenMatrix,
    lora: &LoraPair,
    saved: Saved,
) -> (Tensor<2>, LoraGradients) {
    let (d_low_rank, gradients) = adapter_gradients(&dy, lora, &saved);
    let through_adapter = LowRank {
        u: d_low_rank,
        v: lora.a.clone(),
        scaling: 1.0,
    };
    let dx = match saved.dropout {
        // The mask lies between input and adapter, so that the two parts cannot share one sum.
        Some(mask) => {
            let LowRank { u, v, .. } = through_adapter;
            let precision = FloatDType::from(dy.dtype());
            let sum = add_residual(matmul(u, v) * mask, weight.backward(dy, None));
            sum.cast(precision)
        }
        None => weight.backward(dy, Some(through_adapter)),
    };
    (dx, gradients)
}

/// `s dy B` `[n, r]`, the gradient of `input A^T`, and those of `A` and `B`.
pub fn adapter_gradients(
    dy: &Tensor<2>,
    lora: &LoraPair,
    saved: &Saved,
) -> (Tensor<2>, LoraGradients) {
    let d_low_rank = matmul(dy.clone(), lora.b.clone()).mul_scalar(lora.scaling);
    let b = matmul(dy.clone().transpose(), saved.low_rank.clone()).mul_scalar(lora.scaling);
    let a = matmul(d_low_rank.clone().transpose(), saved.input.clone());
    (d_low_rank, LoraGradients { a, b })
}

#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{Array, KINDS, Random};

    /// `x W^T + s ((x * mask) A^T) B^T`
    fn reference([x, w, a, b, mask]: [&Array<2>; 5], scaling: f64) -> Array<2> {
        let dropped = Array::from_fn(x.shape, |i| x.values[i] * mask.values[i]);
        let update = dropped.matmul(&a.transposed()).matmul(&b.transposed());
        let base = x.matmul(&w.transposed());
        Array::from_fn(base.shape, |i| base.values[i] + scaling * update.values[i])
    }

    #[test]
    fn both_passes_equal_the_formula_with_and_without_dropout() {
        let mut random = Random::new();
        for kind in KINDS {
            let [n, out, r] = [1..9, 1..20, 1..6].map(|range| random.size(range));
            let cols = if kind.has_scales() {
                32
            } else {
                random.size(1..20)
            };
            let (packed, w) = random.packed(kind, out, cols);
            let weight = FrozenMatrix::from_packed(packed, &Device::flex());
            let (x, dy) = (random.array([n, cols]), random.array([n, out]));
            let (a, b) = (random.array([r, cols]), random.array([out, r]));
            let has_dropout = random.size(0..2) == 1;
            let mask = Array::from_fn([n, cols], |_| match random.size(0..3) {
                0 if has_dropout => 0.0,
                _ if has_dropout => 1.5,
                _ => 1.0,
            });
            let scaling = f64::from(random.unit());
            let lora = LoraPair {
                a: a.tensor(),
                b: b.tensor(),
                scaling,
            };
            let dropout = has_dropout.then(|| mask.tensor());
            let saved = Saved::new(x.tensor(), &lora, dropout);
            let y = forward(x.tensor(), &weight, Some((&lora, &saved)));
            reference([&x, &w, &a, &b, &mask], scaling).assert_close("forward", y, 1e-5);
            let (dx, gradients) = backward(dy.tensor(), &weight, &lora, saved);
            let expected = x.gradient(&dy, |x| reference([x, &w, &a, &b, &mask], scaling));
            expected.assert_close("input", dx, 1e-4);
            let expected = a.gradient(&dy, |a| reference([&x, &w, a, &b, &mask], scaling));
            expected.assert_close("A", gradients.a, 1e-4);
            let expected = b.gradient(&dy, |b| reference([&x, &w, &a, b, &mask], scaling));
            expected.assert_close("B", gradients.b, 1e-4);
        }
    }

    #[test]
    fn without_an_adapter_the_base_is_alone() {
        let mut random = Random::new();
        let (packed, w) = random.packed(KINDS[0], 7, 64);
        let weight = FrozenMatrix::from_packed(packed, &Device::flex());
        let x = random.array([5, 64]);
        let y = forward(x.tensor(), &weight, None);
        x.matmul(&w.transposed()).assert_close("forward", y, 1e-5);
    }
}
