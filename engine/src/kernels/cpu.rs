//! The operations on Burn's CPU backend.

use burn::{
    backend::ops::FloatTensorOps,
    tensor::{Element, TensorData},
};
use burn_flex::{Flex, FlexTensor};

use super::KernelOps;
use crate::weights::packed::{PackedKind, unpack_row};

impl KernelOps for Flex {
    /// The `gemm` crate reads strided operands as they are, so a transposed view costs nothing.
    fn batched_matmul(lhs: FlexTensor, rhs: FlexTensor) -> FlexTensor {
        Flex::float_matmul(lhs, rhs)
    }

    fn unpack(
        words: FlexTensor,
        scales: FlexTensor,
        kind: PackedKind,
        cols: usize,
        transposed: bool,
    ) -> FlexTensor {
        let (words, scales) = (words.to_contiguous(), scales.to_contiguous());
        let packed = PackedRows::new(&words, &scales, kind);
        let rows = packed.num_rows;
        let mut weights = vec![0.0f32; rows * cols];
        for (row, out) in weights.chunks_exact_mut(cols).enumerate() {
            packed.unpack_row(row, out);
        }
        let dense = FlexTensor::from_data(TensorData::new(weights, [rows, cols]));
        if transposed {
            dense.transpose(0, 1)
        } else {
            dense
        }
    }

    /// A few rows (generation) are multiplied row by row of `W` as it is unpacked, so that the dense matrix never
    /// leaves the cache; many rows pay for unpacking once.
    fn packed_linear(
        x: FlexTensor,
        words: FlexTensor,
        scales: FlexTensor,
        kind: PackedKind,
    ) -> FlexTensor {
        let [num_rows, cols] = [x.layout().shape()[0], x.layout().shape()[1]];
        if num_rows > MAX_STREAMED_ROWS {
            return Flex::float_matmul(x, Self::unpack(words, scales, kind, cols, true));
        }
        let (x, words, scales) = (
            x.to_contiguous(),
            words.to_contiguous(),
            scales.to_contiguous(),
        );
        let x = contiguous_slice::<f32>(&x);
        let packed = PackedRows::new(&words, &scales, kind);
        let mut out = vec![0.0f32; num_rows * packed.num_rows];
        let mut weights = vec![0.0f32; cols];
        for row in 0..packed.num_rows {
            packed.unpack_row(row, &mut weights);
            for (index, x) in x.chunks_exact(cols).enumerate() {
                out[index * packed.num_rows + row] = dot(x, &weights);
            }
        }
        FlexTensor::from_data(TensorData::new(out, [num_rows, packed.num_rows]))
    }
}

/// Above this many rows a dense matrix and a matmul are faster.
const MAX_STREAMED_ROWS: usize = 4;

/// A packed matrix's rows, borrowed from contiguous tensors.
struct PackedRows<'a> {
    kind: PackedKind,
    words: &'a [u32],
    scales: &'a [u32],
    num_rows: usize,
    row_words: usize,
    row_scales: usize,
}

impl<'a> PackedRows<'a> {
    fn new(words: &'a FlexTensor, scales: &'a FlexTensor, kind: PackedKind) -> Self {
        Self {
            kind,
            words: bytemuck::cast_slice(contiguous_slice::<i32>(words)),
            scales: bytemuck::cast_slice(contiguous_slice::<i32>(scales)),
            num_rows: words.layout().shape()[0],
            row_words: words.layout().shape()[1],
            row_scales: if kind.has_scales() {
                scales.layout().shape()[1]
            } else {
                0
            },
        }
    }

    fn unpack_row(&self, row: usize, out: &mut [f32]) {
        let words = &self.words[row * self.row_words..][..self.row_words];
        let scales = &self.scales[row * self.row_scales..][..self.row_scales];
        unpack_row(self.kind, words, scales, out);
    }
}

/// Eight running sums, so that the compiler keeps them in vector registers.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0f32; LANES];
    let (x_chunks, y_chunks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let tail: f32 = x_chunks
        .remainder()
        .iter()
        .zip(y_chunks.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in x_chunks.zip(y_chunks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// The elements of a contiguous tensor, wherever its layout begins.
fn contiguous_slice<E: Element + bytemuck::Pod>(tensor: &FlexTensor) -> &[E] {
    let start = tensor.layout().start_offset();
    &tensor.storage::<E>()[start..start + tensor.layout().num_elements()]
}
