//! A frozen weight matrix on the device, in its stored quantization.

use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{
    kernels::{LowRank, PackedTensor},
    weights::packed::PackedMatrix,
};

/// `W` `[rows, cols]` (output features, input features), never trained. It stays packed; the kernels that use it unpack
/// it.
#[derive(Debug, Clone)]
pub struct FrozenMatrix {
    packed: PackedTensor,
    rows: usize,
}

impl FrozenMatrix {
    /// Moves a matrix to the device.
    pub fn from_packed(matrix: PackedMatrix, device: &Device) -> Self {
        let PackedMatrix {
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
        let packed = PackedTensor {
            words: bits_tensor(words, rows, device),
            scales,
            kind,
            cols,
        };
        Self { packed, rows }
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.packed.cols
    }

    /// The device memory used by the matrix.
    pub fn num_bytes(&self) -> u64 {
        let PackedTensor { words, scales, .. } = &self.packed;
        (words.shape().num_elements() + scales.shape().num_elements()) as u64 * 4
    }

    /// `x W^T`, plus a low-rank product: `[n, cols] -> [n, rows]`
    pub fn forward(&self, x: Tensor<2>, low_rank: Option<LowRank>) -> Tensor<2> {
        self.packed.linear(x, low_rank)
    }

    /// `dy W`, plus a low-rank product: `[n, rows] -> [n, cols]`, the gradient of the input.
    pub fn backward(&self, dy: Tensor<2>, low_rank: Option<LowRank>) -> Tensor<2> {
        self.packed.linear_backward(dy, low_rank)
    }

    /// The matrix in f32, `[rows, cols]`.
    pub fn dense(&self) -> Tensor<2> {
        self.packed.dense()
    }

    /// Some rows, still packed.
    pub fn slice_rows(&self, rows: Range<usize>) -> PackedTensor {
        self.map_rows(|words| words.slice_dim(0, rows.clone()))
    }

    /// The rows with these numbers in f32: `[indices, cols]`.
    pub fn select_rows(&self, indices: &[u32], device: &Device) -> Tensor<2> {
        let ids: Vec<i32> = indices.iter().map(|&id| id as i32).collect();
        let ids = Tensor::<1, Int>::from_data(
            TensorData::new(ids, [indices.len()]),
            (device, DType::I32),
        );
        self.map_rows(|words| words.select(0, ids.clone())).dense()
    }

    fn map_rows(&self, choose: impl Fn(Tensor<2, Int>) -> Tensor<2, Int>) -> PackedTensor {
        let PackedTensor {
            words,
            scales,
            kind,
            cols,
        } = &self.packed;
        PackedTensor {
            words: choose(words.clone()),
            scales: if kind.has_scales() {
                choose(scales.clone())
            } else {
                scales.clone()
            },
            kind: *kind,
            cols: *cols,
        }
    }
}

/// Stores words as the bits of an i32 tensor `[rows, words / rows]`.
fn bits_tensor(words: Vec<u32>, rows: usize, device: &Device) -> Tensor<2, Int> {
    let columns = words.len() / rows;
    let words: Vec<i32> = bytemuck::cast_vec(words);
    Tensor::from_data(
        TensorData::new(words, [rows, columns]),
        (device, DType::I32),
    )
}

#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests {
    use super::*;
    use crate::testing::{Array, KINDS, Random};

    #[test]
    fn rows_are_sliced_and_selected_while_packed() {
        let mut random = Random::new();
        for kind in KINDS {
            let (rows, cols) = (random.size(2..30), 32 * random.size(1..4));
            // Float kinds have no blocks, so their rows may end anywhere.
            let cols = if kind.has_scales() { cols } else { cols - 1 };
            let (packed, weights) = random.packed(kind, rows, cols);
            let matrix = FrozenMatrix::from_packed(packed, &Device::flex());
            assert_eq!((matrix.rows(), matrix.cols()), (rows, cols));
            weights.assert_close("whole", matrix.dense(), 1e-6);

            let start = random.size(0..rows);
            let end = random.size(start + 1..rows + 1);
            let expected =
                Array::from_fn([end - start, cols], |i| weights.values[start * cols + i]);
            let slice = matrix.slice_rows(start..end);
            expected.assert_close("slice", slice.dense(), 1e-6);
            let n = random.size(1..9);
            let x = random.array([n, cols]);
            let product = x.matmul(&expected.transposed());
            product.assert_close("product with a slice", slice.linear(x.tensor(), None), 1e-5);

            let indices: Vec<u32> = (0..7).map(|_| random.size(0..rows) as u32).collect();
            let expected = Array::from_fn([7, cols], |i| {
                weights.at(indices[i / cols] as usize, i % cols)
            });
            let selected = matrix.select_rows(&indices, &Device::flex());
            expected.assert_close("selected", selected, 1e-6);
        }
    }

    #[test]
    fn packed_bytes_are_counted() {
        let mut random = Random::new();
        // For 64 weights: 4 or 8 bits each and 4 bytes per block; halves and an unused scale; floats.
        let bytes = [40, 40, 72, 72, 72, 132, 132, 260];
        for (kind, bytes) in KINDS.into_iter().zip(bytes) {
            let (packed, _) = random.packed(kind, 2, 32);
            let matrix = FrozenMatrix::from_packed(packed, &Device::flex());
            assert_eq!(matrix.num_bytes(), bytes, "{kind:?}");
        }
    }
}
