//! Our kernels against formulas in f64, at shapes and values drawn anew in every run; on WebGPU in every variant.

use burn::tensor::{DType, Device, Tensor, TensorData};
use engine::{
    kernels::PackedTensor,
    weights::packed::{PackedKind, PackedMatrix},
};

use crate::reference::{Array, Random};

mod attention;
mod element;
mod packed;
mod product;

const TOLERANCE: f64 = 1e-5;

/// The variants of the kernels, each in use from when it is given to when the next one is; the one that the device was
/// found to suit at the end.
#[cfg(feature = "gpu")]
fn variants() -> impl Iterator<Item = String> {
    use engine::kernels::Variant;

    let chosen = std::iter::once(None);
    let every = Variant::ALL.into_iter().map(Some);
    every.chain(chosen).map_while(|variant| {
        Variant::prefer(variant);
        variant.map(|variant| format!("{variant:?}"))
    })
}

#[cfg(not(feature = "gpu"))]
fn variants() -> impl Iterator<Item = String> {
    std::iter::once("CPU".to_owned())
}

/// Sizes that four divides, and sizes that it need not.
fn size(random: &mut Random, range: std::ops::Range<usize>, by_four: bool) -> usize {
    let size = random.size(range);
    if by_four {
        size.next_multiple_of(4)
    } else {
        size
    }
}

/// A matrix as the kernels take it.
fn on_device(matrix: &PackedMatrix, device: &Device) -> PackedTensor {
    let rows = matrix.rows;
    let scales = if matrix.scales.is_empty() {
        vec![0; rows]
    } else {
        matrix.scales.clone()
    };
    let [words, scales] = [matrix.words.clone(), scales].map(|bits| {
        let cols = bits.len() / rows;
        let bits: Vec<i32> = bytemuck::cast_vec(bits);
        Tensor::from_data(TensorData::new(bits, [rows, cols]), (device, DType::I32))
    });
    PackedTensor {
        words,
        scales,
        kind: matrix.kind,
        cols: matrix.cols,
    }
}

/// Rows and columns that a kind allows: quantised kinds have whole blocks, and a fourth of the others divides by four.
fn packed_shape(random: &mut Random, kind: PackedKind, by_four: bool) -> [usize; 2] {
    let cols = if kind.has_scales() {
        32 * random.size(1..5)
    } else {
        size(random, 1..150, by_four)
    };
    [size(random, 1..90, by_four), cols]
}

/// Element by element.
fn sum(x: &Array<2>, y: &Array<2>) -> Array<2> {
    assert_eq!(x.shape, y.shape);
    Array::from_fn(x.shape, |i| x.values[i] + y.values[i])
}
