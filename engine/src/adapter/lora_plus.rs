//! LoRA+ (Hayou et al., arXiv 2402.12354): LoRA whose `B` has a multiple of the learning rate of `A`, since in a wide
//! layer `B` needs larger steps than `A`. Everything else is as in [`super::lora`].

use super::{Part, Place};

/// The factor of the learning rate at `place` (`loraplus_lr_ratio`). As in PEFT, vectors use the factor of `B`.
pub(super) fn rate_ratio(place: Place, loraplus_lr_ratio: f64) -> f64 {
    match place {
        Place::Module { part: Part::A, .. } | Place::Head | Place::Prompt => 1.0,
        Place::Module { .. } | Place::Norm { .. } | Place::FinalNorm => loraplus_lr_ratio,
    }
}
