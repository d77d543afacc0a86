//! DoRA (Liu et al., arXiv 2402.09353): `W` as directions and magnitudes, `W x` becomes `m / ||V|| V x` with
//! `V = W + s B A` and `||V||` its row norms. `m` `[1, out]` starts as the row norms of `W`. As in the paper (section
//! 4.3), the gradient treats the norms as constants.
//!
//! The projection sees a low-rank pair and a scale of its output, `g = m / ||V||`. Since the norms are constants, `dm`
//! is `dg / ||V||`, and the gradients of `A` and `B` are those of the pair.
//!
//! The norms are computed without a dense `V`, with sums over the rank:
//!
//! ```text
//! ||V||^2 = ||W||^2 + 2 s sum (W A^T) B + s^2 sum (B A A^T) B
//!           [out]         [out, r]              [out, r]
//! ```
//!
//! `||W||^2` never changes and is computed once, when the module starts, some rows at a time.

use std::rc::Rc;

use burn::tensor::Tensor;
use protocol::{Failure, TargetModule};
use rand_chacha::ChaCha8Rng;

use super::{
    Adaptation, ModuleOnDevice, ModuleOnHost, Projections, Start, Started,
    lora::{self, LoraConfig, Pair},
};
use crate::{
    adapter::{
        Matrix, NotLowRank, Part, Slot,
        merge::Dense,
        peft::PeftConfig,
        slot::{ModulePart, ModuleSlots},
    },
    kernels::{FrozenMatrix, matmul},
    layers::projection::{GradientRule, Gradients, ModuleAdapter, Unchanged},
    tensor::read_all,
};

/// The magnitudes `m`, `[out]` in the file.
pub(in crate::adapter) const MAGNITUDE: Part = Part::new("lora_magnitude_vector");

/// The number of rows of `W` unpacked at a time, so that `W` is never dense as a whole.
const ROWS: usize = 256;

/// DoRA as [`super::of`] returns it.
pub(super) struct Dora;

impl Adaptation for Dora {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(self)
    }

    fn config(&self) -> &dyn PeftConfig {
        &LoraConfig::DORA
    }

    fn not_low_rank(&self) -> Option<NotLowRank> {
        Some(NotLowRank::Magnitudes)
    }
}

impl Projections for Dora {
    fn parts(&self, r: usize, _: TargetModule, features: (usize, usize)) -> Vec<ModulePart> {
        let mut parts = lora::parts(r, features);
        parts.push(ModulePart::vector(MAGNITUDE, features.1));
        parts
    }

    fn scaling(&self, alpha: f64, r: usize) -> f64 {
        lora::scaling(alpha, r)
    }

    fn start<'a>(&self, start: Start<'a>, rng: &'a mut ChaCha8Rng) -> Started<'a> {
        Box::pin(started(start, rng))
    }

    fn to_merge(
        &self,
        slots: &ModuleSlots<'_>,
        _: &[Rc<Matrix>],
    ) -> Result<Rc<dyn ModuleOnHost>, Failure> {
        Ok(Rc::new(Numbers::of(slots)?))
    }
}

