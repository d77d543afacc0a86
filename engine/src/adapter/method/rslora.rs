//! rsLoRA (Kalajdzievski, arXiv 2312.03732): LoRA with `s = alpha / sqrt(r)`, so that updates neither shrink nor
//! explode as the rank grows. Everything else is as in [`super::lora`].

use super::{
    Adaptation, Projections,
    lora::{LoraConfig, LowRank},
};
use crate::adapter::peft::PeftConfig;

pub(super) struct RsLora;

impl Adaptation for RsLora {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(&RSLORA)
    }

    fn config(&self) -> &dyn PeftConfig {
        &LoraConfig::RSLORA
    }
}

static RSLORA: LowRank = LowRank { scaling };

fn scaling(alpha: f64, r: usize) -> f64 {
    alpha / (r as f64).sqrt()
}
