//! Measures what the CPU can do at best in this build: multiply-adds in registers, and copies.

use std::hint::black_box;

use engine::kernels::{for_each, num_threads};
use serde::Deserialize;

/// Numbers in a vector of wasm's SIMD.
const LANES: usize = 4;
/// Independent sums, enough to hide the latency of one.
const CHAINS: usize = 10;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    MultiplyAdd,
    Copy,
}

/// `size` is the rounds of one, the bytes of the other.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct LimitSpec {
    limit: LimitKind,
    size: usize,
}

pub struct Limit {
    spec: LimitSpec,
    source: Vec<f32>,
    target: Vec<f32>,
}

impl Limit {
    pub fn new(spec: LimitSpec) -> Self {
        let len = match spec.limit {
            LimitKind::MultiplyAdd => 0,
            LimitKind::Copy => spec.size / 4,
        };
        Self {
            spec,
            source: vec![1.0; len],
            target: vec![0.0; len],
        }
    }

    /// The work of one run: operations, or bytes read and written.
    pub fn amount(&self) -> f64 {
        match self.spec.limit {
            LimitKind::MultiplyAdd => (2 * LANES * CHAINS * self.spec.size * num_threads()) as f64,
            LimitKind::Copy => (2 * self.spec.size) as f64,
        }
    }

    pub fn run(&mut self, times: u32) {
        for _ in 0..times {
            match self.spec.limit {
                LimitKind::MultiplyAdd => for_each(num_threads(), usize::MAX, |_| {
                    black_box(multiply_add(black_box(self.spec.size)));
                }),
                LimitKind::Copy => self.target.copy_from_slice(black_box(&self.source)),
            }
        }
        black_box(&self.target);
    }
}

/// Multiplies and adds in registers, `rounds` times in each chain.
#[cfg_attr(feature = "fused", target_feature(enable = "relaxed-simd"))]
fn multiply_add(rounds: usize) -> f32 {
    #[cfg(feature = "fused")]
    use core::arch::wasm32::f32x4_relaxed_madd as madd;
    use core::arch::wasm32::{f32x4_extract_lane, f32x4_splat};
    #[cfg(not(feature = "fused"))]
    let madd = |a, b, c| {
        use core::arch::wasm32::{f32x4_add, f32x4_mul};
        f32x4_add(f32x4_mul(a, b), c)
    };
    let factor = f32x4_splat(black_box(0.999));
    let mut sums = [f32x4_splat(black_box(1.0)); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = madd(*sum, factor, factor);
        }
    }
    let first = |sum| f32x4_extract_lane::<0>(sum);
    sums.into_iter().map(first).sum()
}
