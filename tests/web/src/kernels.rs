//! Our kernels against sums in f64, at shapes and values drawn anew in every run.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use engine::{
    kernels::{batched_matmul, matmul, packed_linear, unpack},
    weights::packed::{PackedKind, PackedMatrix},
};
use half::f16;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

use crate::{
    device::{device, random, tensor, values},
    reference::{Array, KINDS, Random},
};

const TOLERANCE: f64 = 1e-5;

#[wasm_bindgen_test]
async fn batched_products_read_transposed_views() {
    let device = device().await;
    let mut random = random();
    let mut largest = 0.0f64;
    // Rows on either side of every row count that a thread of the GPU's kernel holds; columns with and without vectors.
    for rows in [1..2, 2..5, 5..9, 9..80] {
        for vector in [1, 4] {
            let [b, m] = [1..4, rows.clone()].map(|range| random.size(range));
            let [k, n] = [random.size(1..90), vector * random.size(1..40)];
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
            for lhs in [stacked(&lhs, &device), stacked_transposed(&lhs, &device)] {
                for rhs in [stacked(&rhs, &device), stacked_transposed(&rhs, &device)] {
                    let actual = values(batched_matmul(lhs.clone(), rhs)).await;
                    let error = expected.assert_values_close("product", &actual, TOLERANCE);
                    largest = largest.max(error);
                }
            }
        }
    }
    console_log!("batched products within {largest:.1e}");
}

#[wasm_bindgen_test]
async fn products_read_slices() {
    let device = device().await;
    let mut random = random();
    let [m, k, n] = [3..60, 2..90, 1..60].map(|range| random.size(range));
    let (lhs, rhs) = (random.array([m, k]), random.array([k, n]));
    let inner = Array::from_fn([m - 2, k - 1], |index| {
        lhs.at(1 + index / (k - 1), 1 + index % (k - 1))
    });
    let low = Array::from_fn([k - 1, n], |index| rhs.at(1 + index / n, index % n));
    let lhs = tensor(&lhs, &device).slice([1..m - 1, 1..k]);
    let rhs = tensor(&rhs, &device).slice([1..k, 0..n]);
    let actual = values(matmul(lhs, rhs)).await;
    let expected = inner.matmul(&low);
    expected.assert_values_close("product of slices", &actual, TOLERANCE);
}

#[wasm_bindgen_test]
async fn every_kind_is_unpacked() {
    let device = device().await;
    let mut random = random();
    for kind in KINDS {
        let (rows, cols) = (random.size(1..40), random_cols(&mut random, kind));
        let (matrix, weights) = random.packed(kind, rows, cols);
        check_unpacked(matrix, &weights, 1e-6, &device).await;
    }
}

/// The least f16s are subnormal, which a GPU may take for zero if they are not taken care of.
#[wasm_bindgen_test]
async fn subnormal_scales_are_kept() {
    let device = device().await;
    let mut random = random();
    let draw = |random: &mut Random| {
        let sign = (random.size(0..2) as u16) << 15;
        f16::from_bits(sign | random.size(1..0x400) as u16)
    };
    for kind in KINDS.into_iter().filter(|kind| kind.has_scales()) {
        let (rows, cols) = (random.size(1..40), random_cols(&mut random, kind));
        let (matrix, weights) =
            random.packed_with(kind, rows, cols, |random| (draw(random), draw(random)));
        let tolerance = 1e-6 * weights.largest();
        assert!(tolerance > 0.0 && tolerance < 1e-7);
        check_unpacked(matrix, &weights, tolerance, &device).await;
    }
}

