//! The operations as CubeCL kernels, compiled to WGSL in the browser.
//!
//! Burn's default matmul without autotune reaches a tenth of a register-blocked kernel on the adapters we measured,
//! and its autotune tries candidates that Chromium rejects; hence a kernel of our own for the one operation that
//! matters.

mod matmul;
mod unpack;

use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use super::KernelOps;
use crate::weights::packed::PackedKind;

impl KernelOps for CubeBackend {
    fn batched_matmul(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
        matmul::matmul(lhs, rhs)
    }

    fn unpack(
        words: CubeTensor,
        scales: CubeTensor,
        kind: PackedKind,
        cols: usize,
        transposed: bool,
    ) -> CubeTensor {
        unpack::unpack(words, scales, kind, cols, transposed)
    }

    fn packed_linear(
        x: CubeTensor,
        words: CubeTensor,
        scales: CubeTensor,
        kind: PackedKind,
    ) -> CubeTensor {
        let cols = x.meta.shape()[1];
        let weight = unpack::unpack(words, scales, kind, cols, true);
        matmul::matmul(x, weight)
    }
}
