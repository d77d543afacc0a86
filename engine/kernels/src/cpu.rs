//! The operations on Burn's CPU backend: our SIMD loops on its tensors' memory, on all threads if the build has
//! threads.

mod attention;
mod decode;
mod gemm;
mod gemv;
mod head;
mod matrix;
mod panel;
pub mod parallel;
mod row;
mod simd;

use burn::tensor::{Element, FloatDType, Shape, TensorData};
use burn_flex::{Flex, FlexTensor};

use super::{
    Activation, Heads, KernelOps,
    operand::{Addend, QuantizedOperand, RunningSums, Sight},
};
use attention::Sequences;
use gemm::{Into, gemm};
use matrix::{Quantized, Strided};
use panel::Right;

impl KernelOps for Flex {
    fn matmul(lhs: FlexTensor, rhs: FlexTensor) -> FlexTensor {
        if lhs.layout().num_dims() == 2 {
            let ([m, _], [_, n]) = (dims(&lhs), dims(&rhs));
            let out = gemm::matmul(strided(&lhs), Right::Dense(strided(&rhs)));
            return tensor(out, [m, n]);
        }
        let ([batch, m, k], [_, _, n]) = (dims(&lhs), dims(&rhs));
        let mut out = vec![0.0f32; batch * m * n];
        for (index, out) in out.chunks_exact_mut((m * n).max(1)).enumerate() {
            let lhs = matrix_of_batch(&lhs, index, [m, k]);
            let rhs = matrix_of_batch(&rhs, index, [k, n]);
            gemm(lhs, Right::Dense(rhs), out, Into::Replace);
        }
        tensor(out, [batch, m, n])
    }

    fn unpack(weight: QuantizedOperand<Self>, transposed: bool) -> FlexTensor {
        let weight = in_place(weight);
        let quantized = quantized(&weight);
        let mut weights = vec![0.0f32; quantized.rows * quantized.cols];
        row::for_each_row(&mut weights, quantized.cols, |row, out| {
            let (words, scales) = (quantized.words_of(row), quantized.scales_of(row));
            crate::quantized::unpack_row(quantized.kind, words, scales, out);
        });
        let dense = tensor(weights, [quantized.rows, quantized.cols]);
        if transposed {
            dense.transpose(0, 1)
        } else {
            dense
        }
    }

    fn quantized_linear(
        x: FlexTensor,
        weight: QuantizedOperand<Self>,
        addend: Addend<Self>,
    ) -> FlexTensor {
        let [n, cols] = dims(&x);
        let (x, weight) = (contiguous(x), in_place(weight));
        let quantized = quantized(&weight);
        let x = Strided::contiguous(floats(&x), n, cols);
        let mut out = if n <= gemv::MAX_ROWS {
            let mut out = vec![0.0; n * quantized.rows];
            gemv::gemv(x, quantized, &mut out);
            out
        } else {
            gemm::matmul(x, Right::quantized_transposed(quantized))
        };
        if let Addend::LowRank { u, v, scaling } = addend {
            add_low_rank(&mut out, &u, strided(&v).transposed(), scaling);
        }
        tensor(out, [n, quantized.rows])
    }

    fn quantized_linear_backward(
        dy: FlexTensor,
        weight: QuantizedOperand<Self>,
        addend: Addend<Self>,
    ) -> FlexTensor {
        let ([n, _], [_, cols]) = (dims(&dy), weight.shape());
        let weight = in_place(weight);
        let mut out = gemm::matmul(strided(&dy), Right::quantized(quantized(&weight)));
        if let Addend::LowRank { u, v, scaling } = addend {
            add_low_rank(&mut out, &u, strided(&v), scaling);
        }
        tensor(out, [n, cols])
    }

    fn rms_norm(x: FlexTensor, weight: FlexTensor, eps: f64, _dtype: FloatDType) -> FlexTensor {
        let [n, d] = dims(&x);
        let (x, weight) = (contiguous(x), contiguous(weight));
        let mut out = vec![0.0f32; n * d];
        let (x, weight) = (floats(&x), floats(&weight));
        row::for_each_row(&mut out, d, |row, out| {
            row::rms_norm(&x[row * d..][..d], weight, eps as f32, out);
        });
        tensor(out, [n, d])
    }

