//! Compares the kernels with sums in f64, at fresh random shapes in every run.

use burn::tensor::{Device, Tensor};

use super::{FrozenMatrix, LowRank, matmul};
use crate::{
    quantized::{QuantizedMatrix, WeightKind},
    testing::{Array, KINDS, Random},
};

mod attention;
mod element;

const TOLERANCE: f64 = 1e-5;

#[test]
fn matmuls_read_transposed_views() {
    let mut random = Random::new();
    for _ in 0..20 {
        let [b, m, k, n] = [1..4, 1..40, 1..70, 1..40].map(|range| random.size(range));
        let lhs: Vec<Array<2>> = (0..b).map(|_| random.array([m, k])).collect();
        let rhs: Vec<Array<2>> = (0..b).map(|_| random.array([k, n])).collect();
        let expected = Array::products(&lhs, &rhs);
        for lhs in [stacked(&lhs), stacked_transposed(&lhs)] {
            for rhs in [stacked(&rhs), stacked_transposed(&rhs)] {
                let actual = matmul(lhs.clone(), rhs.clone());
                expected.assert_close("batched product", actual, TOLERANCE);
            }
        }
        let expected = lhs[0].matmul(&rhs[0]);
        for lhs in [lhs[0].tensor(), lhs[0].transposed().tensor().transpose()] {
            for rhs in [rhs[0].tensor(), rhs[0].transposed().tensor().transpose()] {
                expected.assert_close("product", matmul(lhs.clone(), rhs.clone()), TOLERANCE);
            }
        }
    }
}

#[test]
fn matmuls_read_slices() {
    let mut random = Random::new();
    let [m, k, n] = [3..9, 2..30, 1..9].map(|range| random.size(range));
    let (lhs, rhs) = (random.array([m, k]), random.array([k, n]));
    let wide = Array::from_fn([m - 2, k - 1], |index| {
        lhs.at(1 + index / (k - 1), 1 + index % (k - 1))
    });
    let low = Array::from_fn([k - 1, n], |index| rhs.at(1 + index / n, index % n));
    let lhs = lhs.tensor().slice([1..m - 1, 1..k]);
    let rhs = rhs.tensor().slice([1..k, 0..n]);
    wide.matmul(&low)
        .assert_close("product of slices", matmul(lhs, rhs), TOLERANCE);
}

#[test]
fn products_cross_every_block_of_the_loops() {
    let mut random = Random::new();
    // Deeper than a panel, wider than a piece, longer than a block of rows.
    for _ in 0..3 {
        let [m, k, n] = [61..140, 513..1100, 33..90].map(|range| random.size(range));
        let (lhs, rhs) = (random.array([m, k]), random.array([k, n]));
        let expected = lhs.matmul(&rhs);
        let what = format!("{m}x{k}x{n}");
        expected.assert_close(&what, matmul(lhs.tensor(), rhs.tensor()), TOLERANCE);
        let lhs = lhs.transposed().tensor().transpose();
        let rhs = rhs.transposed().tensor().transpose();
        expected.assert_close(&what, matmul(lhs, rhs), TOLERANCE);
    }
}

/// Rows and columns that a kind allows, from one block or word to beyond a panel.
fn packed_shape(random: &mut Random, kind: WeightKind) -> [usize; 2] {
    let rows = random.size(1..70);
    let cols = match (kind.has_scales(), random.size(0..4)) {
        (true, 0) => 32 * random.size(17..20),
        (true, _) => 32 * random.size(1..5),
        (false, 0) => random.size(513..600),
        (false, _) => random.size(1..70),
    };
    [rows, cols]
}

#[test]
fn every_kind_is_unpacked() {
    let mut random = Random::new();
    for kind in KINDS {
        let [rows, cols] = packed_shape(&mut random, kind);
        let (matrix, weights) = random.quantized(kind, rows, cols);
        let quantized = on_device(matrix);
        for transposed in [false, true] {
            let actual = quantized.unpack(transposed);
            let expected = if transposed {
                weights.transposed()
            } else {
                weights.clone()
            };
            expected.assert_close(&format!("{kind:?}, transposed: {transposed}"), actual, 1e-6);
        }
    }
}

