//! Our kernels against formulas in f64, at shapes and values drawn anew in every run; on a GPU in every variant. Natively
//! and in the browser alike: the crate that takes this in has a module `device`.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use engine::{
    kernels::PackedTensor,
    protocol::Precision,
    train::pacing::read_all,
    weights::packed::{PackedKind, PackedMatrix},
};

use crate::reference::{Array, Random};

pub mod attention;
pub mod element;
pub mod packed;
pub mod product;

/// Calls `$test` with every check: its module and its name.
#[macro_export]
macro_rules! for_each_kernel_check {
    ($test:ident) => {
        $test!(attention, both_passes_equal_the_formula);
        $test!(attention, packed_sequences_do_not_see_each_other);
        $test!(attention, later_queries_see_what_came_before);
        $test!(element, norms_equal_the_formula);
        $test!(element, an_overflow_of_a_norm_shows);
        $test!(element, swiglu_equals_the_formula);
        $test!(element, extreme_gates_give_what_floats_can_hold);
        $test!(element, heads_are_rotated_and_back);
        $test!(packed, every_kind_is_unpacked);
        $test!(packed, subnormal_scales_are_kept);
        $test!(packed, every_half_is_unpacked_exactly);
        $test!(packed, packed_products_equal_dense_ones);
        $test!(packed, packed_products_keep_extreme_scales);
        $test!(packed, a_low_rank_product_is_added_to_a_packed_one);
        $test!(product, products_read_transposed_views);
        $test!(product, rows_that_vectors_cannot_cut_are_multiplied);
        $test!(product, products_read_slices);
    };
}

const TOLERANCE: f64 = 1e-5;

/// The numbers that a check's activations are of.
#[derive(Debug, Clone, Copy)]
pub struct Numbers(pub Precision);

impl Numbers {
    /// Of a kind, drawn so that these numbers hold them exactly.
    fn array<const D: usize>(self, random: &mut Random, shape: [usize; D]) -> Array<D> {
        self.round(random.array(shape))
    }

    /// The nearest that these numbers have.
    fn round<const D: usize>(self, mut array: Array<D>) -> Array<D> {
        for value in &mut array.values {
            *value = match self.0 {
                Precision::Single => f64::from(*value as f32),
                Precision::Half => half::f16::from_f64(*value).to_f64(),
            };
        }
        array
    }

    fn tensor<const D: usize>(self, array: &Array<D>, device: &Device) -> Tensor<D> {
        let tensor = tensor(array, device);
        match self.0 {
            Precision::Single => tensor,
            Precision::Half => tensor.cast(FloatDType::F16),
        }
    }

    /// What a result may be off, where it may be off by `single` in single precision. A half has eleven bits; sums of
    /// products of halves lose some more.
    fn tolerance(self, single: f64) -> f64 {
        match self.0 {
            Precision::Single => single,
            Precision::Half => 4e-3,
        }
    }
}

pub fn tensor<const D: usize>(array: &Array<D>, device: &Device) -> Tensor<D> {
    let values: Vec<f32> = array.values.iter().map(|&value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, array.shape), device)
}

/// In f32.
pub async fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    read_all(tensor.cast(FloatDType::F32)).await.unwrap()
}

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

/// As [`variants`], for products with every kind of packed weight. The programs in registers alone are so large that the
/// compiler of a native software adapter takes minutes over all of them; in a browser they are checked.
fn packed_variants() -> impl Iterator<Item = String> {
    variants().filter(|variant| cfg!(target_family = "wasm") || variant != "Register")
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
