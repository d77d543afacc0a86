//! Rotary position embedding (Su et al., arXiv 2104.09864) as HF's Llama applies it: the two halves of a head rotate
//! against each other (not neighboring pairs). With the angle `a = position / theta^(2 i / hd)`, for `i` below
//! `hd / 2`:
//!
//! ```text
//! y[i]          = x[i] cos a - x[i + hd/2] sin a
//! y[i + hd/2]   = x[i + hd/2] cos a + x[i] sin a
//! ```
//!
//! llama.cpp rotates neighbors in Llama's GGUF files instead, whose rows are interleaved to match; they are put into
//! HF's order when they are read ([`crate::arch::RowOrder`]), so there is one rotation here.

use burn::tensor::{Device, Tensor, TensorData};

use kernels::rope;

/// The cosines and sines of the positions of a row's tokens, `[t, hd / 2]` each. All rows of a batch share them.
#[derive(Debug, Clone)]
pub struct Rope {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl Rope {
    /// Computes the tables. Frequencies and angles are rounded to f32, as in HF; their cosines and sines are computed
    /// in f64.
    ///
    /// `positions` are those of a row's tokens, in order; in a packed row they restart with each segment. `head_dim` is
    /// even.
    pub fn new(
        positions: impl Iterator<Item = usize> + Clone,
        head_dim: usize,
        theta: f64,
        device: &Device,
    ) -> Self {
        let half = head_dim / 2;
        // HF computes the frequency and the angle in f32, and so do we, to agree at large positions.
        let frequencies: Vec<f32> = (0..half)
            .map(|i| (1.0 / theta.powf(2.0 * i as f64 / head_dim as f64)) as f32)
            .collect();
        let table = |function: fn(f64) -> f64| {
            let angles = positions.clone().flat_map(|position| {
                let frequencies = frequencies.iter();
                frequencies.map(move |frequency| f64::from(position as f32 * frequency))
            });
            let values: Vec<f32> = angles.map(|angle| function(angle) as f32).collect();
            let num_tokens = values.len() / half.max(1);
            Tensor::from_data(TensorData::new(values, [num_tokens, half]), device)
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// Rotates each head of each token by its position.
    ///
    /// # Shapes
    /// - `x`: `[b t, heads hd]`
    /// - returns the same
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        rope(x, &self.cos, &self.sin, false)
    }

    /// Rotates back, which is the transpose of the rotation: the gradient of [`Self::forward`].
    ///
    /// # Shapes
    /// - `dy`: `[b t, heads hd]`
    /// - returns the same
    pub fn backward(&self, dy: Tensor<2>) -> Tensor<2> {
        rope(dy, &self.cos, &self.sin, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Array, Random};

    #[test]
    fn halves_rotate_by_the_angle_of_their_position_and_back() {
        let mut random = Random::new();
        for _ in 0..10 {
            let [batch, t, heads, half, start] =
                [1..4, 1..12, 1..5, 1..17, 0..50].map(|range| random.size(range));
            let theta = 10_000.0 * (1.5 + f64::from(random.unit()));
            let hd = 2 * half;
            let x = random.array([batch * t, heads * hd]);
            let expected = Array::from_fn(x.shape, |index| {
                let (position, i) = (start + index / (heads * hd) % t, index % half);
                let angle = position as f64 / theta.powf(i as f64 / half as f64);
                let is_first = index % hd < half;
                let (first, second) = if is_first {
                    (x.values[index], x.values[index + half])
                } else {
                    (x.values[index - half], x.values[index])
                };
                if is_first {
                    first * angle.cos() - second * angle.sin()
                } else {
                    second * angle.cos() + first * angle.sin()
                }
            });
            let rope = Rope::new(start..start + t, hd, theta, &Device::flex());
            let rotated = rope.forward(x.tensor());
            expected.assert_close("forward", rotated.clone(), 2e-5);
            x.assert_close("backward", rope.backward(rotated), 1e-6);
        }
    }
}