#[test]
fn quantized_products_equal_dense_ones_for_few_and_many_rows() {
    let mut random = Random::new();
    for kind in KINDS {
        for n in [1, 2, 4, 5, 6, 7, 12, random.size(13..80)] {
            let [rows, cols] = packed_shape(&mut random, kind);
            let (matrix, weights) = random.quantized(kind, rows, cols);
            let quantized = on_device(matrix);
            let (x, dy) = (random.array([n, cols]), random.array([n, rows]));
            let what = format!("{kind:?}, {n} rows by {rows}x{cols}");
            let expected = x.matmul(&weights.transposed());
            expected.assert_close(&what, quantized.forward(x.tensor(), None), TOLERANCE);
            let view = x.transposed().tensor().transpose();
            expected.assert_close(&what, quantized.forward(view, None), TOLERANCE);
            let expected = dy.matmul(&weights);
            let what = format!("{what}, backward");
            expected.assert_close(&what, quantized.backward(dy.tensor(), None), TOLERANCE);
            let view = dy.transposed().tensor().transpose();
            expected.assert_close(&what, quantized.backward(view, None), TOLERANCE);
        }
    }
}

#[test]
fn a_low_rank_product_is_added_to_a_quantized_one() {
    let mut random = Random::new();
    for kind in KINDS {
        let [rows, cols] = packed_shape(&mut random, kind);
        let [n, r] = [1..40, 1..20].map(|range| random.size(range));
        let (matrix, weights) = random.quantized(kind, rows, cols);
        let quantized = on_device(matrix);
        let scaling = f64::from(random.unit());
        let (x, dy, u) = (
            random.array([n, cols]),
            random.array([n, rows]),
            random.array([n, r]),
        );
        let (a, b) = (random.array([r, cols]), random.array([rows, r]));
        let low_rank = |v: &Array<2>| LowRank {
            u: u.tensor(),
            v: v.tensor(),
            scaling,
        };
        let sum = |base: Array<2>, update: Array<2>| {
            let update = update.times(scaling);
            Array::from_fn(base.shape, |i| base.values[i] + update.values[i])
        };
        let expected = sum(x.matmul(&weights.transposed()), u.matmul(&b.transposed()));
        let actual = quantized.forward(x.tensor(), Some(low_rank(&b)));
        expected.assert_close(&format!("{kind:?}"), actual, TOLERANCE);
        let expected = sum(dy.matmul(&weights), u.matmul(&a));
        let actual = quantized.backward(dy.tensor(), Some(low_rank(&a)));
        expected.assert_close(&format!("{kind:?}, backward"), actual, TOLERANCE);
    }
}

#[test]
fn rows_are_sliced_and_selected_while_packed() {
    let mut random = Random::new();
    for kind in KINDS {
        let (rows, cols) = (random.size(2..30), 32 * random.size(1..4));
        // Float kinds have no blocks, so their rows may end anywhere.
        let cols = if kind.has_scales() { cols } else { cols - 1 };
        let (quantized, weights) = random.quantized(kind, rows, cols);
        let matrix = on_device(quantized);
        assert_eq!((matrix.rows(), matrix.cols()), (rows, cols));
        weights.assert_close("whole", matrix.dense(), 1e-6);

        let start = random.size(0..rows);
        let end = random.size(start + 1..rows + 1);
        let expected = Array::from_fn([end - start, cols], |i| weights.values[start * cols + i]);
        let slice = matrix.slice_rows(start..end);
        expected.assert_close("slice", slice.dense(), 1e-6);
        let n = random.size(1..9);
        let x = random.array([n, cols]);
        let product = x.matmul(&expected.transposed());
        product.assert_close(
            "product with a slice",
            slice.forward(x.tensor(), None),
            1e-5,
        );

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
        let (quantized, _) = random.quantized(kind, 2, 32);
        let matrix = on_device(quantized);
        assert_eq!(matrix.num_bytes(), bytes, "{kind:?}");
    }
}

fn stacked(matrices: &[Array<2>]) -> Tensor<3> {
    Tensor::stack(matrices.iter().map(Array::tensor).collect(), 0)
}

/// The same matrices as a transposed view.
fn stacked_transposed(matrices: &[Array<2>]) -> Tensor<3> {
    let transposed: Vec<_> = matrices.iter().map(Array::transposed).collect();
    stacked(&transposed).swap_dims(1, 2)
}

/// A matrix as the kernels take it.
fn on_device(matrix: QuantizedMatrix) -> FrozenMatrix {
    FrozenMatrix::from_quantized(matrix, &Device::flex())
}
