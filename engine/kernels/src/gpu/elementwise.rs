//! The gated activation, RoPE and the residual sum: one unit per vector of four.

use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{calculate_cube_count_elemwise, client::Client, ir::ElemType, prelude::*};

use super::{
    operand::{Four, load},
    rows::{elements, empty_like},
};
use crate::{
    Activation,
    activation::{CUBIC, LINEAR},
};

/// Units of a workgroup.
const UNITS: u32 = 64;

#[cube(launch_unchecked)]
fn gated_kernel<E: Float>(
    gate: &Tensor<Vector<E, Four>>,
    up: &Tensor<Vector<E, Four>>,
    out: &mut Tensor<Vector<E, Four>>,
    len: usize,
    #[comptime] activation: Activation,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= len {
        terminate!();
    }
    let gate = load(gate, at);
    out[at] = Vector::cast_from(gate * sigmoid(inner(gate, activation)) * load(up, at));
}

#[cube(launch_unchecked)]
fn gated_backward_kernel<E: Float>(
    dy: &Tensor<Vector<E, Four>>,
    gate: &Tensor<Vector<E, Four>>,
    up: &Tensor<Vector<E, Four>>,
    d_gate: &mut Tensor<Vector<E, Four>>,
    d_up: &mut Tensor<Vector<E, Four>>,
    len: usize,
    #[comptime] activation: Activation,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= len {
        terminate!();
    }
    let gate = load(gate, at);
    let dy = load(dy, at);
    let sigmoid = sigmoid(inner(gate, activation));
    let activated = gate * sigmoid;
    let bend = activated * (Vector::new(1.0f32) - sigmoid);
    let slope = sigmoid + bend_by(bend, gate, activation);
    d_gate[at] = Vector::cast_from(dy * load(up, at) * slope);
    d_up[at] = Vector::cast_from(dy * activated);
}

/// `out = x + delta`
#[cube(launch_unchecked)]
fn add_kernel<E: Float>(
    x: &Tensor<Vector<f32, Four>>,
    delta: &Tensor<Vector<E, Four>>,
    out: &mut Tensor<Vector<f32, Four>>,
    len: usize,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= len {
        terminate!();
    }
    out[at] = x[at] + load(delta, at);
}

/// The `s(x)` of an activation.
#[cube]
fn inner(x: Vector<f32, Four>, #[comptime] activation: Activation) -> Vector<f32, Four> {
    if comptime!(activation == Activation::GeluTanh) {
        x * (Vector::new(LINEAR) + x * x * Vector::new(CUBIC))
    } else {
        x
    }
}

/// `bend s'(x)`
#[cube]
fn bend_by(
    bend: Vector<f32, Four>,
    x: Vector<f32, Four>,
    #[comptime] activation: Activation,
) -> Vector<f32, Four> {
    if comptime!(activation == Activation::GeluTanh) {
        bend * (Vector::new(LINEAR) + x * x * Vector::new(comptime!(3.0 * CUBIC)))
    } else {
        bend
    }
}

#[cube]
fn sigmoid(x: Vector<f32, Four>) -> Vector<f32, Four> {
    Vector::new(1.0f32) / (Vector::new(1.0f32) + (-x).exp())
}

/// A unit rotates four pairs of one head: `half` and `width` count vectors of half a head and of a row, `tokens` the rows
/// of `cos` and `sin`.
#[cube(launch_unchecked)]
fn rope_kernel<E: Float>(
    x: &Tensor<Vector<E, Four>>,
    cos: &Tensor<Vector<f32, Four>>,
    sin: &Tensor<Vector<f32, Four>>,
    out: &mut Tensor<Vector<E, Four>>,
    len: usize,
    tokens: usize,
    half: usize,
    width: usize,
    #[comptime] inverse: bool,
    #[define(E)] _element: ElemType,
) {
    let pair = ABSOLUTE_POS;
    if pair >= len {
        terminate!();
    }
    let pairs_of_row = width / 2;
    let row = pair / pairs_of_row;
    let head = pair % pairs_of_row / half;
    let within = pair % half;
    let first = row * width + head * half * 2 + within;
    let table = row % tokens * half + within;
    let cos = cos[table];
    let sin = if comptime!(inverse) {
        -sin[table]
    } else {
        sin[table]
    };
    let a = load(x, first);
    let b = load(x, first + half);
    out[first] = Vector::cast_from(a * cos - b * sin);
    out[first + half] = Vector::cast_from(b * cos + a * sin);
}

