//! LoRA+ (Hayou et al., arXiv 2402.12354): LoRA whose `B` learns at a multiple of the rate of `A`, since a wide layer's `B`
//! needs larger steps than its `A`. All else is [`super::lora`]'s.

use super::Part;

/// What the learning rate of a part is multiplied with (`loraplus_lr_ratio`).
pub(super) fn rate_ratio(part: Part, loraplus_lr_ratio: f64) -> f64 {
    if part == Part::B {
        loraplus_lr_ratio
    } else {
        1.0
    }
}
