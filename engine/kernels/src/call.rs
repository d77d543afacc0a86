//! The operations as functions of Burn's tensors.

use std::ops::Range;

use burn::{
    backend::Dispatch,
    tensor::{DType, Device, FloatDType, Int, Tensor, TensorData},
};

use super::{
    Activation, Heads, KernelOps, Visibility,
    operand::{Addend, QuantizedOperand, RunningSums},
};
use crate::quantized::{QuantizedMatrix, WeightKind};

/// A frozen matrix `W` `[rows, cols]` (output features, input features) on the device, in its stored quantization. It
/// stays quantized; the kernels that use it unpack it.
#[derive(Debug, Clone)]
pub struct FrozenMatrix {
    /// The bits of `u32`s, `[rows, words]`.
    words: Tensor<2, Int>,
    /// The bits of `u32`s, `[rows, cols / 32]`; anything for the float kinds.
    scales: Tensor<2, Int>,
    kind: WeightKind,
    cols: usize,
}

/// The low-rank addend `scaling u V` of a product, with `u` `[n, r]`.
pub struct LowRank {
    pub u: Tensor<2>,
    /// `B` `[rows, r]` in a forward, `A` `[r, cols]` in a backward.
    pub v: Tensor<2>,
    pub scaling: f64,
}

impl FrozenMatrix {
    /// Moves a matrix to the device.
    pub fn from_quantized(matrix: QuantizedMatrix, device: &Device) -> Self {
        let QuantizedMatrix {
            kind,
            rows,
            cols,
            words,
            scales,
        } = matrix;
        // Float kinds have no scales; the kernels still take a tensor there.
        let scales = if kind.has_scales() {
            bits_tensor(scales, rows, device)
        } else {
            bits_tensor(vec![0], 1, device)
        };
        Self {
            words: bits_tensor(words, rows, device),
            scales,
            kind,
            cols,
        }
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.words.shape()[0]
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The device memory used by the matrix.
    pub fn num_bytes(&self) -> u64 {
        (self.words.shape().num_elements() + self.scales.shape().num_elements()) as u64 * 4
    }

    /// Some rows, still quantized.
    pub fn slice_rows(&self, rows: Range<usize>) -> Self {
        self.map_rows(|words| words.slice_dim(0, rows.clone()))
    }

    /// The rows with these numbers in f32: `[indices, cols]`.
    pub fn select_rows(&self, indices: &[u32], device: &Device) -> Tensor<2> {
        let ids: Vec<i32> = indices.iter().map(|&id| id as i32).collect();
        let ids = TensorData::new(ids, [indices.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, (device, DType::I32));
        self.map_rows(|words| words.select(0, ids.clone())).dense()
    }

    fn map_rows(&self, choose: impl Fn(Tensor<2, Int>) -> Tensor<2, Int>) -> Self {
        let scales = self.scales.clone();
        Self {
            words: choose(self.words.clone()),
            scales: if self.kind.has_scales() {
                choose(scales)
            } else {
                scales
            },
            ..*self
        }
    }

    /// The matrix as operations take it.
    fn operand(&self) -> QuantizedOperand<Dispatch> {
        QuantizedOperand {
            words: self.words.clone().into_dispatch(),
            scales: self.scales.clone().into_dispatch(),
            kind: self.kind,
            cols: self.cols,
        }
    }

    /// In f32, `[rows, cols]`.
    pub fn dense(&self) -> Tensor<2> {
        self.unpack(false)
    }

    /// In f32, `[rows, cols]`, or `[cols, rows]` where `transposed`.
    pub fn unpack(&self, transposed: bool) -> Tensor<2> {
        let dense = <Dispatch as KernelOps>::unpack(self.operand(), transposed);
        Tensor::from_dispatch(dense)
    }

    /// `x W^T`, plus `scaling u B^T` if a low-rank addend is given: `[n, cols] -> [n, rows]`.
    pub fn forward(&self, x: Tensor<2>, low_rank: Option<LowRank>) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as KernelOps>::quantized_linear(
            x.into_dispatch(),
            self.operand(),
            addend(low_rank),
        ))
    }

    /// `dy W`, plus `scaling u A` if a low-rank addend is given: `[n, rows] -> [n, cols]`, the gradient of the input.
    pub fn backward(&self, dy: Tensor<2>, low_rank: Option<LowRank>) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as KernelOps>::quantized_linear_backward(
            dy.into_dispatch(),
            self.operand(),
            addend(low_rank),
        ))
    }
}

fn addend(low_rank: Option<LowRank>) -> Addend<Dispatch> {
    match low_rank {
        Some(LowRank { u, v, scaling }) => Addend::LowRank {
            u: u.into_dispatch(),
            v: v.into_dispatch(),
            scaling,
        },
        None => Addend::Nothing,
    }
}

/// Stores words as the bits of an i32 tensor `[rows, words / rows]`.
fn bits_tensor(words: Vec<u32>, rows: usize, device: &Device) -> Tensor<2, Int> {
    let columns = words.len() / rows;
    let words: Vec<i32> = words.into_iter().map(u32::cast_signed).collect();
    Tensor::from_data(
        TensorData::new(words, [rows, columns]),
        (device, DType::I32),
    )
}

/// `[m, k] x [k, n] -> [m, n]`, or a batch of such products. Either side may be a transposed view.
pub fn matmul<const D: usize>(lhs: Tensor<D>, rhs: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::matmul(
        lhs.into_dispatch(),
        rhs.into_dispatch(),
    ))
}

