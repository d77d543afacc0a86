//! rsLoRA (Kalajdzievski, arXiv 2312.03732): LoRA with `s = alpha / sqrt(r)`, so that updates neither shrink nor
//! explode as the rank grows. Everything else is as in [`super::lora`].

use super::{
    Adaptation, Projections,
    lora::{LoraConfig, LowRank},
};
use crate::adapter::peft::PeftConfig;

/// rsLoRA as [`super::of`] returns it.
pub(super) struct RsLora;

impl Adaptation for RsLora {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(&RSLORA)
    }

    fn config(&self) -> &dyn PeftConfig {
        &LoraConfig::RSLORA
    }
}

/// What rsLoRA does to projections.
static RSLORA: LowRank = LowRank { scaling };

/// `s = alpha / sqrt(r)`.
fn scaling(alpha: f64, r: usize) -> f64 {
    alpha / (r as f64).sqrt()
}
