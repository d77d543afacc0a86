//! rsLoRA (Kalajdzievski, arXiv 2312.03732): LoRA with `s = alpha / sqrt(r)`, so that updates neither shrink nor
//! explode as the rank grows. Everything else is as in [`super::lora`].

pub(super) fn scaling(alpha: f64, r: usize) -> f64 {
    alpha / (r as f64).sqrt()
}