    fn rms_norm_backward(
        dy: FlexTensor,
        x: FlexTensor,
        weight: FlexTensor,
        eps: f64,
        residual: FlexTensor,
    ) -> FlexTensor {
        let [n, d] = dims(&x);
        let (dy, x, weight) = (contiguous(dy), contiguous(x), contiguous(weight));
        let mut out = into_floats(residual);
        let (dy, x, weight) = (floats(&dy), floats(&x), floats(&weight));
        row::for_each_row(&mut out, d, |row, out| {
            let range = row * d..(row + 1) * d;
            let (dy, x) = (&dy[range.clone()], &x[range]);
            row::rms_norm_backward(dy, x, weight, eps as f32, out);
        });
        tensor(out, [n, d])
    }

    fn rope(x: FlexTensor, cos: FlexTensor, sin: FlexTensor, inverse: bool) -> FlexTensor {
        let ([n, width], [t, half]) = (dims(&x), dims(&cos));
        let (cos, sin) = (contiguous(cos), contiguous(sin));
        let (cos, sin) = (floats(&cos), floats(&sin));
        let mut out = into_floats(x);
        row::for_each_row(&mut out, width, |row, out| {
            let position = row % t * half..(row % t + 1) * half;
            row::rope(out, &cos[position.clone()], &sin[position], inverse);
        });
        tensor(out, [n, width])
    }

    fn attention(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        sight: Sight<Self>,
        heads: Heads,
    ) -> (FlexTensor, FlexTensor) {
        let [n, width] = dims(&q);
        let [q, k, v] = [q, k, v].map(contiguous);
        let sequences = sequences(sight, heads);
        let (output, log_sums) = attention::forward(floats(&q), floats(&k), floats(&v), &sequences);
        (
            tensor(output, [n, width]),
            tensor(log_sums, [n, heads.query_heads]),
        )
    }

    fn attention_backward(
        d_output: FlexTensor,
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        output: FlexTensor,
        log_sums: FlexTensor,
        sight: Sight<Self>,
        heads: Heads,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (query_shape, key_shape) = (dims::<2>(&q), dims::<2>(&k));
        let tensors = [d_output, q, k, v, output, log_sums].map(contiguous);
        let [d_output, q, k, v, output, log_sums] = tensors.each_ref().map(floats);
        let operands = attention::Operands {
            d_output,
            q,
            k,
            v,
            output,
            log_sums,
        };
        let [d_q, d_k, d_v] = attention::backward(operands, &sequences(sight, heads));
        (
            tensor(d_q, query_shape),
            tensor(d_k, key_shape),
            tensor(d_v, key_shape),
        )
    }

    fn gated(gate: FlexTensor, up: FlexTensor, activation: Activation) -> FlexTensor {
        let [n, f] = dims(&gate);
        let up = contiguous(up);
        let (mut out, up) = (into_floats(gate), floats(&up));
        row::for_each_row(&mut out, f, |row, gate| {
            row::gated(gate, &up[row * f..][..f], activation);
        });
        tensor(out, [n, f])
    }

    fn gated_backward(
        dy: FlexTensor,
        gate: FlexTensor,
        up: FlexTensor,
        activation: Activation,
    ) -> (FlexTensor, FlexTensor) {
        let [n, f] = dims(&gate);
        let up = contiguous(up);
        let (mut d_up, mut d_gate, up) = (into_floats(dy), into_floats(gate), floats(&up));
        let shared = parallel::Shared::new(&mut d_gate);
        row::for_each_row(&mut d_up, f, |row, dy| {
            let range = row * f..(row + 1) * f;
            // SAFETY: every row is handed out once.
            let gate = unsafe { shared.part(range.clone()) };
            row::gated_backward(dy, gate, &up[range], activation);
        });
        (tensor(d_gate, [n, f]), tensor(d_up, [n, f]))
    }

