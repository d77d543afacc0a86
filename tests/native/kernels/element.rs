//! Norms, activations and rotations.

use engine::kernels::{
    Activation, add_residual, add_rms_norm, gated, gated_backward, rms_norm, rms_norm_backward,
    rope,
};

use super::{Numbers, size, tensor, values, variants};
use crate::{
    device::{device, random},
    reference::Array,
};

const EPS: f64 = 1e-2;
const ACTIVATIONS: [Activation; 2] = [Activation::Silu, Activation::GeluTanh];

pub async fn norms_equal_the_formula(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    for variant in variants() {
        for by_four in [true, true, false] {
            let (n, d) = (random.size(1..40), size(&mut random, 4..300, by_four));
            // From rows that epsilon outweighs to rows where it is negligible.
            let scale = 10f64.powf(f64::from(random.unit()));
            let x = random.array([n, d]).times(scale);
            let (delta, dy) = (
                numbers.array(&mut random, [n, d]),
                numbers.array(&mut random, [n, d]),
            );
            let (weight, residual) = (random.array([1, d]), random.array([n, d]));
            let on_device = |x: &Array<2>| tensor(x, &device);
            let what = |part: &str| format!("{variant}: {part} of {n}x{d}");
            let y = rms_norm(on_device(&x), &on_device(&weight), EPS, numbers.dtype());
            let y = values(y).await;
            let expected = x.rms_norm(&weight, EPS);
            expected.assert_values_close(&what("norm"), &y, numbers.tolerance(1e-5));
            let delta_ = numbers.tensor(&delta, &device);
            let x_plus_delta = x.plus(&delta);
            let plain = values(add_residual(on_device(&x), delta_.clone())).await;
            x_plus_delta.assert_values_close(&what("sum alone"), &plain, 1e-6);
            let both = add_rms_norm(on_device(&x), delta_, &on_device(&weight), EPS);
            x_plus_delta.assert_values_close(&what("sum"), &values(both.0).await, 1e-6);
            let expected = x_plus_delta.rms_norm(&weight, EPS);
            let y = values(both.1).await;
            expected.assert_values_close(&what("norm of a sum"), &y, numbers.tolerance(1e-5));
            let dx = rms_norm_backward(
                numbers.tensor(&dy, &device),
                on_device(&x),
                &on_device(&weight),
                EPS,
                on_device(&residual),
            );
            let expected = rms_norm_gradient(&dy, &x, &weight).plus(&residual);
            expected.assert_values_close(&what("gradient"), &values(dx).await, 1e-5);
        }
    }
}

/// By the quotient rule: with `r` the root mean square, `dx = w dy / r - x sum(w dy x) / (d r^3)`.
fn rms_norm_gradient(dy: &Array<2>, x: &Array<2>, weight: &Array<2>) -> Array<2> {
    let [_, d] = x.shape;
    Array::from_fn(x.shape, |index| {
        let (row, dy_row) = (x.row(index / d), dy.row(index / d));
        let r = (row.iter().map(|x| x * x).sum::<f64>() / d as f64 + EPS).sqrt();
        let products = row.iter().zip(dy_row).zip(&weight.values);
        let product: f64 = products.map(|((x, dy), w)| x * dy * w).sum();
        weight.values[index % d] * dy.values[index] / r
            - x.values[index] * product / (d as f64 * r.powi(3))
    })
}

/// One axis of a GPU's grid holds 65,535 workgroups; a workgroup has one row in workgroup memory, or four in registers.
pub async fn norms_take_more_rows_than_an_axis_of_the_grid(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    for variant in variants() {
        let rows_of_group = if variant == "Register" { 4 } else { 1 };
        let n = rows_of_group * 65_535 + random.size(1..2_000);
        let (x, weight) = (random.array([n, 4]), random.array([1, 4]));
        let y = rms_norm(
            tensor(&x, &device),
            &tensor(&weight, &device),
            EPS,
            numbers.dtype(),
        );
        let what = format!("{variant}: {n} rows");
        let expected = x.rms_norm(&weight, EPS);
        expected.assert_values_close(&what, &values(y).await, numbers.tolerance(1e-5));
    }
}