/// Every finite f16 and every normal bf16, to the last bit.
#[wasm_bindgen_test]
async fn every_half_is_unpacked_exactly() {
    let device = device().await;
    let every = |is_taken: fn(u16) -> bool| {
        let taken = move |bits| if is_taken(bits) { bits } else { 0 };
        (0..=u16::MAX).map(taken).collect::<Vec<u16>>()
    };
    let f16s = every(|bits| f16::from_bits(bits).is_finite());
    let bf16s = every(|bits| half::bf16::from_bits(bits).is_normal());
    let f16_value: fn(u16) -> f64 = |bits| f16::from_bits(bits).to_f64();
    let bf16_value: fn(u16) -> f64 = |bits| half::bf16::from_bits(bits).to_f64();
    for (kind, halves, value) in [
        (PackedKind::F16, f16s, f16_value),
        (PackedKind::Bf16, bf16s, bf16_value),
    ] {
        let (rows, cols) = (128, halves.len() / 128);
        let pair = |pair: &[u16]| u32::from(pair[0]) | (u32::from(pair[1]) << 16);
        let matrix = PackedMatrix {
            kind,
            rows,
            cols,
            words: halves.chunks(2).map(pair).collect(),
            scales: Vec::new(),
        };
        let weights = Array::from_fn([rows, cols], |index| value(halves[index]));
        check_unpacked(matrix, &weights, 0.0, &device).await;
    }
}

async fn check_unpacked(matrix: PackedMatrix, weights: &Array<2>, tolerance: f64, device: &Device) {
    let (kind, cols) = (matrix.kind, matrix.cols);
    let [words, scales] = operands(matrix, device);
    for transposed in [false, true] {
        let actual = unpack(words.clone(), scales.clone(), kind, cols, transposed);
        let expected = if transposed {
            weights.transposed()
        } else {
            weights.clone()
        };
        assert_eq!(actual.dims(), expected.shape);
        let what = format!("{kind:?}, transposed: {transposed}");
        expected.assert_values_within(&what, &values(actual).await, tolerance);
    }
}

#[wasm_bindgen_test]
async fn packed_products_equal_dense_ones_for_few_and_many_rows() {
    let device = device().await;
    let mut random = random();
    let mut largest = 0.0f64;
    for kind in KINDS {
        for n in 1..=9 {
            let (rows, cols) = (random.size(1..40), random_cols(&mut random, kind));
            let (matrix, weights) = random.packed(kind, rows, cols);
            let [words, scales] = operands(matrix, &device);
            let x = random.array([n, cols]);
            let expected = x.matmul(&weights.transposed());
            let view = tensor(&x.transposed(), &device).transpose();
            for x in [tensor(&x, &device), view] {
                let product = packed_linear(x, words.clone(), scales.clone(), kind);
                let what = format!("{kind:?}, {n} rows");
                let actual = values(product).await;
                largest = largest.max(expected.assert_values_close(&what, &actual, TOLERANCE));
            }
        }
    }
    console_log!("packed products within {largest:.1e}");
}

/// Quantised kinds have whole blocks.
fn random_cols(random: &mut Random, kind: PackedKind) -> usize {
    if kind.has_scales() {
        32 * random.size(1..5)
    } else {
        random.size(1..150)
    }
}

fn stacked(matrices: &[Array<2>], device: &Device) -> Tensor<3> {
    let matrices = matrices.iter().map(|matrix| tensor(matrix, device));
    Tensor::stack(matrices.collect(), 0)
}

/// The same matrices, as a transposed view.
fn stacked_transposed(matrices: &[Array<2>], device: &Device) -> Tensor<3> {
    let transposed: Vec<_> = matrices.iter().map(Array::transposed).collect();
    stacked(&transposed, device).swap_dims(1, 2)
}

/// Words and scales as the kernels take them.
fn operands(matrix: PackedMatrix, device: &Device) -> [Tensor<2, Int>; 2] {
    let rows = matrix.rows;
    let scales = if matrix.scales.is_empty() {
        vec![0; rows]
    } else {
        matrix.scales
    };
    [matrix.words, scales].map(|bits| {
        let cols = bits.len() / rows;
        let bits: Vec<i32> = bytemuck::cast_vec(bits);
        Tensor::from_data(TensorData::new(bits, [rows, cols]), (device, DType::I32))
    })
}
