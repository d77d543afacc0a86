//! rsLoRA (Kalajdzievski, arXiv 2312.03732): LoRA with `s = alpha / sqrt(r)`, under which an update neither shrinks nor
//! explodes as the rank grows. All else is [`super::lora`]'s.

pub(super) fn scaling(alpha: usize, r: usize) -> f64 {
    alpha as f64 / (r as f64).sqrt()
}