pub async fn an_overflow_of_a_norm_shows(numbers: Numbers) {
    let device = device().await;
    let x = Array::from_fn([1, 4], |_| 1e30);
    let weight = Array::from_fn([1, 4], |_| 1.0);
    let (x, weight) = (tensor(&x, &device), tensor(&weight, &device));
    for variant in variants() {
        let y = rms_norm(x.clone(), &weight, EPS, numbers.dtype());
        assert!(values(y).await.iter().all(|y| y.is_nan()), "{variant}");
    }
}

pub async fn gated_activations_equal_the_formula(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    for (variant, activation) in variants().flat_map(|v| ACTIVATIONS.map(|a| (v.clone(), a))) {
        for by_four in [true, false] {
            let shape = [random.size(1..40), size(&mut random, 1..90, by_four)];
            let gate = numbers.round(random.array(shape).times(8.0));
            let [up, dy] = [(); 2].map(|()| numbers.array(&mut random, shape));
            let [gate_, up_, dy_] = [&gate, &up, &dy].map(|x| numbers.tensor(x, &device));
            let tolerance = numbers.tolerance(1e-5);
            let what = format!("{variant}: {activation:?}");
            let [active, slope] = gate.activated(activation);
            let expected = Array::from_fn(shape, |i| active.values[i] * up.values[i]);
            let y = values(gated(gate_.clone(), up_.clone(), activation)).await;
            expected.assert_values_close(&what, &y, tolerance);
            let [d_gate, d_up] = gated_backward(dy_, gate_, up_, activation);
            let expected = Array::from_fn(shape, |i| dy.values[i] * up.values[i] * slope.values[i]);
            expected.assert_values_close(&what, &values(d_gate).await, tolerance);
            let expected = Array::from_fn(shape, |i| dy.values[i] * active.values[i]);
            expected.assert_values_close(&what, &values(d_up).await, tolerance);
        }
    }
}

pub async fn extreme_gates_give_what_floats_can_hold(numbers: Numbers) {
    let device = device().await;
    let gates = [-1e4, -100.0, -80.0, -60.0, 60.0, 80.0, 100.0, 1e4];
    let gate = Array::from_fn([1, 8], |i| gates[i]);
    let ones = Array::from_fn([1, 8], |_| 1.0);
    for activation in ACTIVATIONS {
        let [gate, ones] = [&gate, &ones].map(|x| numbers.tensor(x, &device));
        let y = values(gated(gate.clone(), ones.clone(), activation)).await;
        assert_eq!(&y[4..], [60.0, 80.0, 100.0, 1e4]);
        assert!(y[..4].iter().all(|y| y.abs() < 1e-20), "{y:?}");
        let [slopes, _] = gated_backward(ones.clone(), gate, ones, activation);
        let slopes = values(slopes).await;
        assert_eq!(&slopes[4..], [1.0; 4]);
        assert!(slopes[..4].iter().all(|y| y.abs() < 1e-20), "{slopes:?}");
    }
}

pub async fn heads_are_rotated_and_back(numbers: Numbers) {
    let device = device().await;
    let mut random = random();
    for by_four in [true, false] {
        let [b, t, heads] = [1..4, 1..20, 1..5].map(|range| random.size(range));
        let half = size(&mut random, 1..20, by_four);
        let x = numbers.array(&mut random, [b * t, heads * 2 * half]);
        let angles = random.array([t, half]).times(3.0);
        let [cos, sin] = [f64::cos, f64::sin].map(|f| {
            let table = Array::from_fn([t, half], |i| f(angles.values[i]));
            tensor(&table, &device)
        });
        let expected = Array::from_fn(x.shape, |index| {
            let (row, column) = (index / x.shape[1], index % x.shape[1]);
            let (within, first) = (column % half, column / (2 * half) * 2 * half);
            let angle = angles.at(row % t, within);
            let (a, b) = (x.at(row, first + within), x.at(row, first + half + within));
            if column % (2 * half) < half {
                a * angle.cos() - b * angle.sin()
            } else {
                b * angle.cos() + a * angle.sin()
            }
        });
        let tolerance = numbers.tolerance(1e-6);
        let rotated = rope(numbers.tensor(&x, &device), &cos, &sin, false);
        expected.assert_values_close("rotated", &values(rotated.clone()).await, tolerance);
        let back = values(rope(rotated, &cos, &sin, true)).await;
        x.assert_values_close("back", &back, tolerance);
    }
}
