//! Compares norms and activations with their formulas in f64.

use burn::tensor::FloatDType;

use super::super::{Activation, add_rms_norm, gated, gated_backward, rms_norm, rms_norm_backward};
use crate::testing::{Array, Random};

const EPS: f64 = 1e-2;
const ACTIVATIONS: [Activation; 2] = [Activation::Silu, Activation::GeluTanh];

#[test]
fn an_overflow_of_a_norm_shows() {
    let x = Array::from_fn([1, 4], |_| 1e30);
    let weight = Array::from_fn([1, 4], |_| 1.0);
    let y = rms_norm(x.tensor(), &weight.tensor(), EPS, FloatDType::F32);
    let y: Vec<f32> = y.into_data().try_into_vec().unwrap();
    assert!(y.iter().all(|y| y.is_nan()));
}

#[test]
fn norms_equal_the_formula() {
    let mut random = Random::new();
    for _ in 0..10 {
        let [n, d] = [1..9, 4..30].map(|range| random.size(range));
        // From rows that epsilon outweighs to rows where it is negligible.
        let scale = 10f64.powf(f64::from(random.unit()));
        let x = random.array([n, d]).times(scale);
        let (delta, residual) = (random.array([n, d]), random.array([n, d]));
        let (weight, dy) = (random.array([1, d]), random.array([n, d]));
        let y = rms_norm(x.tensor(), &weight.tensor(), EPS, FloatDType::F32);
        x.rms_norm(&weight, EPS).assert_close("forward", y, 1e-5);
        let (total, y) = add_rms_norm(x.tensor(), delta.tensor(), &weight.tensor(), EPS);
        x.plus(&delta).assert_close("sum", total, 1e-6);
        let expected = x.plus(&delta).rms_norm(&weight, EPS);
        expected.assert_close("forward of a sum", y, 1e-5);
        let expected = x.gradient(&dy, |x| x.rms_norm(&weight, EPS));
        let dx = rms_norm_backward(
            dy.tensor(),
            x.tensor(),
            &weight.tensor(),
            EPS,
            residual.tensor(),
        );
        expected.plus(&residual).assert_close("backward", dx, 1e-4);
    }
}

#[test]
fn gated_activations_equal_the_formula() {
    let mut random = Random::new();
    // The second is longer than the pieces that rows are taken in.
    for (shape, activation) in [[1..9, 1..30], [1..3, 257..600]]
        .into_iter()
        .flat_map(|shape| ACTIVATIONS.map(|activation| (shape.clone(), activation)))
    {
        let shape = shape.map(|range| random.size(range));
        let gate = random.array(shape).times(8.0);
        let (up, dy) = (random.array(shape), random.array(shape));
        let [active, slope] = gate.activated(activation);
        let expected = Array::from_fn(shape, |i| active.values[i] * up.values[i]);
        let what = format!("{activation:?}");
        let actual = gated(gate.tensor(), up.tensor(), activation);
        expected.assert_close(&what, actual, 1e-5);
        let [d_gate, d_up] = gated_backward(dy.tensor(), gate.tensor(), up.tensor(), activation);
        let expected = Array::from_fn(shape, |i| dy.values[i] * up.values[i] * slope.values[i]);
        expected.assert_close(&what, d_gate, 1e-5);
        let expected = Array::from_fn(shape, |i| dy.values[i] * active.values[i]);
        expected.assert_close(&what, d_up, 1e-5);
    }
}

#[test]
fn extreme_gates_give_what_floats_can_hold() {
    let gate = Array::from_fn([1, 6], |i| [-1e4, -100.0, -80.0, 80.0, 100.0, 1e4][i]);
    let ones = Array::from_fn([1, 6], |_| 1.0);
    for activation in ACTIVATIONS {
        let y = gated(gate.tensor(), ones.tensor(), activation);
        let y: Vec<f32> = y.into_data().try_into_vec().unwrap();
        assert_eq!(&y[3..], [80.0, 100.0, 1e4]);
        assert!(y[..3].iter().all(|y| y.abs() < 1e-30), "{y:?}");
        let operands = [&ones, &gate, &ones].map(Array::tensor);
        let [dy, gate, up] = operands;
        let [slopes, _] = gated_backward(dy, gate, up, activation);
        let slopes: Vec<f32> = slopes.into_data().try_into_vec().unwrap();
        assert_eq!(&slopes[3..], [1.0; 3]);
        assert!(slopes[..3].iter().all(|y| y.abs() < 1e-30), "{slopes:?}");
    }
}
