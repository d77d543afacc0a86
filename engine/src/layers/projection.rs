//! A frozen projection with a low-rank adapter beside it.
//!
//! LoRA (Hu et al., arXiv 2106.09685): `y = x W^T + s (drop(x) A^T) B^T` with `s = alpha / r`. The update is never
//! folded into a dense `W`.

use burn::tensor::Tensor;

use super::frozen::FrozenMatrix;
use crate::kernels::matmul;

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

/// `[n, in] -> [n, out]`. `dropout` multiplies the adapter's input.
pub fn forward(
    x: Tensor<2>,
    weight: &FrozenMatrix,
    lora: Option<&LoraPair>,
    dropout: Option<Tensor<2>>,
) -> (Tensor<2>, Option<Saved>) {
    let base = weight.forward(x.clone());
    let Some(lora) = lora else {
        return (base, None);
    };
    let input = match &dropout {
        Some(mask) => x * mask.clone(),
        None => x,
    };
    let low_rank = matmul(input.clone(), lora.a.clone().transpose());
    let update = matmul(low_rank.clone(), lora.b.clone().transpose()).mul_scalar(lora.scaling);
    (
        base + update,
        Some(Saved {
            input,
            low_rank,
            dropout,
        }),
    )
}

/// What the adapter adds to the gradient of its input, `[n, in]`, and the gradients of `A` and `B`. The frozen part's
/// share is [`FrozenMatrix::backward`].
pub fn backward(dy: Tensor<2>, lora: &LoraPair, saved: Saved) -> (Tensor<2>, LoraGradients) {
    let dy = dy.mul_scalar(lora.scaling);
    let b = matmul(dy.clone().transpose(), saved.low_rank);
    let d_low_rank = matmul(dy, lora.b.clone());
    let a = matmul(d_low_rank.clone().transpose(), saved.input);
    let dx = matmul(d_low_rank, lora.a.clone());
    let dx = match saved.dropout {
        Some(mask) => dx * mask,
        None => dx,
    };
    (dx, LoraGradients { a, b })
}
