//! RMSNorm: by itself, after a residual sum, and its backward.

use burn::tensor::DType;
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::{
    calibration::Variant,
    operand::{Four, load},
    rows::{
        elements, empty, empty_like, first_of_unit, launch_size, row_of_unit, sum_of_units,
        units_per_row,
    },
};

/// `sum = x + delta`, and `out = w sum / rms(sum)`; `width` counts vectors of a row.
#[cube(launch_unchecked)]
fn norm_kernel<E: Float>(
    x: &Tensor<Vector<f32, Four>>,
    delta: &Tensor<Vector<E, Four>>,
    weight: &Tensor<Vector<f32, Four>>,
    sum: &mut Tensor<Vector<f32, Four>>,
    out: &mut Tensor<Vector<E, Four>>,
    rows: usize,
    width: usize,
    eps: f32,
    #[comptime] units: usize,
    #[define(E)] _element: ElemType,
) {
    let row = row_of_unit(units);
    if row >= rows {
        terminate!();
    }
    let start = row * width;
    let mut square = 0.0f32;
    for at in range_stepped(first_of_unit(units), width, units) {
        let value = x[start + at] + load(delta, start + at);
        sum[start + at] = value;
        square += value.dot(value);
    }
    let scale = inverse_rms(sum_of_units(square, units), width, eps);
    for at in range_stepped(first_of_unit(units), width, units) {
        out[start + at] = Vector::cast_from(sum[start + at] * Vector::new(scale) * weight[at]);
    }
}

/// `out = w x / rms(x)`
#[cube(launch_unchecked)]
fn plain_norm_kernel<E: Float>(
    x: &Tensor<Vector<f32, Four>>,
    weight: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<Vector<E, Four>>,
    rows: usize,
    width: usize,
    eps: f32,
    #[comptime] units: usize,
    #[define(E)] _element: ElemType,
) {
    let row = row_of_unit(units);
    if row >= rows {
        terminate!();
    }
    let start = row * width;
    let mut square = 0.0f32;
    for at in range_stepped(first_of_unit(units), width, units) {
        let value = x[start + at];
        square += value.dot(value);
    }
    let scale = inverse_rms(sum_of_units(square, units), width, eps);
    for at in range_stepped(first_of_unit(units), width, units) {
        out[start + at] = Vector::cast_from(x[start + at] * Vector::new(scale) * weight[at]);
    }
}

/// `out = residual + s (w dy - x s^2 mean(w dy x))` with `s = 1 / rms(x)`.
#[cube(launch_unchecked)]
fn norm_backward_kernel<E: Float>(
    dy: &Tensor<Vector<E, Four>>,
    x: &Tensor<Vector<f32, Four>>,
    weight: &Tensor<Vector<f32, Four>>,
    residual: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<Vector<f32, Four>>,
    rows: usize,
    width: usize,
    eps: f32,
    #[comptime] units: usize,
    #[define(E)] _element: ElemType,
) {
    let row = row_of_unit(units);
    if row >= rows {
        terminate!();
    }
    let start = row * width;
    let mut square = 0.0f32;
    let mut product = 0.0f32;
    for at in range_stepped(first_of_unit(units), width, units) {
        let value = x[start + at];
        square += value.dot(value);
        product += value.dot(load(dy, start + at) * weight[at]);
    }
    let scale = inverse_rms(sum_of_units(square, units), width, eps);
    let mean = sum_of_units(product, units) / f32::cast_from(width * 4);
    let share = mean * scale * scale;
    for at in range_stepped(first_of_unit(units), width, units) {
        let inner = load(dy, start + at) * weight[at] - x[start + at] * Vector::new(share);
        out[start + at] = residual[start + at] + inner * Vector::new(scale);
    }
}

/// Not a reciprocal, so that a square that overflowed becomes NaN and not zero.
#[cube]
fn inverse_rms(square: f32, width: usize, eps: f32) -> f32 {
    let mean = square / f32::cast_from(width * 4) + eps;
    mean.sqrt() / mean
}

/// Whether the rows of a tensor are read in vectors.
pub fn fits(x: &CubeTensor) -> bool {
    x.meta.shape()[1].is_multiple_of(4) && x.meta.shape()[0] > 0
}

/// See [`crate::KernelOps::rms_norm`].
pub fn rms_norm(x: CubeTensor, weight: CubeTensor, eps: f64, dtype: DType) -> CubeTensor {
    let [x, weight] = [x, weight].map(into_contiguous);
    let out = empty(&x, x.meta.shape().clone(), dtype);
    let element = elements(&out);
    let client = out.client.clone();
    let [rows, width] = [x.meta.shape()[0], x.meta.shape()[1] / 4];
    let units = units_per_row(Variant::of(&client));
    let (cubes, dim) = launch_size(rows, units);
    // SAFETY: rows are checked, and every row has `width` vectors.
    unsafe {
        plain_norm_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            rows,
            width,
            eps as f32,
            units,
            element,
        );
    }
    out
}

/// See [`crate::KernelOps::add_rms_norm`].
pub fn add_rms_norm(
    x: CubeTensor,
    delta: CubeTensor,
    weight: CubeTensor,
    eps: f64,
) -> (CubeTensor, CubeTensor) {
    let [x, delta, weight] = [x, delta, weight].map(into_contiguous);
    let (sum, out) = (empty_like(&x), empty_like(&delta));
    let element = elements(&out);
    let client = out.client.clone();
    let [rows, width] = [x.meta.shape()[0], x.meta.shape()[1] / 4];
    let units = units_per_row(Variant::of(&client));
    let (cubes, dim) = launch_size(rows, units);
    // SAFETY: rows are checked, and every row has `width` vectors.
    unsafe {
        norm_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            x.into_tensor_arg(),
            delta.into_tensor_arg(),
            weight.into_tensor_arg(),
            sum.clone().into_tensor_arg(),
            out.clone().into_tensor_arg(),
            rows,
            width,
            eps as f32,
            units,
            element,
        );
    }
    (sum, out)
}

/// See [`crate::KernelOps::rms_norm_backward`].
pub fn rms_norm_backward(
    dy: CubeTensor,
    x: CubeTensor,
    weight: CubeTensor,
    eps: f64,
    residual: CubeTensor,
) -> CubeTensor {
    let [dy, x, weight, residual] = [dy, x, weight, residual].map(into_contiguous);
    let out = empty_like(&x);
    let element = elements(&dy);
    let client = out.client.clone();
    let [rows, width] = [x.meta.shape()[0], x.meta.shape()[1] / 4];
    let units = units_per_row(Variant::of(&client));
    let (cubes, dim) = launch_size(rows, units);
    // SAFETY: rows are checked, and every row has `width` vectors.
    unsafe {
        norm_backward_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            dy.into_tensor_arg(),
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            residual.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            rows,
            width,
            eps as f32,
            units,
            element,
        );
    }
    out
}
