//! Dropout masks that a recomputed forward can reproduce exactly.
//!
//! As in PEFT, dropout acts on the inputs of adapters alone; the base computes with the whole input. Masks are drawn on
//! the host, so that both devices have the same. A mask's ChaCha8 stream is
//!
//! ```text
//! stream = micro_step << 16 | layer << 3 | module          (module: 0 to 6)
//! ```
//!
//! so no two masks of a run share one.

use burn::tensor::{Device, Tensor, TensorData};
use protocol::TargetModule;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The dropout of one micro-step. Each mask depends only on the seed, micro-step, layer and module, so that the second
/// forward in a backward sees the masks of the first, and both devices draw the same masks.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// The share of numbers that become zero, at least 0 and below 1.
    pub probability: f64,
    /// The run's seed.
    pub seed: u64,
    /// The forward and backward that it is for, counted over the whole run.
    pub micro_step: u64,
}

impl Dropout {
    /// Draws the mask of a module's input: 0 with the probability `p`, otherwise `1 / (1 - p)`, so that the mean stays.
    /// `None` if nothing is dropped.
    ///
    /// # Shapes
    /// - `shape`: `[n, in]`
    /// - returns the same, f32
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn values(dropout: Dropout, layer: usize, module: TargetModule) -> Vec<f32> {
        let mask = dropout.mask(layer, module, [200, 50], &Device::flex());
        mask.unwrap().into_data().try_into_vec().unwrap()
    }

    #[test]
    fn masks_drop_their_share_and_keep_the_mean() {
        let mut random = Random::new();
        for probability in [0.1, 0.5, 0.9] {
            let seed = random.size(0..1_000_000) as u64;
            let dropout = Dropout {
                probability,
                seed,
                micro_step: 3,
            };
            let values = values(dropout, 1, TargetModule::QProj);
            let keep = (1.0 / (1.0 - probability)) as f32;
            assert!(values.iter().all(|&value| value == 0.0 || value == keep));
            let dropped = values.iter().filter(|&&value| value == 0.0).count() as f64;
            // Six standard deviations.
            let slack = 6.0 * (10_000.0 * probability * (1.0 - probability)).sqrt();
            assert!(
                (dropped - 10_000.0 * probability).abs() < slack,
                "{dropped} of {probability}"
            );
        }
    }

    #[test]
    fn masks_depend_on_seed_step_layer_and_module_alone() {
        let dropout = Dropout {
            probability: 0.5,
            seed: 7,
            micro_step: 1,
        };
        let mask = values(dropout, 2, TargetModule::VProj);
        assert_eq!(mask, values(dropout, 2, TargetModule::VProj));
        assert_ne!(mask, values(dropout, 2, TargetModule::KProj));
        assert_ne!(mask, values(dropout, 3, TargetModule::VProj));
        assert_ne!(
            mask,
            values(
                Dropout {
                    micro_step: 2,
                    ..dropout
                },
                2,
                TargetModule::VProj
            )
        );
        assert_ne!(
            mask,
            values(Dropout { seed: 8, ..dropout }, 2, TargetModule::VProj)
        );
    }

    #[test]
    fn nothing_dropped_is_no_mask() {
        let dropout = Dropout {
            probability: 0.0,
            seed: 7,
            micro_step: 1,
        };
        let mask = dropout.mask(0, TargetModule::QProj, [2, 2], &Device::flex());
        assert!(mask.is_none());
    }
}
