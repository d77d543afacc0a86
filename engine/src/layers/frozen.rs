//! A frozen weight matrix on the device, packed as it came.

use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{
    kernels,
    weights::packed::{PackedKind, PackedMatrix},
};

/// `W` `[rows, cols]` (output features, input features), never trained. Quantised kinds and half floats stay packed
/// and are unpacked for the moment in which they are used.
#[derive(Debug, Clone)]
pub struct FrozenMatrix {
    storage: Storage,
    rows: usize,
    cols: usize,
}

#[derive(Debug, Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "a model has a few hundred of them"
)]
enum Storage {
    Dense(Tensor<2>),
    Packed {
        words: Tensor<2, Int>,
        scales: Tensor<2, Int>,
        kind: PackedKind,
    },
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
        let storage = if kind == PackedKind::F32 {
            let weights: Vec<f32> = bytemuck::cast_vec(words);
            Storage::Dense(Tensor::from_data(
                TensorData::new(weights, [rows, cols]),
                device,
            ))
        } else {
            // Float kinds have no scales; the kernels still take a tensor there.
            let scales = if kind.has_scales() {
                bits_tensor(scales, rows, device)
            } else {
                bits_tensor(vec![0], 1, device)
            };
            Storage::Packed {
                words: bits_tensor(words, rows, device),
                scales,
                kind,
            }
        };
        Self {
            storage,
            rows,
            cols,
        }
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// What the matrix holds of the device's memory.
    pub fn num_bytes(&self) -> u64 {
        let elements = match &self.storage {
            Storage::Dense(_) => self.rows * self.cols,
            Storage::Packed { words, scales, .. } => {
                words.shape().num_elements() + scales.shape().num_elements()
            }
        };
        elements as u64 * 4
    }

    /// `x W^T`: `[n, cols] -> [n, rows]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.storage {
            Storage::Dense(weight) => kernels::matmul(x, weight.clone().transpose()),
            Storage::Packed {
                words,
                scales,
                kind,
            } => kernels::packed_linear(x, words.clone(), scales.clone(), *kind),
        }
    }

    /// `dy W`: `[n, rows] -> [n, cols]`, the gradient of the input.
    pub fn backward(&self, dy: Tensor<2>) -> Tensor<2> {
        kernels::matmul(dy, self.dense())
    }

    /// The matrix in f32, `[rows, cols]`.
    pub fn dense(&self) -> Tensor<2> {
        match &self.storage {
            Storage::Dense(weight) => weight.clone(),
            Storage::Packed {
                words,
                scales,
                kind,
            } => kernels::unpack(words.clone(), scales.clone(), *kind, self.cols, false),
        }
    }

    /// Some rows, still packed.
    pub fn slice_rows(&self, rows: Range<usize>) -> Self {
        let num_rows = rows.len();
        self.map_rows(
            num_rows,
            |words| words.slice_dim(0, rows.clone()),
            |weight| weight.slice_dim(0, rows.clone()),
        )
    }

    /// The rows of these numbers in f32: `[indices, cols]`.
    pub fn select_rows(&self, indices: &[u32], device: &Device) -> Tensor<2> {
        let ids: Vec<i32> = indices.iter().map(|&id| id as i32).collect();
        let ids = Tensor::<1, Int>::from_data(
            TensorData::new(ids, [indices.len()]),
            (device, DType::I32),
        );
        self.map_rows(
            indices.len(),
            |words| words.select(0, ids.clone()),
            |weight| weight.select(0, ids.clone()),
        )
        .dense()
    }

    fn map_rows(
        &self,
        rows: usize,
        packed: impl Fn(Tensor<2, Int>) -> Tensor<2, Int>,
        dense: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Self {
        let storage = match &self.storage {
            Storage::Dense(weight) => Storage::Dense(dense(weight.clone())),
            Storage::Packed {
                words,
                scales,
                kind,
            } => Storage::Packed {
                words: packed(words.clone()),
                scales: if kind.has_scales() {
                    packed(scales.clone())
                } else {
                    scales.clone()
                },
                kind: *kind,
            },
        };
        Self {
            storage,
            rows,
            cols: self.cols,
        }
    }
}

/// Words as the bits of an i32 tensor `[rows, words / rows]`.
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
            // Float kinds have no blocks, so that their rows may end anywhere.
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
            product.assert_close("product with a slice", slice.forward(x.tensor()), 1e-5);

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
        // Of 64 weights: 4 or 8 bits each and 4 bytes a block; halves and an unused scale; floats.
        let bytes = [40, 40, 72, 72, 72, 132, 132, 256];
        for (kind, bytes) in KINDS.into_iter().zip(bytes) {
            let (packed, _) = random.packed(kind, 2, 32);
            let matrix = FrozenMatrix::from_packed(packed, &Device::flex());
            assert_eq!(matrix.num_bytes(), bytes, "{kind:?}");
        }
    }
}
