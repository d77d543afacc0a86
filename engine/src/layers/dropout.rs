//! Dropout masks that a recomputed forward draws again exactly.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::protocol::TargetModule;

/// The dropout of one micro-step. Each mask is a function of seed, micro-step, layer and module alone, so that the
/// backward's second forward sees the masks of the first, and both devices draw the same.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    pub probability: f64,
    pub seed: u64,
    /// Counted over the whole run.
    pub micro_step: u64,
}

impl Dropout {
    /// `[n, in]` of zeros (with the probability) and `1 / (1 - p)`s; none where nothing is dropped.
    pub fn mask(
        &self,
        layer: usize,
        module: TargetModule,
        shape: [usize; 2],
        device: &Device,
    ) -> Option<Tensor<2>> {
        if self.probability == 0.0 {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream((self.micro_step << 16) | ((layer as u64) << 3) | module as u64);
        let keep = (1.0 / (1.0 - self.probability)) as f32;
        let threshold = (self.probability * f64::from(u32::MAX)) as u32;
        let mask: Vec<f32> = (0..shape[0] * shape[1])
            .map(|_| {
                if rng.next_u32() < threshold {
                    0.0
                } else {
                    keep
                }
            })
            .collect();
        Some(Tensor::from_data(TensorData::new(mask, shape), device))
    }
}
