//! Products with quantized weights, unpacked in registers: forward `x W^T`, and `dy W` for the gradient of the input; with
//! or without a low-rank addend in the same launch.

use burn::{backend::ops::FloatTensorOps, tensor::DType};
use burn_cubecl::{
    CubeBackend,
    kernel::{cast, into_contiguous},
    tensor::CubeTensor,
};
use cubecl::prelude::*;

use super::{
    calibration::Variant,
    matmul::{Sizes, matmul_by, register, shared},
    operand::{Along, words_per_vector},
    rows::{elements, empty},
    unpack::unpack,
};
use crate::{
    operand::{Addend, QuantizedOperand},
    quantized::{BLOCK, WeightKind},
};

/// The factors of a low-rank addend, and its scaling; see [`Addend::LowRank`].
struct LowRank {
    u: CubeTensor,
    v: CubeTensor,
    scaling: f64,
}

/// Sizes of a launch.
struct Geometry {
    sizes: Sizes,
    /// Vectors of words, and scales, of a row.
    word_pitch: usize,
    scale_pitch: usize,
    kind: WeightKind,
    along: Along,
}

/// `x W^T` ([`Along::K`]) or `x W` ([`Along::Edges`]), plus the addend, with the GPU's variant. The product is in
/// halves if `x` is.
pub fn product(
    x: CubeTensor,
    weight: QuantizedOperand<CubeBackend>,
    along: Along,
    addend: Addend<CubeBackend>,
) -> CubeTensor {
    let variant = Variant::of(&x.client);
    match addend {
        Addend::Nothing => product_by(variant, x, weight, along, None),
        Addend::LowRank { u, v, scaling } if fuses(&weight, &u) => {
            let addend = LowRank { u, v, scaling };
            product_by(variant, x, weight, along, Some(addend))
        }
        Addend::LowRank { u, v, scaling } => {
            let dtype = x.dtype;
            let base = cast(product_by(variant, x, weight, along, None), DType::F32);
            let v = match along {
                Along::K => CubeBackend::float_swap_dims(v, 0, 1),
                Along::Edges => v,
            };
            let update = CubeBackend::float_mul_scalar(matmul_by(variant, u, v), scaling.into());
            cast(CubeBackend::float_add(base, update), dtype)
        }
    }
}

/// Like [`product`], with a given variant if the shapes allow it, otherwise through a dense copy of the weight. An
/// addend needs shapes that [`fuses`] allows.
fn product_by(
    variant: Variant,
    x: CubeTensor,
    weight: QuantizedOperand<CubeBackend>,
    along: Along,
    addend: Option<LowRank>,
) -> CubeTensor {
    let (m, [rows, cols]) = (x.meta.shape()[0], weight.shape());
    let (k, n) = match along {
        Along::K => (cols, rows),
        Along::Edges => (rows, cols),
    };
    if m == 0 || !k.is_multiple_of(4) || !n.is_multiple_of(4) {
        let dtype = x.dtype;
        let dense = unpack(weight, along == Along::K);
        return cast(matmul_by(variant, x, dense), dtype);
    }
    let QuantizedOperand {
        words,
        scales,
        kind,
        ..
    } = weight;
    let geometry = Geometry {
        sizes: Sizes { batch: 1, m, n, k },
        word_pitch: cols / kind.weights_per_word() / words_per_vector(kind),
        scale_pitch: cols / BLOCK,
        kind,
        along,
    };
    let [x, words, scales] = [x, words, scales].map(into_contiguous);
    let out = empty(&x, [m, n], x.dtype);
    match addend {
        None => launch(variant, geometry, [x, words, scales], &out),
        Some(addend) => launch_low_rank(variant, geometry, [x, words, scales], addend, &out),
    }
    out
}

/// Whether a product with this weight can include the low-rank addend whose `u` is `[m, r]`.
fn fuses(weight: &QuantizedOperand<CubeBackend>, u: &CubeTensor) -> bool {
    let ([_, r], [rows, cols]) = (u.meta.shape().dims(), weight.shape());
    let sizes = [r, rows, cols];
    u.meta.shape().num_elements() > 0 && sizes.iter().all(|size| size.is_multiple_of(4))
}

