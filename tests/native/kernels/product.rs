//! Products of dense matrices.

use burn::tensor::{Device, Tensor};
use engine::kernels::matmul;
use protocol::Precision;

use super::{Numbers, TOLERANCE, size, tensor, values, variants};
use crate::{
    device::{device, random, say},
    reference::Array,
};

/// Adapters and their factors are single, whatever the other side is.
const SINGLE: Numbers = Numbers(Precision::Single);

pub async fn products_read_transposed_views(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    let mut largest = 0.0f64;
    for variant in variants() {
        // Rows and columns on either side of every tile; with and without vectors.
        for (rows, columns) in [(1..5, 1..17), (5..9, 17..80), (9..90, 1..80)] {
            for by_four in [true, false] {
                let b = random.size(1..4);
                let [m, k, n] = [rows.clone(), 1..90, columns.clone()]
                    .map(|range| size(&mut random, range, by_four));
                let lhs: Vec<Array<2>> =
                    (0..b).map(|_| numbers.array(&mut random, [m, k])).collect();
                let rhs: Vec<Array<2>> = (0..b).map(|_| random.array([k, n])).collect();
                let expected = Array::products(&lhs, &rhs);
                for lhs in [
                    stacked(numbers, &lhs, &device),
                    stacked_transposed(numbers, &lhs, &device),
                ] {
                    for rhs in [
                        stacked(SINGLE, &rhs, &device),
                        stacked_transposed(SINGLE, &rhs, &device),
                    ] {
                        let what = format!("{variant}: {b} x {m}x{k}x{n}");
                        let actual = values(matmul(lhs.clone(), rhs)).await;
                        let error = expected.assert_values_close(&what, &actual, TOLERANCE);
                        largest = largest.max(error);
                    }
                }
                let expected = lhs[0].matmul(&rhs[0]);
                for lhs in views(numbers, &lhs[0], &device) {
                    for rhs in views(SINGLE, &rhs[0], &device) {
                        let what = format!("{variant}: {m}x{k}x{n}");
                        let actual = values(matmul(lhs.clone(), rhs)).await;
                        let error = expected.assert_values_close(&what, &actual, TOLERANCE);
                        largest = largest.max(error);
                    }
                }
            }
        }
    }
    say(&format!("products within {largest:.1e}"));
}

pub async fn rows_that_vectors_cannot_cut_are_multiplied(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    for variant in variants() {
        // Any number of rows goes with the fast kernels as long as they lie along the sum.
        let m = random.size(1..40);
        let [k, n] = [1..60, 1..60].map(|range| size(&mut random, range, true));
        let lhs = numbers.array(&mut random, [m, k]);
        let rhs = numbers.array(&mut random, [k, n]);
        let expected = lhs.matmul(&rhs);
        let lhs = numbers.tensor(&lhs, &device);
        let actual = matmul(lhs, numbers.tensor(&rhs, &device));
        expected.assert_values_close(&variant, &values(actual).await, TOLERANCE);
    }
}

pub async fn products_read_slices(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    for variant in variants() {
        for by_four in [true, false] {
            let [m, k, n] = [8..60, 8..90, 8..60].map(|range| size(&mut random, range, by_four));
            let lhs = numbers.array(&mut random, [m, k]);
            let rhs = numbers.array(&mut random, [k, n]);
            let inner = Array::from_fn([m - 2, k - 4], |index| {
                lhs.at(1 + index / (k - 4), 4 + index % (k - 4))
            });
            let low = Array::from_fn([k - 4, n], |index| rhs.at(4 + index / n, index % n));
            let lhs = tensor(&lhs, &device).slice([1..m - 1, 4..k]);
            let rhs = numbers.tensor(&rhs, &device).slice([4..k, 0..n]);
            let actual = values(matmul(lhs, rhs)).await;
            let expected = inner.matmul(&low);
            expected.assert_values_close(&variant, &actual, TOLERANCE);
        }
    }
}

/// A matrix, and the same matrix as a transposed view.
fn views(numbers: Numbers, matrix: &Array<2>, device: &Device) -> [Tensor<2>; 2] {
    let transposed = numbers.tensor(&matrix.transposed(), device);
    [numbers.tensor(matrix, device), transposed.transpose()]
}

fn stacked(numbers: Numbers, matrices: &[Array<2>], device: &Device) -> Tensor<3> {
    let matrices = matrices.iter().map(|matrix| numbers.tensor(matrix, device));
    Tensor::stack(matrices.collect(), 0)
}

/// The same matrices, as a transposed view.
fn stacked_transposed(numbers: Numbers, matrices: &[Array<2>], device: &Device) -> Tensor<3> {
    let transposed: Vec<_> = matrices.iter().map(Array::transposed).collect();
    stacked(numbers, &transposed, device).swap_dims(1, 2)
}
