//! LoRA (Hu et al., arXiv 2106.09685): `W x + s B A x` with `s = alpha / r`; `A` `[r, in]` is random and `B` `[out, r]`
//! zero, so training starts from the base.
//!
//! Most methods are variants of it and share what is here: [`LowRank`], for those whose pairs differ only in `s`;
//! [`parts`], [`scaling`] and [`draw`], for those that add or subtract something; [`Pair`], which is where a trained
//! pair is, for all of them. Their config in PEFT's files is one as well, in `lora/config.rs`.
//!
//! With `u = s dy B` `[n, r]` the gradients are `dB = s dy^T (x A^T)`, `dA = u^T x`, and `u A` is added to the gradient
//! of the input; the projection computes them ([`crate::layers::projection`]).

mod config;

use std::rc::Rc;

use burn::tensor::Tensor;
use protocol::{Failure, TargetModule};
use rand_chacha::ChaCha8Rng;

use super::{Adaptation, ModuleOnDevice, ModuleOnHost, Projections, Start, Started};
use crate::{
    adapter::{
        Matrix, Part, Slot, fill_uniform,
        merge::Dense,
        peft::PeftConfig,
        slot::{ModulePart, ModuleSlots},
    },
    kernels::FrozenMatrix,
    layers::projection::{LoraPair, ModuleAdapter, Unchanged},
};
pub(super) use config::LoraConfig;

/// LoRA as [`super::of`] returns it.
pub(super) struct Lora;

impl Adaptation for Lora {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(&LORA)
    }

    fn config(&self) -> &dyn PeftConfig {
        &LoraConfig::PLAIN
    }
}

/// What LoRA does to projections, and LoRA+ likewise.
pub(super) static LORA: LowRank = LowRank { scaling };

/// `s = alpha / r`; `r` is the trained rank, also where a pair is exported at twice that rank and alpha.
pub(super) fn scaling(alpha: f64, r: usize) -> f64 {
    alpha / r as f64
}

/// A trained pair on each module, and nothing else; variants differ in its scaling.
pub(super) struct LowRank {
    /// Makes `s` from alpha and the rank.
    pub(super) scaling: fn(f64, usize) -> f64,
}

impl Projections for LowRank {
    fn parts(&self, r: usize, _: TargetModule, features: (usize, usize)) -> Vec<ModulePart> {
        parts(r, features)
    }

    fn scaling(&self, alpha: f64, r: usize) -> f64 {
        (self.scaling)(alpha, r)
    }

    fn start<'a>(&self, start: Start<'a>, rng: &'a mut ChaCha8Rng) -> Started<'a> {
        Box::pin(started(start, rng))
    }

    fn to_merge(
        &self,
        slots: &ModuleSlots<'_>,
        _: &[Rc<Matrix>],
    ) -> Result<Rc<dyn ModuleOnHost>, Failure> {
        Ok(Rc::new(Pair::of(slots)?))
    }
}

/// `A` and `B`, in this order, for a module with these input and output features.
pub(super) fn parts(r: usize, (in_features, out_features): (usize, usize)) -> Vec<ModulePart> {
    vec![
        ModulePart::matrix(Part::A, [r, in_features]),
        ModulePart::matrix(Part::B, [out_features, r]),
    ]
}

/// Draws the pair and makes its object.
async fn started(
    mut start: Start<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Rc<dyn ModuleOnDevice>, Failure> {
    draw(&mut start, rng)?;
    Ok(Rc::new(Pair::of(&start.slots)?))
}

/// The bound of PEFT's uniform initialization of `A`, `1 / sqrt(in)`.
///
/// It is torch's `kaiming_uniform_(a=sqrt(5))`: the bound `sqrt(6 / ((1 + a^2) in))` is `1 / sqrt(in)`.
pub(in crate::adapter) fn bound(in_features: usize) -> f64 {
    1.0 / (in_features as f64).sqrt()
}

/// Draws `A` as PEFT does; `B` stays zero.
///
/// # Errors
/// As [`ModuleSlots::slot`].
pub(super) fn draw(start: &mut Start<'_>, rng: &mut ChaCha8Rng) -> Result<(), Failure> {
    let bound = bound(start.weight.cols());
    fill_uniform(start.part(Part::A)?, bound, rng);
    Ok(())
}

/// Where the trained pair of a module is among the parameters, and its factor.
#[derive(Debug, Clone)]
pub(in crate::adapter) struct Pair {
    /// `A`, `[r, in]`.
    a: Slot,
    /// `B`, `[out, r]`.
    b: Slot,
    /// The factor `s`, fixed when the layout was made.
    pub(super) scaling: f64,
}

impl Pair {
    /// Finds the pair of a module.
    ///
    /// # Errors
    /// As [`ModuleSlots::slot`].
    pub(in crate::adapter) fn of(slots: &ModuleSlots<'_>) -> Result<Self, Failure> {
        Ok(Self {
            a: slots.slot(Part::A)?,
            b: slots.slot(Part::B)?,
            scaling: slots.scaling,
        })
    }

    /// `A` and `B` among the parameters of the whole adapter, row by row.
    pub(super) fn on_host<'a>(&self, parameters: &'a [f32]) -> [&'a [f32]; 2] {
        [&self.a, &self.b].map(|slot| slot.on_host(parameters))
    }

    /// `A` and `B` as slices of the parameters on the device, with the factor.
    pub(super) fn on_device(&self, flat: &Tensor<1>) -> LoraPair {
        LoraPair {
            a: self.a.on_device(flat),
            b: self.b.on_device(flat),
            scaling: self.scaling,
        }
    }
}

impl ModuleOnHost for Pair {
    /// `W + s B A`
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>) {
        let [a, b] = self.on_host(parameters);
        weight.add_product(b, a, self.scaling);
    }

    fn product(&self, parameters: &[f32]) -> Option<[Vec<f32>; 2]> {
        Some(self.on_host(parameters).map(<[f32]>::to_vec))
    }
}

impl ModuleOnDevice for Pair {
    fn forward(&self, flat: &Tensor<1>, _: &FrozenMatrix) -> ModuleAdapter {
        ModuleAdapter {
            low_rank: Some(self.on_device(flat)),
            ..ModuleAdapter::new(Unchanged)
        }
    }
}
