//! One chunk of the head's cross-entropy: logits become exponentials in place, and are added to the running maximum and
//! sum of every row.

use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    calibration::Variant,
    elementwise,
    operand::Four,
    rows::{
        empty_like, first_of_unit, launch_size, max_of_units, row_of_unit, sum_of_units,
        units_per_row,
    },
};

/// `logits` `[rows, width]` (in vectors) become `exp(logit - maximum)`; `maximum` and `sum` are the values so far,
/// `new_maximum` and `new_sum` those with this chunk, and `rescale` is the factor for earlier exponentials.
#[cube(launch_unchecked)]
fn exponentials_kernel(
    logits: &mut Tensor<Vector<f32, Four>>,
    maximum: &Tensor<f32>,
    sum: &Tensor<f32>,
    new_maximum: &mut Tensor<f32>,
    new_sum: &mut Tensor<f32>,
    rescale: &mut Tensor<f32>,
    rows: usize,
    width: usize,
    #[comptime] units: usize,
) {
    let row = row_of_unit(units);
    if row >= rows {
        terminate!();
    }
    let start = row * width;
    let before = maximum[row];
    let mut largest = Vector::<f32, Four>::new(before);
    for at in range_stepped(first_of_unit(units), width, units) {
        largest = max(largest, logits[start + at]);
    }
    let mut highest = before;
    #[unroll]
    for i in 0..4usize {
        highest = max(highest, largest.extract(i));
    }
    let highest = max_of_units(highest, units);
    let mut total = 0.0f32;
    for at in range_stepped(first_of_unit(units), width, units) {
        let value = (logits[start + at] - Vector::new(highest)).exp();
        logits[start + at] = value;
        total += value.dot(Vector::new(1.0f32));
    }
    let total = sum_of_units(total, units);
    let shrink = (before - highest).exp();
    if first_of_unit(units) == 0 {
        new_maximum[row] = highest;
        new_sum[row] = sum[row] * shrink + total;
        rescale[row] = shrink;
    }
}

/// `out = weighted rescale + added`, `rescale` by rows.
#[cube(launch_unchecked)]
fn rescale_kernel(
    weighted: &Tensor<Vector<f32, Four>>,
    rescale: &Tensor<f32>,
    added: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<Vector<f32, Four>>,
    len: usize,
    width: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= len {
        terminate!();
    }
    out[at] = weighted[at] * Vector::new(rescale[at / width]) + added[at];
}

/// A chunk's exponentials, and the sums after it.
pub struct Exponentials {
    /// `[s, c]`
    pub values: CubeTensor,
    pub maximum: CubeTensor,
    pub sum: CubeTensor,
    pub rescale: CubeTensor,
}

/// Adds a chunk of logits; nobody else may hold them, since they are overwritten.
pub fn exponentials(logits: CubeTensor, maximum: CubeTensor, sum: CubeTensor) -> Exponentials {
    let [logits, maximum, sum] = [logits, maximum, sum].map(into_contiguous);
    let [new_maximum, new_sum, rescale] = [(); 3].map(|()| empty_like(&sum));
    let client = sum.client.clone();
    let [rows, width] = [logits.meta.shape()[0], logits.meta.shape()[1] / 4];
    let units = units_per_row(Variant::of(&client));
    let (cubes, dim) = launch_size(rows, units);
    // SAFETY: rows are checked, and every row has `width` vectors.
    unsafe {
        exponentials_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            logits.clone().into_tensor_arg(),
            maximum.into_tensor_arg(),
            sum.into_tensor_arg(),
            new_maximum.clone().into_tensor_arg(),
            new_sum.clone().into_tensor_arg(),
            rescale.clone().into_tensor_arg(),
            rows,
            width,
            units,
        );
    }
    Exponentials {
        values: logits,
        maximum: new_maximum,
        sum: new_sum,
        rescale,
    }
}

/// `weighted rescale + added`: `[s, d]`, `[s, 1]`, `[s, d]`.
pub fn rescale_add(weighted: CubeTensor, rescale: CubeTensor, added: CubeTensor) -> CubeTensor {
    let [weighted, rescale, added] = [weighted, rescale, added].map(into_contiguous);
    let out = empty_like(&weighted);
    let client = out.client.clone();
    let width = weighted.meta.shape()[1] / 4;
    let len = weighted.meta.shape()[0] * width;
    let (cubes, dim) = elementwise::launch_size(&client, len);
    // SAFETY: positions are checked, and `rescale` has an element for each row.
    unsafe {
        rescale_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            weighted.into_tensor_arg(),
            rescale.into_tensor_arg(),
            added.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            len,
            width,
        );
    }
    out
}
