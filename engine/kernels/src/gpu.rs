//! The operations as CubeCL kernels, compiled to WGSL in the browser.
//!
//! Burn's default matmul without autotune reaches a tenth of the speed of a register-blocked kernel on the GPUs we
//! measured, and its autotune tries candidates that Chromium rejects; hence our own kernels. Each exists in two
//! variants, for software GPUs and for real ones: [`calibration`] picks one at the start. Shapes that no kernel
//! supports (sizes not divisible by four) go to the compositions of [`super::composed`], in f32.
//!
//! Activations are f32 or f16, as their tensors say, and kernels are generic over the two: they load into f32, compute
//! in it, and store the type that came in. Only the product through workgroup memory multiplies halves as such.

#![allow(
    clippy::too_many_arguments,
    reason = "a kernel takes tensors and sizes one by one"
)]
#![allow(
    clippy::assign_op_pattern,
    clippy::duplicate_underscore_argument,
    reason = "the expansion of cube functions: arguments next to their comptime twins, operations on cells of arrays"
)]

mod attention;
pub mod calibration;
mod elementwise;
mod head;
mod matmul;
mod norm;
mod operand;
mod quantized;
mod rows;
mod unpack;

use burn::{
    backend::ops::FloatTensorOps,
    tensor::{DType, FloatDType},
};
use burn_cubecl::{CubeBackend, kernel::cast, tensor::CubeTensor};

use self::operand::Along;
use super::{
    Activation, Heads, KernelOps, composed,
    operand::{Addend, QuantizedOperand, RunningSums, Sight},
};

impl KernelOps for CubeBackend {
    fn matmul(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
        matmul::matmul(lhs, rhs)
    }

    fn unpack(weight: QuantizedOperand<Self>, transposed: bool) -> CubeTensor {
        unpack::unpack(weight, transposed)
    }

    fn quantized_linear(
        x: CubeTensor,
        weight: QuantizedOperand<Self>,
        addend: Addend<Self>,
    ) -> CubeTensor {
        quantized::product(x, weight, Along::K, addend)
    }

    fn quantized_linear_backward(
        dy: CubeTensor,
        weight: QuantizedOperand<Self>,
        addend: Addend<Self>,
    ) -> CubeTensor {
        quantized::product(dy, weight, Along::Edges, addend)
    }

    fn rms_norm(x: CubeTensor, weight: CubeTensor, eps: f64, dtype: FloatDType) -> CubeTensor {
        if !norm::fits(&x) {
            return composed::rms_norm::<Self>(x, weight, eps, dtype);
        }
        norm::rms_norm(x, weight, eps, dtype.into())
    }

    fn add_residual(x: CubeTensor, delta: CubeTensor) -> CubeTensor {
        if delta.dtype == x.dtype || !elementwise::fits(&x) {
            return Self::float_add(x, single(delta));
        }
        elementwise::add(x, delta)
    }

    fn add_rms_norm(
        x: CubeTensor,
        delta: CubeTensor,
        weight: CubeTensor,
        eps: f64,
    ) -> (CubeTensor, CubeTensor) {
        if !norm::fits(&x) {
            let dtype = delta.dtype;
            let sum = Self::float_add(x, single(delta));
            let normed = composed::rms_norm::<Self>(sum.clone(), weight, eps, FloatDType::F32);
            return (sum, cast(normed, dtype));
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
            let dx = composed::rms_norm_backward::<Self>(single(dy), x, weight, eps);
            return Self::float_add(residual, dx);
        }
        norm::rms_norm_backward(dy, x, weight, eps, residual)
    }

    fn rope(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, inverse: bool) -> CubeTensor {
        if !elementwise::rope_fits(&x, &cos) {
            let dtype = x.dtype;
            return cast(composed::rope::<Self>(single(x), cos, sin, inverse), dtype);
        }
        elementwise::rope(x, cos, sin, inverse)
    }

    fn attention(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        sight: Sight<Self>,
        heads: Heads,
    ) -> (CubeTensor, CubeTensor) {
        if !attention::fits(heads) {
            let dtype = q.dtype;
            let [q, k, v] = [q, k, v].map(single);
            let (output, log_sums) = composed::attention::<Self>(q, k, v, sight, heads);
            return (cast(output, dtype), log_sums);
        }
        attention::forward(q, k, v, sight, heads)
    }

    fn attention_backward(
        d_output: CubeTensor,
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        output: CubeTensor,
        log_sums: CubeTensor,
        sight: Sight<Self>,
        heads: Heads,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        if !attention::fits(heads) {
            let dtype = d_output.dtype;
            let [d_output, output] = [d_output, output].map(single);
            let operands = [q, k, v].map(single);
            let (d_q, d_k, d_v) = composed::attention_backward::<Self>(
                d_output, operands, output, log_sums, sight, heads,
            );
            let [d_q, d_k, d_v] = [d_q, d_k, d_v].map(|gradient| cast(gradient, dtype));
            return (d_q, d_k, d_v);
        }
        attention::backward(d_output, [q, k, v], output, log_sums, sight, heads)
    }

    fn gated(gate: CubeTensor, up: CubeTensor, activation: Activation) -> CubeTensor {
        if !elementwise::fits(&gate) {
            let dtype = gate.dtype;
            let [gate, up] = [gate, up].map(single);
            return cast(composed::gated::<Self>(gate, up, activation), dtype);
        }
        elementwise::gated(gate, up, activation)
    }

    fn gated_backward(
        dy: CubeTensor,
        gate: CubeTensor,
        up: CubeTensor,
        activation: Activation,
    ) -> (CubeTensor, CubeTensor) {
        if !elementwise::fits(&gate) {
            let dtype = gate.dtype;
            let [dy, gate, up] = [dy, gate, up].map(single);
            let (d_gate, d_up) = composed::gated_backward::<Self>(dy, gate, up, activation);
            return (cast(d_gate, dtype), cast(d_up, dtype));
        }
        elementwise::gated_backward(dy, gate, up, activation)
    }

    fn head_chunk(
        hidden: CubeTensor,
        rows: QuantizedOperand<Self>,
        sums: RunningSums<Self>,
        with_gradient: bool,
    ) -> RunningSums<Self> {
        let is_whole = rows.shape().iter().all(|size| size.is_multiple_of(4));
        if hidden.meta.shape()[0] == 0 || !is_whole {
            return composed::head_chunk::<Self>(hidden, rows, sums, with_gradient);
        }
        let logits = quantized::product(hidden, rows.clone(), Along::K, Addend::Nothing);
        let known = head::exponentials(logits, sums.maximum, sums.sum);
        let weighted = if with_gradient {
            let added = quantized::product(known.values, rows, Along::Edges, Addend::Nothing);
            head::rescale_add(sums.weighted, known.rescale, added)
        } else {
            sums.weighted
        };
        RunningSums {
            maximum: known.maximum,
            sum: known.sum,
            weighted,
        }
    }
}

/// In f32, as the compositions take it.
fn single(x: CubeTensor) -> CubeTensor {
    cast(x, DType::F32)
}
