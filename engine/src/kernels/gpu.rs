//! The operations as CubeCL kernels, compiled to WGSL in the browser.
//!
//! Burn's default matmul without autotune reaches a tenth of a register-blocked kernel on the adapters we measured,
//! and its autotune tries candidates that Chromium rejects; hence kernels of our own. Each exists in two variants, for
//! software adapters and for real GPUs: [`calibration`] picks one at the start. Shapes that no kernel takes (sizes that
//! four does not divide) go to the compositions of [`super::composed`].

#![allow(
    clippy::too_many_arguments,
    reason = "a kernel takes tensors and sizes one by one"
)]
#![allow(
    clippy::assign_op_pattern,
    clippy::duplicate_underscore_argument,
    reason = "the expansion of cube functions: arguments beside their comptime twins, operations on cells of arrays"
)]

mod attention;
pub mod calibration;
mod elementwise;
mod head;
mod matmul;
mod norm;
mod operand;
mod packed;
mod rows;
mod unpack;

use burn::backend::ops::FloatTensorOps;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use self::{
    operand::Along,
    packed::{LowRank, Weight},
};
use super::{Heads, KernelOps, composed};
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
        let weight = Weight {
            words,
            scales,
            kind,
            cols,
        };
        packed::product(x, weight, Along::K, None)
    }

    fn packed_linear_low_rank(
        x: CubeTensor,
        words: CubeTensor,
        scales: CubeTensor,
        kind: PackedKind,
        u: CubeTensor,
        b: CubeTensor,
        scaling: f64,
    ) -> CubeTensor {
        let cols = x.meta.shape()[1];
        let weight = Weight {
            words,
            scales,
            kind,
            cols,
        };
        if packed::fuses(&weight, &u) {
            let addend = LowRank {
                low: u,
                adapter: b,
                scaling: scaling as f32,
            };
            return packed::product(x, weight, Along::K, Some(addend));
        }
        let base = packed::product(x, weight, Along::K, None);
        composed::add_low_rank::<Self>(base, u, composed::transpose::<Self>(b), scaling)
    }

    fn packed_linear_backward(
        dy: CubeTensor,
        words: CubeTensor,
        scales: CubeTensor,
        kind: PackedKind,
        cols: usize,
    ) -> CubeTensor {
        let weight = Weight {
            words,
            scales,
            kind,
            cols,
        };
        packed::product(dy, weight, Along::Edges, None)
    }

    fn packed_linear_backward_low_rank(
        dy: CubeTensor,
        words: CubeTensor,
        scales: CubeTensor,
        kind: PackedKind,
        cols: usize,
        u: CubeTensor,
        a: CubeTensor,
        scaling: f64,
    ) -> CubeTensor {
        let weight = Weight {
            words,
            scales,
            kind,
            cols,
        };
        if packed::fuses(&weight, &u) {
            let addend = LowRank {
                low: u,
                adapter: a,
                scaling: scaling as f32,
            };
            return packed::product(dy, weight, Along::Edges, Some(addend));
        }
        let base = packed::product(dy, weight, Along::Edges, None);
        composed::add_low_rank::<Self>(base, u, a, scaling)
    }

    fn rms_norm(x: CubeTensor, weight: CubeTensor, eps: f64) -> CubeTensor {
        if !norm::fits(&x) {
            return composed::rms_norm::<Self>(x, weight, eps);
        }
        norm::rms_norm(x, weight, eps)
    }

    fn add_rms_norm(
        x: CubeTensor,
        delta: CubeTensor,
        weight: CubeTensor,
        eps: f64,
    ) -> (CubeTensor, CubeTensor) {
        if !norm::fits(&x) {
            let sum = Self::float_add(x, delta);
            return (sum.clone(), composed::rms_norm::<Self>(sum, weight, eps));
        }
        norm::add_rms_norm(x, delta, weight, eps)
    }

    fn rms_norm_backward(
        dy: CubeTensor,
        x: CubeTensor,
        weight: CubeTensor,
        eps: f64,
        residual: CubeTensor,
    ) -> CubeTensor {
        if !norm::fits(&x) {
            return Self::float_add(
                residual,
                composed::rms_norm_backward::<Self>(dy, x, weight, eps),
            );
        }
        norm::rms_norm_backward(dy, x, weight, eps, residual)
    }

    fn rope(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, inverse: bool) -> CubeTensor {
        if !elementwise::rope_fits(&x, &cos) {
            return composed::rope::<Self>(x, cos, sin, inverse);
        }
        elementwise::rope(x, cos, sin, inverse)
    }

    fn attention(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        heads: Heads,
    ) -> (CubeTensor, CubeTensor) {
        if !attention::fits(heads) {
            return composed::attention::<Self>(q, k, v, heads);
        }
        attention::forward(q, k, v, heads)
    }

    fn attention_backward(
        d_output: CubeTensor,
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        output: CubeTensor,
        log_sums: CubeTensor,
        heads: Heads,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        if !attention::fits(heads) {
            let operands = [q, k, v];
            return composed::attention_backward::<Self>(
                d_output, operands, output, log_sums, heads,
            );
        }
        attention::backward(d_output, [q, k, v], output, log_sums, heads)
    }

    fn swiglu(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        if !elementwise::fits(&gate) {
            return Self::float_mul(composed::silu::<Self>(gate), up);
        }
        elementwise::swiglu(gate, up)
    }

    fn swiglu_backward(
        dy: CubeTensor,
        gate: CubeTensor,
        up: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        if !elementwise::fits(&gate) {
            return composed::swiglu_backward::<Self>(dy, gate, up);
        }
        elementwise::swiglu_backward(dy, gate, up)
    }

    fn head_chunk(
        hidden: CubeTensor,
        words: CubeTensor,
        scales: CubeTensor,
        kind: PackedKind,
        maximum: CubeTensor,
        sum: CubeTensor,
        weighted: CubeTensor,
        with_gradient: bool,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let cols = hidden.meta.shape()[1];
        let weight = Weight {
            words,
            scales,
            kind,
            cols,
        };
        let logits = packed::product(hidden, weight.clone(), Along::K, None);
        if !norm::fits(&logits) || !cols.is_multiple_of(4) {
            let sums = composed::HeadSums {
                maximum,
                sum,
                weighted,
            };
            let (sums, exponentials) = composed::add_logits::<Self>(sums, logits);
            if !with_gradient {
                return (sums.maximum, sums.sum, sums.weighted);
            }
            let added = packed::product(exponentials, weight, Along::Edges, None);
            return (
                sums.maximum,
                sums.sum,
                Self::float_add(sums.weighted, added),
            );
        }
        let known = head::exponentials(logits, maximum, sum);
        if !with_gradient {
            return (known.maximum, known.sum, weighted);
        }
        let added = packed::product(known.values, weight, Along::Edges, None);
        let weighted = head::rescale_add(weighted, known.rescale, added);
        (known.maximum, known.sum, weighted)
    }
}
