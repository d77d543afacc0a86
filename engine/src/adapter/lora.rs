//! LoRA (Hu et al., arXiv 2106.09685): `W x + s B A x` with `s = alpha / r`; `A` is random and `B` zero, so training
//! starts from the base.

use rand_chacha::ChaCha8Rng;

use super::{Dense, Fixed, HostModule, Parameters, Part, Start, fill_uniform};
use crate::layers::projection::{Chain, LoraPair, ModuleAdapter};

pub(super) fn scaling(alpha: f64, r: usize) -> f64 {
    alpha / r as f64
}

/// PEFT's initialization: `A` uniform in `+-1 / sqrt(in)` (Kaiming with `a = sqrt(5)`), `B` zero.
pub(super) fn start(start: &mut Start<'_>, rng: &mut ChaCha8Rng) -> Fixed {
    let bound = 1.0 / (start.weight.cols() as f64).sqrt();
    fill_uniform(start.part(Part::A), bound, rng);
    Fixed::Base
}

pub(super) fn forward(parameters: &Parameters<'_>) -> ModuleAdapter {
    ModuleAdapter {
        low_rank: Some(LoraPair {
            a: parameters.part(Part::A),
            b: parameters.part(Part::B),
            scaling: parameters.scaling,
        }),
        ..ModuleAdapter::new(Chain::Whole)
    }
}

/// `W + s B A`
pub(super) fn merge(weight: &mut Dense<'_>, module: &HostModule<'_>) {
    weight.add_product(module.part(Part::B), module.part(Part::A), module.scaling);
}