/// See [`KernelOps::rms_norm`].
pub fn rms_norm(x: Tensor<2>, weight: &Tensor<2>, eps: f64, dtype: FloatDType) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::rms_norm(
        x.into_dispatch(),
        weight.clone().into_dispatch(),
        eps,
        dtype,
    ))
}

/// See [`KernelOps::add_residual`].
pub fn add_residual(x: Tensor<2>, delta: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::add_residual(
        x.into_dispatch(),
        delta.into_dispatch(),
    ))
}

/// See [`KernelOps::add_rms_norm`].
pub fn add_rms_norm(
    x: Tensor<2>,
    delta: Tensor<2>,
    weight: &Tensor<2>,
    eps: f64,
) -> (Tensor<2>, Tensor<2>) {
    let (sum, normed) = <Dispatch as KernelOps>::add_rms_norm(
        x.into_dispatch(),
        delta.into_dispatch(),
        weight.clone().into_dispatch(),
        eps,
    );
    (Tensor::from_dispatch(sum), Tensor::from_dispatch(normed))
}

/// See [`KernelOps::rms_norm_backward`].
pub fn rms_norm_backward(
    dy: Tensor<2>,
    x: Tensor<2>,
    weight: &Tensor<2>,
    eps: f64,
    residual: Tensor<2>,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::rms_norm_backward(
        dy.into_dispatch(),
        x.into_dispatch(),
        weight.clone().into_dispatch(),
        eps,
        residual.into_dispatch(),
    ))
}

/// See [`KernelOps::rope`].
pub fn rope(x: Tensor<2>, cos: &Tensor<2>, sin: &Tensor<2>, inverse: bool) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::rope(
        x.into_dispatch(),
        cos.clone().into_dispatch(),
        sin.clone().into_dispatch(),
        inverse,
    ))
}

/// See [`KernelOps::attention`].
pub fn attention(
    [q, k, v]: [Tensor<2>; 3],
    visibility: &Visibility,
    heads: Heads,
) -> (Tensor<2>, Tensor<2>) {
    let (output, log_sums) = <Dispatch as KernelOps>::attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        visibility.sight(),
        heads,
    );
    (
        Tensor::from_dispatch(output),
        Tensor::from_dispatch(log_sums),
    )
}

/// Gradients of `q`, `k` and `v`; see [`KernelOps::attention_backward`].
pub fn attention_backward(
    d_output: Tensor<2>,
    [q, k, v]: [Tensor<2>; 3],
    output: Tensor<2>,
    log_sums: Tensor<2>,
    visibility: &Visibility,
    heads: Heads,
) -> [Tensor<2>; 3] {
    let (q, k, v) = <Dispatch as KernelOps>::attention_backward(
        d_output.into_dispatch(),
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        output.into_dispatch(),
        log_sums.into_dispatch(),
        visibility.sight(),
        heads,
    );
    [q, k, v].map(Tensor::from_dispatch)
}

/// See [`KernelOps::gated`].
pub fn gated(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::gated(
        gate.into_dispatch(),
        up.into_dispatch(),
        activation,
    ))
}

/// Gradients of `gate` and `up`; see [`KernelOps::gated_backward`].
pub fn gated_backward(
    dy: Tensor<2>,
    gate: Tensor<2>,
    up: Tensor<2>,
    activation: Activation,
) -> [Tensor<2>; 2] {
    let (gate, up) = <Dispatch as KernelOps>::gated_backward(
        dy.into_dispatch(),
        gate.into_dispatch(),
        up.into_dispatch(),
        activation,
    );
    [gate, up].map(Tensor::from_dispatch)
}

/// The running sums of the softmax over the vocabulary after some chunks of the head.
pub struct HeadSums {
    /// The largest logit, `[s, 1]`.
    pub maximum: Tensor<2>,
    /// Sum of `exp(logit - maximum)`, `[s, 1]`.
    pub sum: Tensor<2>,
    /// Sum of `exp(logit - maximum) W_v`, `[s, d]`, or `[s, 1]` of zeros if no gradient is wanted.
    pub weighted: Tensor<2>,
    with_gradient: bool,
}

impl HeadSums {
    /// The sums before the first chunk; `hidden_size` is `d`.
    pub fn new(
        num_scored: usize,
        hidden_size: usize,
        with_gradient: bool,
        device: &Device,
    ) -> Self {
        // Below any logit, yet finite: the first rescaling is by exp(-huge) = 0.
        let lowest = TensorData::new(vec![-1e30f32; num_scored], [num_scored, 1]);
        let width = if with_gradient { hidden_size } else { 1 };
        Self {
            maximum: Tensor::from_data(lowest, device),
            sum: Tensor::zeros([num_scored, 1], device),
            weighted: Tensor::zeros([num_scored, width], device),
            with_gradient,
        }
    }

    /// Adds a chunk `[c, d]` of the head's rows; `hidden` is `[s, d]`.
    pub fn add(self, hidden: &Tensor<2>, rows: &FrozenMatrix) -> Self {
        let sums = RunningSums {
            maximum: self.maximum.into_dispatch(),
            sum: self.sum.into_dispatch(),
            weighted: self.weighted.into_dispatch(),
        };
        let RunningSums {
            maximum,
            sum,
            weighted,
        } = <Dispatch as KernelOps>::head_chunk(
            hidden.clone().into_dispatch(),
            rows.operand(),
            sums,
            self.with_gradient,
        );
        Self {
            maximum: Tensor::from_dispatch(maximum),
            sum: Tensor::from_dispatch(sum),
            weighted: Tensor::from_dispatch(weighted),
            with_gradient: self.with_gradient,
        }
    }
}
