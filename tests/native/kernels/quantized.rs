//! Quantized weights: unpacked, multiplied, and multiplied with a low-rank addend.

use burn::tensor::Device;
use engine::{
    kernels::LowRank,
    weights::quantized::{QuantizedMatrix, WeightKind},
};
use half::f16;

use super::{
    Numbers, TOLERANCE, on_device, packed_shape, quantized_variants, size, tensor, values,
};
use crate::{
    device::{device, random, say},
    reference::{Array, KINDS, Random},
};

pub async fn every_kind_is_unpacked(_: Numbers) {
    let device = device().await;
    let mut random = random();
    for kind in KINDS {
        let [rows, cols] = packed_shape(&mut random, kind, false);
        let (matrix, weights) = random.quantized(kind, rows, cols);
        check_unpacked(matrix, &weights, 1e-6, &device).await;
    }
}

/// The smallest f16s are subnormal, which a GPU may flush to zero unless they are handled.
pub async fn subnormal_scales_are_kept(_: Numbers) {
    let device = device().await;
    let mut random = random();
    let draw = |random: &mut Random| {
        let sign = (random.size(0..2) as u16) << 15;
        f16::from_bits(sign | random.size(1..0x400) as u16)
    };
    for kind in KINDS.into_iter().filter(|kind| kind.has_scales()) {
        let [rows, cols] = packed_shape(&mut random, kind, false);
        let (matrix, weights) =
            random.packed_with(kind, rows, cols, |random| (draw(random), draw(random)));
        let tolerance = 1e-6 * weights.largest();
        assert!(tolerance > 0.0 && tolerance < 1e-7);
        check_unpacked(matrix, &weights, tolerance, &device).await;
    }
}

/// Every finite f16 and every normal bf16, to the last bit.
pub async fn every_half_is_unpacked_exactly(_: Numbers) {
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
        (WeightKind::F16, f16s, f16_value),
        (WeightKind::Bf16, bf16s, bf16_value),
    ] {
        let (rows, cols) = (128, halves.len() / 128);
        let pair = |pair: &[u16]| u32::from(pair[0]) | (u32::from(pair[1]) << 16);
        let matrix = QuantizedMatrix {
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

async fn check_unpacked(
    matrix: QuantizedMatrix,
    weights: &Array<2>,
    tolerance: f64,
    device: &Device,
) {
    let quantized = on_device(&matrix, device);
    for transposed in [false, true] {
        let actual = quantized.unpack(transposed);
        let expected = if transposed {
            weights.transposed()
        } else {
            weights.clone()
        };
        assert_eq!(actual.dims(), expected.shape);
        let what = format!("{:?}, transposed: {transposed}", matrix.kind);
        expected.assert_values_within(&what, &values(actual).await, tolerance);
    }
}

pub async fn quantized_products_equal_dense_ones(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    let mut largest = 0.0f64;
    for variant in quantized_variants() {
        for kind in KINDS {
            for (rows_of_x, by_four) in [(1..5, true), (5..9, true), (9..70, true), (1..40, false)]
            {
                let [rows, cols] = packed_shape(&mut random, kind, by_four);
                let n = random.size(rows_of_x);
                let (matrix, weights) = random.quantized(kind, rows, cols);
                let quantized = on_device(&matrix, &device);
                let x = numbers.array(&mut random, [n, cols]);
                let dy = numbers.array(&mut random, [n, rows]);
                let tolerance = numbers.tolerance(TOLERANCE);
                let what = format!("{variant}: {kind:?}, {n} rows by {rows}x{cols}");
                let mut check = |what: &str, expected: &Array<2>, actual: &[f32]| {
                    largest = largest.max(expected.assert_values_close(what, actual, tolerance));
                };
                let expected = x.matmul(&weights.transposed());
                let actual = quantized.forward(numbers.tensor(&x, &device), None);
                check(&what, &expected, &values(actual).await);
                let view = numbers.tensor(&x.transposed(), &device).transpose();
                check(
                    &what,
                    &expected,
                    &values(quantized.forward(view, None)).await,
                );
                let actual = quantized.backward(numbers.tensor(&dy, &device), None);
                let expected = dy.matmul(&weights);
                check(
                    &format!("{what}, backward"),
                    &expected,
                    &values(actual).await,
                );
            }
        }
    }
    say(&format!("quantized products within {largest:.1e}"));
}

/// The smallest and largest scales in f16, which must survive factors shrunk by powers of two. Only in single
/// precision: such weights do not fit into halves.
pub async fn quantized_products_keep_extreme_scales(_: Numbers) {
    let device = device().await;
    let mut random = random();
    for variant in quantized_variants() {
        for (kind, scale) in KINDS
            .into_iter()
            .filter(|kind| kind.has_scales())
            .flat_map(|kind| [f16::MIN_POSITIVE_SUBNORMAL, f16::MAX].map(|scale| (kind, scale)))
        {
            let [rows, cols] = packed_shape(&mut random, kind, true);
            let (matrix, weights) = random.packed_with(kind, rows, cols, |_| (scale, scale));
            let quantized = on_device(&matrix, &device);
            // Brought to ordinary size by the other side.
            let factor = 1.0 / (scale.to_f64() * 256.0);
            let x = random.array([3, cols]).times(factor);
            let x = Array::from_fn(x.shape, |i| f64::from(x.values[i] as f32));
            let expected = x.matmul(&weights.transposed());
            let actual = values(quantized.forward(tensor(&x, &device), None)).await;
            let what = format!("{variant}: {kind:?} by {scale:e}");
            expected.assert_values_close(&what, &actual, TOLERANCE);
        }
    }
}

pub async fn a_low_rank_product_is_added_to_a_quantized_one(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    for variant in quantized_variants() {
        for (kind, by_four) in KINDS
            .into_iter()
            .flat_map(|kind| [(kind, true), (kind, false)])
        {
            let [rows, cols] = packed_shape(&mut random, kind, by_four);
            let (n, r) = (random.size(1..40), size(&mut random, 1..20, by_four));
            let (matrix, weights) = random.quantized(kind, rows, cols);
            let quantized = on_device(&matrix, &device);
            let scaling = f64::from(random.unit());
            let x = numbers.array(&mut random, [n, cols]);
            let dy = numbers.array(&mut random, [n, rows]);
            let tolerance = numbers.tolerance(TOLERANCE);
            let u = random.array([n, r]);
            let (a, b) = (random.array([r, cols]), random.array([rows, r]));
            let low_rank = |v: &Array<2>| LowRank {
                u: tensor(&u, &device),
                v: tensor(v, &device),
                scaling,
            };
            let what = format!("{variant}: {kind:?}, {n} rows by {rows}x{cols}, rank {r}");
            let base = x.matmul(&weights.transposed());
            let expected = base.plus(&u.matmul(&b.transposed()).times(scaling));
            let actual = quantized.forward(numbers.tensor(&x, &device), Some(low_rank(&b)));
            expected.assert_values_close(&what, &values(actual).await, tolerance);
            let expected = dy.matmul(&weights).plus(&u.matmul(&a).times(scaling));
            let actual = quantized.backward(numbers.tensor(&dy, &device), Some(low_rank(&a)));
            let what = format!("{what}, backward");
            expected.assert_values_close(&what, &values(actual).await, tolerance);
        }
    }
}
