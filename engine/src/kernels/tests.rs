//! The kernels against sums in f64, at shapes drawn anew in every run.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::{batched_matmul, matmul, packed_linear, unpack};
use crate::{
    testing::{Array, KINDS, Random},
    weights::packed::PackedMatrix,
};

const TOLERANCE: f64 = 1e-5;

#[test]
fn matmuls_read_transposed_views() {
    let mut random = Random::new();
    for _ in 0..20 {
        let [b, m, k, n] = [1..4, 1..40, 1..70, 1..40].map(|range| random.size(range));
        let lhs: Vec<Array<2>> = (0..b).map(|_| random.array([m, k])).collect();
        let rhs: Vec<Array<2>> = (0..b).map(|_| random.array([k, n])).collect();
        let products = lhs
            .iter()
            .zip(&rhs)
            .flat_map(|(lhs, rhs)| lhs.matmul(rhs).values);
        let expected = Array {
            shape: [b, m, n],
            values: products.collect(),
        };
        for lhs in [stacked(&lhs), stacked_transposed(&lhs)] {
            for rhs in [stacked(&rhs), stacked_transposed(&rhs)] {
                let actual = batched_matmul(lhs.clone(), rhs.clone());
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
fn every_kind_is_unpacked() {
    let mut random = Random::new();
    for kind in KINDS {
        let rows = random.size(1..20);
        let cols = if kind.has_scales() {
            32 * random.size(1..5)
        } else {
            random.size(1..70)
        };
        let (matrix, weights) = random.packed(kind, rows, cols);
        let [words, scales] = operands(matrix);
        for transposed in [false, true] {
            let actual = unpack(words.clone(), scales.clone(), kind, cols, transposed);
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
fn packed_products_equal_dense_ones_for_few_and_many_rows() {
    let mut random = Random::new();
    for kind in KINDS {
        for n in 1..=9 {
            let rows = random.size(1..40);
            let cols = if kind.has_scales() {
                32 * random.size(1..5)
            } else {
                random.size(1..70)
            };
            let (matrix, weights) = random.packed(kind, rows, cols);
            let [words, scales] = operands(matrix);
            let x = random.array([n, cols]);
            let expected = x.matmul(&weights.transposed());
            let what = format!("{kind:?}, {n} rows");
            let actual = packed_linear(x.tensor(), words.clone(), scales.clone(), kind);
            expected.assert_close(&what, actual, TOLERANCE);
            let view = x.transposed().tensor().transpose();
            expected.assert_close(&what, packed_linear(view, words, scales, kind), TOLERANCE);
        }
    }
}

fn stacked(matrices: &[Array<2>]) -> Tensor<3> {
    Tensor::stack(matrices.iter().map(Array::tensor).collect(), 0)
}

/// The same matrices, as a transposed view.
fn stacked_transposed(matrices: &[Array<2>]) -> Tensor<3> {
    let transposed: Vec<_> = matrices.iter().map(Array::transposed).collect();
    stacked(&transposed).swap_dims(1, 2)
}

/// Words and scales as the kernels take them.
fn operands(matrix: PackedMatrix) -> [Tensor<2, Int>; 2] {
    let PackedMatrix {
        rows,
        words,
        scales,
        ..
    } = matrix;
    let scales = if scales.is_empty() {
        vec![0; rows]
    } else {
        scales
    };
    [words, scales].map(|bits| {
        let cols = bits.len() / rows;
        let bits: Vec<i32> = bytemuck::cast_vec(bits);
        Tensor::from_data(
            TensorData::new(bits, [rows, cols]),
            (&Device::flex(), DType::I32),
        )
    })
}
