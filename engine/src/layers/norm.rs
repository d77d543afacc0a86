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
    let mean_square = x.clone().square().mean_dim(1).add_scalar(eps);
    // Not `recip`: where the square overflows, this is NaN, which a run notices, and not a row of zeros.
    let inverse_rms = mean_square.clone().sqrt() / mean_square;
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

#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests {
    use super::*;
    use crate::testing::{Array, Random};

    const EPS: f64 = 1e-2;

    fn reference(x: &Array<2>, weight: &Array<2>) -> Array<2> {
        let [_, d] = x.shape;
        Array::from_fn(x.shape, |index| {
            let row = x.row(index / d);
            let mean_square = row.iter().map(|x| x * x).sum::<f64>() / d as f64;
            weight.values[index % d] * x.values[index] / (mean_square + EPS).sqrt()
        })
    }

    #[test]
    fn an_overflow_shows() {
        let x = Array::from_fn([1, 4], |_| 1e30);
        let weight = Array::from_fn([1, 4], |_| 1.0);
        let (y, _) = forward(x.tensor(), &weight.tensor(), EPS);
        let y: Vec<f32> = y.into_data().try_into_vec().unwrap();
        assert!(y.iter().all(|y| y.is_nan()));
    }

    #[test]
    fn both_passes_equal_the_formula() {
        let mut random = Random::new();
        for _ in 0..10 {
            let [n, d] = [1..9, 4..30].map(|range| random.size(range));
            // From rows that epsilon outweighs to rows where it is nothing.
            let scale = 10f64.powf(f64::from(random.unit()));
            let x = random.array([n, d]).times(scale);
            let (weight, dy) = (random.array([1, d]), random.array([n, d]));
            let (y, saved) = forward(x.tensor(), &weight.tensor(), EPS);
            reference(&x, &weight).assert_close("forward", y, 1e-5);
            let expected = x.gradient(&dy, |x| reference(x, &weight));
            let dx = backward(dy.tensor(), &weight.tensor(), saved);
            expected.assert_close("backward", dx, 1e-4);
        }
    }
}
