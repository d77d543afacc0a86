//! LoRA+ (Hayou et al., arXiv 2402.12354): LoRA whose `B` learns at a multiple of the rate of `A`, since a wide layer's `B`
//! needs larger steps than its `A`. All else is [`super::lora`]'s.

use super::{Part, Place};

/// What the learning rate of what is trained at `place` is multiplied with (`loraplus_lr_ratio`). Vectors learn as `B` does,
/// as PEFT has it.
pub(super) fn rate_ratio(place: Place, loraplus_lr_ratio: f64) -> f64 {
    match place {
        Place::Module { part: Part::A, .. } | Place::Head | Place::Prompt => 1.0,
        Place::Module { .. } | Place::Norm { .. } | Place::FinalNorm => loraplus_lr_ratio,
    }
}
