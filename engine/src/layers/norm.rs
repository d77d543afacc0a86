//! RMSNorm (Zhang and Sennrich, arXiv 1910.07467) with a frozen weight.

use burn::tensor::Tensor;

/// What [`backward`] needs of a forward.
#[derive(Debug, Clone)]
pub struct Saved {
    input: Tensor<2>,
    /// `1 / rms(x)`, `[n, 1]`
    inverse_rms: Tensor<2>,
}

/// `y = w x / sqrt(mean(x^2) + eps)` over the last dimension of `x` `[n, d]`; `weight` is `[1, d]`.
pub fn forward(x: Tensor<2>, weight: &Tensor<2>, eps: f64) -> (Tensor<2>, Saved) {
    let inverse_rms = x
        .clone()
        .square()
        .mean_dim(1)
        .add_scalar(eps)
        .sqrt()
        .recip();
    let y = x.clone() * inverse_rms.clone() * weight.clone();
    (
        y,
        Saved {
            input: x,
            inverse_rms,
        },
    )
}

/// `dx = s (w dy - x s^2 mean(w dy x))` with `s = 1 / rms(x)`.
pub fn backward(dy: Tensor<2>, weight: &Tensor<2>, saved: Saved) -> Tensor<2> {
    let Saved { input, inverse_rms } = saved;
    let weighted = dy * weight.clone();
    let projection = (weighted.clone() * input.clone()).mean_dim(1) * inverse_rms.clone().square();
    (weighted - input * projection) * inverse_rms
}