fn launch(
    variant: Variant,
    geometry: Geometry,
    [x, words, scales]: [CubeTensor; 3],
    out: &CubeTensor,
) {
    let client = out.client.clone();
    let Geometry {
        sizes,
        word_pitch,
        scale_pitch,
        kind,
        along,
    } = geometry;
    let Sizes { m, n, k, .. } = sizes;
    let element = elements(out);
    // SAFETY: the kernels clamp edges to the sizes given here, which are the tensors' own, take `k / 4` steps of a `k`
    // that four divides, and check rows and columns before they write.
    unsafe {
        match variant {
            Variant::Register => {
                let tile = quantized_tile(sizes);
                register::quantized_kernel::launch_unchecked(
                    &client,
                    sizes.register_count(tile),
                    CubeDim::new_1d(register::UNITS),
                    words_per_vector(kind),
                    x.into_tensor_arg(),
                    words.into_tensor_arg(),
                    scales.into_tensor_arg(),
                    out.clone().into_tensor_arg(),
                    m,
                    n,
                    k / 4,
                    word_pitch,
                    scale_pitch,
                    tile,
                    kind,
                    along,
                    element,
                );
            }
            Variant::Shared => {
                shared::quantized_kernel::launch_unchecked(
                    &client,
                    sizes.shared_count(),
                    CubeDim::new_1d(shared::UNITS),
                    words_per_vector(kind),
                    x.into_tensor_arg(),
                    words.into_tensor_arg(),
                    scales.into_tensor_arg(),
                    out.clone().into_tensor_arg(),
                    m,
                    n,
                    k / 4,
                    word_pitch,
                    scale_pitch,
                    kind,
                    along,
                    element,
                );
            }
        }
    }
}

fn launch_low_rank(
    variant: Variant,
    geometry: Geometry,
    [x, words, scales]: [CubeTensor; 3],
    addend: LowRank,
    out: &CubeTensor,
) {
    let client = out.client.clone();
    let Geometry {
        sizes,
        word_pitch,
        scale_pitch,
        kind,
        along,
    } = geometry;
    let Sizes { m, n, k, .. } = sizes;
    let element = elements(out);
    let [low, adapter] = [addend.u, addend.v].map(into_contiguous);
    let rank_steps = low.meta.shape()[1] / 4;
    // SAFETY: as in `launch`; the low rank is a multiple of four.
    unsafe {
        match variant {
            Variant::Register => {
                let tile = quantized_tile(sizes);
                register::quantized_low_rank_kernel::launch_unchecked(
                    &client,
                    sizes.register_count(tile),
                    CubeDim::new_1d(register::UNITS),
                    words_per_vector(kind),
                    x.into_tensor_arg(),
                    words.into_tensor_arg(),
                    scales.into_tensor_arg(),
                    low.into_tensor_arg(),
                    adapter.into_tensor_arg(),
                    out.clone().into_tensor_arg(),
                    m,
                    n,
                    k / 4,
                    word_pitch,
                    scale_pitch,
                    rank_steps,
                    addend.scaling as f32,
                    tile,
                    kind,
                    along,
                    element,
                );
            }
            Variant::Shared => {
                shared::quantized_low_rank_kernel::launch_unchecked(
                    &client,
                    sizes.shared_count(),
                    CubeDim::new_1d(shared::UNITS),
                    words_per_vector(kind),
                    x.into_tensor_arg(),
                    words.into_tensor_arg(),
                    scales.into_tensor_arg(),
                    low.into_tensor_arg(),
                    adapter.into_tensor_arg(),
                    out.clone().into_tensor_arg(),
                    m,
                    n,
                    k / 4,
                    word_pitch,
                    scale_pitch,
                    rank_steps,
                    addend.scaling as f32,
                    kind,
                    along,
                    out.dtype == DType::F16,
                    element,
                );
            }
        }
    }
}

/// A tile whose columns lie within one block of a quantized row.
fn quantized_tile(sizes: Sizes) -> register::Tile {
    register::Tile {
        columns: 16,
        ..sizes.tile()
    }
}
