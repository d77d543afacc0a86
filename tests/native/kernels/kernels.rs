//! Compares our kernels with formulas in f64, at fresh random shapes and values in every run; on a GPU, in every
//! variant. Used natively and in the browser: the crate that includes this has a module `device`.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use engine::{
    kernels::FrozenMatrix,
    tensor::read_all,
    weights::quantized::{QuantizedMatrix, WeightKind},
};
use protocol::Precision;

use crate::reference::{Array, Random};

pub mod attention;
pub mod element;
pub mod product;
pub mod quantized;

/// Calls `$test` with every check: its module and its name.
#[macro_export]
macro_rules! for_each_kernel_check {
    ($test:ident) => {
        $test!(attention, both_passes_equal_the_formula);
        $test!(attention, packed_sequences_do_not_see_each_other);
        $test!(attention, later_queries_see_what_came_before);
        $test!(attention, windows_end_what_a_token_sees);
        $test!(element, norms_equal_the_formula);
        $test!(element, norms_take_more_rows_than_an_axis_of_the_grid);
        $test!(element, an_overflow_of_a_norm_shows);
        $test!(element, gated_activations_equal_the_formula);
        $test!(element, extreme_gates_give_what_floats_can_hold);
        $test!(element, heads_are_rotated_and_back);
        $test!(quantized, every_kind_is_unpacked);
        $test!(quantized, subnormal_scales_are_kept);
        $test!(quantized, every_half_is_unpacked_exactly);
        $test!(quantized, quantized_products_equal_dense_ones);
        $test!(quantized, quantized_products_keep_extreme_scales);
        $test!(quantized, a_low_rank_product_is_added_to_a_quantized_one);
        $test!(product, products_read_transposed_views);
        $test!(product, rows_that_vectors_cannot_cut_are_multiplied);
        $test!(product, products_read_slices);
    };
}

const TOLERANCE: f64 = 1e-5;

/// The number type of a check's activations.
#[derive(Debug, Clone, Copy)]
pub struct Numbers(pub Precision);

impl Numbers {
    /// Random values that this number type represents exactly.
    fn array<const D: usize>(self, random: &mut Random, shape: [usize; D]) -> Array<D> {
        self.round(random.array(shape))
    }

    /// The nearest values of this number type.
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
        tensor(array, device).cast(self.dtype())
    }

    fn dtype(self) -> FloatDType {
        match self.0 {
            Precision::Single => FloatDType::F32,
            Precision::Half => FloatDType::F16,
        }
    }

    /// The tolerance of a result whose tolerance in single precision is `single`. A half has eleven bits; sums of
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

/// The variants of the kernels, each in use until the next one; at the end, the one that suits the device.
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

/// Like [`variants`], for products with every kind of quantized weight. The register-only programs are so large that the
/// compiler of a native software GPU takes minutes for all of them; they are checked in a browser.
fn quantized_variants() -> impl Iterator<Item = String> {
    variants().filter(|variant| cfg!(target_family = "wasm") || variant != "Register")
}

/// Sizes divisible by four, or any sizes.
fn size(random: &mut Random, range: std::ops::Range<usize>, by_four: bool) -> usize {
    let size = random.size(range);
    if by_four {
        size.next_multiple_of(4)
    } else {
        size
    }
}

/// A matrix in the form that the kernels take.
fn on_device(matrix: &QuantizedMatrix, device: &Device) -> FrozenMatrix {
    FrozenMatrix::from_quantized(matrix.clone(), device)
}

/// Rows and columns that a kind allows: quantized kinds have whole blocks, and a quarter of the others is divisible by
/// four.
fn packed_shape(random: &mut Random, kind: WeightKind, by_four: bool) -> [usize; 2] {
    let cols = if kind.has_scales() {
        32 * random.size(1..5)
    } else {
        size(random, 1..150, by_four)
    };
    [size(random, 1..90, by_four), cols]
}