/// The workgroups for one unit per element.
pub fn launch_size(client: &Client, len: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(UNITS);
    (calculate_cube_count_elemwise(client, len, dim), dim)
}

/// Whether a tensor is read in vectors.
pub fn fits(x: &CubeTensor) -> bool {
    let len = x.meta.shape().num_elements();
    len.is_multiple_of(4) && len > 0
}

/// See [`crate::KernelOps::gated`].
pub fn gated(gate: CubeTensor, up: CubeTensor, activation: Activation) -> CubeTensor {
    let [gate, up] = [gate, up].map(into_contiguous);
    let out = empty_like(&gate);
    let client = out.client.clone();
    let len = gate.meta.shape().num_elements() / 4;
    let (cubes, dim) = launch_size(&client, len);
    let element = elements(&out);
    // SAFETY: positions are checked against the length that all three share.
    unsafe {
        gated_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            gate.into_tensor_arg(),
            up.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            len,
            activation,
            element,
        );
    }
    out
}

/// See [`crate::KernelOps::gated_backward`].
pub fn gated_backward(
    dy: CubeTensor,
    gate: CubeTensor,
    up: CubeTensor,
    activation: Activation,
) -> (CubeTensor, CubeTensor) {
    let [dy, gate, up] = [dy, gate, up].map(into_contiguous);
    let (d_gate, d_up) = (empty_like(&gate), empty_like(&gate));
    let client = d_up.client.clone();
    let len = gate.meta.shape().num_elements() / 4;
    let (cubes, dim) = launch_size(&client, len);
    let element = elements(&d_up);
    // SAFETY: positions are checked against the length that all five share.
    unsafe {
        gated_backward_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            dy.into_tensor_arg(),
            gate.into_tensor_arg(),
            up.into_tensor_arg(),
            d_gate.clone().into_tensor_arg(),
            d_up.clone().into_tensor_arg(),
            len,
            activation,
            element,
        );
    }
    (d_gate, d_up)
}

/// See [`crate::KernelOps::add_residual`].
pub fn add(x: CubeTensor, delta: CubeTensor) -> CubeTensor {
    let [x, delta] = [x, delta].map(into_contiguous);
    let out = empty_like(&x);
    let client = out.client.clone();
    let len = x.meta.shape().num_elements() / 4;
    let (cubes, dim) = launch_size(&client, len);
    let element = elements(&delta);
    // SAFETY: positions are checked against the length that all three share.
    unsafe {
        add_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            x.into_tensor_arg(),
            delta.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            len,
            element,
        );
    }
    out
}

/// Whether half a head of `cos` `[t, hd / 2]` is read in vectors.
pub fn rope_fits(x: &CubeTensor, cos: &CubeTensor) -> bool {
    cos.meta.shape()[1].is_multiple_of(4) && x.meta.shape().num_elements() > 0
}

/// See [`crate::KernelOps::rope`].
pub fn rope(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, inverse: bool) -> CubeTensor {
    let [x, cos, sin] = [x, cos, sin].map(into_contiguous);
    let out = empty_like(&x);
    let client = out.client.clone();
    let [rows, width] = [x.meta.shape()[0], x.meta.shape()[1] / 4];
    let [tokens, half] = [cos.meta.shape()[0], cos.meta.shape()[1] / 4];
    let len = rows * width / 2;
    let (cubes, dim) = launch_size(&client, len);
    let element = elements(&out);
    // SAFETY: positions are checked against the pairs of the tensor, and the tables have `tokens` rows.
    unsafe {
        rope_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            x.into_tensor_arg(),
            cos.into_tensor_arg(),
            sin.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            len,
            tokens,
            half,
            width,
            inverse,
            element,
        );
    }
    out
}
