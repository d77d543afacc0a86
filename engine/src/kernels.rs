//! The operations that a training step spends its time in, once for each backend.
//!
//! [`KernelOps`] is the seam: `cpu` implements it on Burn's Flex backend (the `gemm` crate, plain loops), `gpu` with
//! CubeCL kernels of our own. Everything above this module is written once, in Burn's tensors.

use burn::{
    backend::{
        Backend, Dispatch, backend_extension,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{Int, Tensor},
};

use crate::weights::packed::PackedKind;

#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;

/// Backend operations behind [`matmul`] and [`unpack`].
#[backend_extension(Cube: cfg(feature = "gpu"), Flex: cfg(feature = "cpu"))]
pub trait KernelOps: Backend {
    /// `[batch, m, k] x [batch, k, n] -> [batch, m, n]`
    fn batched_matmul(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Words `[rows, words]` and scales `[rows, cols / 32]` of a packed matrix to f32 `[rows, cols]`, or to
    /// `[cols, rows]` where `transposed`.
    fn unpack(
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        kind: PackedKind,
        cols: usize,
        transposed: bool,
    ) -> FloatTensor<Self>;

    /// `x W^T` for `x` `[n, cols]` and a packed `W` `[rows, cols]`: `[n, rows]`.
    fn packed_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        kind: PackedKind,
    ) -> FloatTensor<Self>;
}

/// `[batch, m, k] x [batch, k, n] -> [batch, m, n]` in f32. Either side may be a transposed view.
pub fn batched_matmul(lhs: Tensor<3>, rhs: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::batched_matmul(
        lhs.into_dispatch(),
        rhs.into_dispatch(),
    ))
}

/// `[m, k] x [k, n] -> [m, n]` in f32. Either side may be a transposed view.
pub fn matmul(lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
    let [m, _] = lhs.dims();
    let [_, n] = rhs.dims();
    batched_matmul(lhs.unsqueeze(), rhs.unsqueeze()).reshape([m, n])
}

/// Unpacks a matrix; see [`KernelOps::unpack`]. `words` and `scales` hold the bits of `u32`s as `i32`s; float kinds
/// have no scales and pass any tensor there.
pub fn unpack(
    words: Tensor<2, Int>,
    scales: Tensor<2, Int>,
    kind: PackedKind,
    cols: usize,
    transposed: bool,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::unpack(
        words.into_dispatch(),
        scales.into_dispatch(),
        kind,
        cols,
        transposed,
    ))
}

/// `x W^T` for `x` `[n, cols]` and a packed `W` `[rows, cols]`; see [`unpack`] for the operands.
pub fn packed_linear(
    x: Tensor<2>,
    words: Tensor<2, Int>,
    scales: Tensor<2, Int>,
    kind: PackedKind,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelOps>::packed_linear(
        x.into_dispatch(),
        words.into_dispatch(),
        scales.into_dispatch(),
        kind,
    ))
}

#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests;
