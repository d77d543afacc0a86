//! LoRA+ (Hayou et al., arXiv 2402.12354): LoRA whose `B` has a multiple of the learning rate of `A`, since in a wide
//! layer `B` needs larger steps than `A`. Everything else is as in [`super::lora`].
//!
//! The multiple is `loraplus_lr_ratio` (PEFT's `create_loraplus_optimizer`). It changes only the optimizer's groups;
//! see [`AdapterLayout::groups`](crate::adapter::AdapterLayout::groups).

use protocol::AdapterSpec;

use super::{
    Adaptation, Projections,
    lora::{LORA, LoraConfig},
};
use crate::adapter::{Part, Place, peft::PeftConfig};

/// LoRA+ as [`super::of`] returns it.
pub(super) struct LoraPlus;

impl Adaptation for LoraPlus {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(&LORA)
    }

    fn config(&self) -> &dyn PeftConfig {
        &LoraConfig::PLAIN
    }

    /// `loraplus_lr_ratio` for `B`, 1 for `A` and for the other matrices. As in PEFT, vectors (the norms) use the
    /// factor of `B`.
    fn lr_ratio(&self, spec: &AdapterSpec, place: Place) -> f64 {
        match place {
            Place::Module { part: Part::A, .. } | Place::Head | Place::Prompt => 1.0,
            Place::Module { .. } | Place::Norm { .. } | Place::FinalNorm => spec.loraplus_lr_ratio,
        }
    }
}