    fn head_chunk(
        hidden: FlexTensor,
        rows: QuantizedOperand<Self>,
        sums: RunningSums<Self>,
        with_gradient: bool,
    ) -> RunningSums<Self> {
        let ([s, d], [_, width]) = (dims(&hidden), dims(&sums.weighted));
        let (hidden, rows) = (contiguous(hidden), in_place(rows));
        let mut sums = head::Sums {
            maximum: into_floats(sums.maximum),
            sum: into_floats(sums.sum),
            weighted: into_floats(sums.weighted),
        };
        let hidden = Strided::contiguous(floats(&hidden), s, d);
        sums.add(hidden, quantized(&rows), with_gradient);
        RunningSums {
            maximum: tensor(sums.maximum, [s, 1]),
            sum: tensor(sums.sum, [s, 1]),
            weighted: tensor(sums.weighted, [s, width]),
        }
    }
}

/// The sequences that attention does not cross.
fn sequences(sight: Sight<Flex>, heads: Heads) -> Sequences {
    let (table, window) = sight.limits();
    match table {
        Some(table) => Sequences::segments(heads, window, contiguous_slice(&contiguous(table))),
        None => Sequences::rows(heads, window),
    }
}

/// `out += scaling u v`
fn add_low_rank(out: &mut [f32], u: &FlexTensor, v: Strided<'_>, scaling: f64) {
    let factor = scaling as f32;
    gemm(strided(u), Right::Dense(v), out, Into::Add { factor });
}

fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    std::array::from_fn(|dim| tensor.layout().shape()[dim])
}

/// A quantized matrix whose words and scales are contiguous.
fn in_place(weight: QuantizedOperand<Flex>) -> QuantizedOperand<Flex> {
    QuantizedOperand {
        words: contiguous(weight.words),
        scales: contiguous(weight.scales),
        ..weight
    }
}

/// A quantized matrix, borrowed from contiguous tensors.
fn quantized(weight: &QuantizedOperand<Flex>) -> Quantized<'_> {
    let bits = |tensor| bytemuck::cast_slice(contiguous_slice::<i32>(tensor));
    let (words, scales) = (bits(&weight.words), bits(&weight.scales));
    Quantized::new(weight.kind, words, scales, weight.shape())
}

/// A matrix in place, with its strides.
fn strided(tensor: &FlexTensor) -> Strided<'_> {
    let [rows, cols] = dims(tensor);
    view(tensor, 0, [rows, cols], 0)
}

/// One matrix of a batch, in place.
fn matrix_of_batch(tensor: &FlexTensor, index: usize, shape: [usize; 2]) -> Strided<'_> {
    view(tensor, index, shape, 1)
}

fn view(tensor: &FlexTensor, index: usize, shape: [usize; 2], first_dim: usize) -> Strided<'_> {
    let strides = tensor.layout().strides();
    // Only flipped tensors have negative strides, and we have none.
    let stride = |dim: usize| strides[dim].unsigned_abs();
    let batch_stride = if first_dim == 0 { 0 } else { stride(0) };
    let start = tensor.layout().start_offset() + index * batch_stride;
    Strided::new(
        &tensor.storage::<f32>()[start..],
        shape,
        [stride(first_dim), stride(first_dim + 1)],
    )
}

/// The tensor itself if its elements are contiguous, from any offset, otherwise a copy. (Burn's own function also
/// copies parts of larger tensors: all of the head's rows, in every step.)
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.layout().is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of a contiguous tensor of floats.
fn floats(tensor: &FlexTensor) -> &[f32] {
    contiguous_slice(tensor)
}

/// The elements of a contiguous tensor, wherever its layout begins.
fn contiguous_slice<E: Element + bytemuck::Pod>(tensor: &FlexTensor) -> &[E] {
    let start = tensor.layout().start_offset();
    &tensor.storage::<E>()[start..start + tensor.layout().num_elements()]
}

/// A tensor's elements as a vector: its own memory if nobody else holds it, otherwise a copy.
fn into_floats(tensor: FlexTensor) -> Vec<f32> {
    let tensor = tensor.to_contiguous();
    if tensor.is_unique() {
        // All our tensors are f32; another type would be a bug, caught by the next length check.
        tensor.into_data().try_into_vec().unwrap_or_default()
    } else {
        floats(&tensor).to_vec()
    }
}

/// A tensor of these elements.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, Shape::from(shape)))
}