/// Draws the pair and computes the row norms of `W`, which the magnitudes start as.
///
/// # Errors
/// The device's failure.
async fn started(
    mut start: Start<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Rc<dyn ModuleOnDevice>, Failure> {
    lora::draw(&mut start, rng)?;
    let weight = start.weight;
    let squares = (0..weight.rows()).step_by(ROWS).map(|first| {
        let rows = weight
            .slice_rows(first..(first + ROWS).min(weight.rows()))
            .dense();
        rows.powi_scalar(2).sum_dim(1)
    });
    let squares = Tensor::cat(squares.collect(), 0).transpose();
    let norms = read_all(squares.clone().sqrt()).await?;
    start.part(MAGNITUDE)?.copy_from_slice(&norms);
    Ok(Rc::new(Module {
        numbers: Numbers::of(&start.slots)?,
        squares,
    }))
}

/// Where the numbers of a module are: all that merging needs.
#[derive(Debug)]
struct Numbers {
    /// `A` and `B`.
    pair: Pair,
    /// `m`, `[1, out]`.
    magnitude: Slot,
}

impl Numbers {
    /// Finds the parts of a module.
    ///
    /// # Errors
    /// As [`ModuleSlots::slot`].
    fn of(slots: &ModuleSlots<'_>) -> Result<Self, Failure> {
        Ok(Self {
            pair: Pair::of(slots)?,
            magnitude: slots.slot(MAGNITUDE)?,
        })
    }
}

impl ModuleOnHost for Numbers {
    /// `m / ||V|| V`, with the norms of the merged `V`, which needs no `||W||^2` from before. A row of zeros stays
    /// zero.
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>) {
        self.pair.merge(parameters, weight);
        for (row, &magnitude) in weight.rows().zip(self.magnitude.on_host(parameters)) {
            let square: f64 = row.iter().map(|&v| f64::from(v).powi(2)).sum();
            let factor = f64::from(magnitude) / square.sqrt().max(f64::from(f32::MIN_POSITIVE));
            for value in row {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
    }

    fn product(&self, parameters: &[f32]) -> Option<[Vec<f32>; 2]> {
        self.pair.product(parameters)
    }
}

/// A module on the device.
#[derive(Debug)]
struct Module {
    /// Where its numbers are.
    numbers: Numbers,
    /// The squares of the row norms of `W`, `[1, out]`.
    squares: Tensor<2>,
}

impl ModuleOnHost for Module {
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>) {
        self.numbers.merge(parameters, weight);
    }

    fn product(&self, parameters: &[f32]) -> Option<[Vec<f32>; 2]> {
        self.numbers.product(parameters)
    }
}

impl ModuleOnDevice for Module {
    fn forward(&self, flat: &Tensor<1>, weight: &FrozenMatrix) -> ModuleAdapter {
        let pair = self.numbers.pair.on_device(flat);
        let (a, b, scaling) = (pair.a.clone(), pair.b.clone(), pair.scaling);
        let cross = (weight.forward(a.clone(), None).transpose() * b.clone()).sum_dim(1);
        let gram = matmul(a.clone(), a.transpose());
        let square = (matmul(b.clone(), gram) * b).sum_dim(1);
        let added = cross.mul_scalar(2.0 * scaling) + square.mul_scalar(scaling * scaling);
        // The difference of nearly equal numbers may be slightly below zero.
        let norms = (self.squares.clone() + added.transpose())
            .clamp_min(0.0)
            .sqrt();
        let inverse = norms.clamp_min(f32::MIN_POSITIVE).recip();
        let magnitude = self.numbers.magnitude.on_device(flat);
        ModuleAdapter {
            low_rank: Some(pair),
            output_scale: Some(magnitude * inverse.clone()),
            ..ModuleAdapter::new(Magnitude { inverse })
        }
    }
}

/// The gradient rule: the scale of the output is `m` times a constant.
#[derive(Debug)]
struct Magnitude {
    /// `1 / ||V||`, `[1, out]`
    inverse: Tensor<2>,
}

impl GradientRule for Magnitude {
    fn trained(&self, seen: Gradients) -> Vec<Tensor<2>> {
        let scale = seen.scale.map(|scale| scale * self.inverse.clone());
        Unchanged.trained(Gradients { scale, ..seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Array, Random};

    #[test]
    fn the_gradient_of_the_magnitudes_is_that_of_the_scale_over_the_norms() {
        let mut random = Random::new();
        let out = random.size(2..20);
        let (d_g, inverse) = (random.array([1, out]), random.array([1, out]));
        let rule = Magnitude {
            inverse: inverse.tensor(),
        };
        let trained = rule.trained(Gradients {
            pair: None,
            scale: Some(d_g.tensor()),
        });
        let [d_m] = <[Tensor<2>; 1]>::try_from(trained).unwrap();
        let expected = Array::from_fn([1, out], |i| d_g.values[i] * inverse.values[i]);
        expected.assert_close("magnitude", d_m, 1e-5);
    }
}
