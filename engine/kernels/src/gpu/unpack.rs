//! Unpacks quantized words to f32 on the GPU; the layout is [`crate::quantized`]'s.

use burn::tensor::DType;
use burn_cubecl::{
    CubeBackend, kernel::into_contiguous, ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};
use cubecl::{calculate_cube_count_elemwise, prelude::*};

use crate::{
    operand::QuantizedOperand,
    quantized::{BLOCK, FloatKind, WeightKind},
};

/// The value of the f16 in the low half of a word. GPUs may flush f32 subnormals, so f16's own are scaled from their
/// integer mantissa.
#[cube]
fn f16_value(bits: u32) -> f32 {
    // 2^112 moves f16's exponent bias (15) to f32's (127); 2^-24 is f16's smallest subnormal.
    let normal = f32::reinterpret((bits & 0x7fff) << 13) * f32::reinterpret(0x7780_0000u32);
    let subnormal = f32::cast_from(bits & 0x3ff) * f32::reinterpret(0x3380_0000u32);
    let magnitude = select((bits & 0x7c00) == 0, subnormal, normal);
    select((bits & 0x8000) != 0, -magnitude, magnitude)
}

/// The factor of a block's weights.
#[cube]
pub fn factor(scale: u32) -> f32 {
    f16_value(scale & 0xffff)
}

/// What is added to factor times field.
#[cube]
pub fn offset(scale: u32, #[comptime] kind: WeightKind) -> f32 {
    if comptime!(has_minimum(kind)) {
        f16_value(scale >> 16)
    } else {
        factor(scale) * comptime!(zero_point(kind))
    }
}

/// The four weights in the low bits of a word of a kind with scales. The fields stay where they are and their factors
/// shrink instead, by powers of two: shifts by lane and unsigned conversions are slow on software GPUs.
#[cube]
pub fn unpack_four(
    bits: u32,
    factor: f32,
    offset: f32,
    #[comptime] kind: WeightKind,
) -> Vector<f32, Const<4>> {
    let mut weights = Vector::<f32, Const<4>>::new(offset);
    let width = comptime!(kind.format().bits);
    #[unroll]
    for i in 0..4usize {
        let shift = comptime!(width * i as u32);
        let mask = comptime!(((1u32 << width) - 1) << shift);
        // A signed conversion: the top byte comes down first.
        let weight = if comptime!(mask > 0x7fff_ffff) {
            f32::cast_from(i32::cast_from(bits >> shift)) * factor
        } else {
            let shrunk = factor * comptime!(1.0 / (1u32 << shift) as f32);
            f32::cast_from(i32::cast_from(bits & mask)) * shrunk
        };
        weights.insert(i, weight + offset);
    }
    weights
}

/// The four weights of two words of 16-bit floats.
#[cube]
pub fn unpack_halves(low: u32, high: u32, #[comptime] kind: WeightKind) -> Vector<f32, Const<4>> {
    let mut weights = Vector::<f32, Const<4>>::new(half_value(low & 0xffff, kind));
    weights.insert(1usize, half_value(low >> 16, kind));
    weights.insert(2usize, half_value(high & 0xffff, kind));
    weights.insert(3usize, half_value(high >> 16, kind));
    weights
}

/// The value of 16 bits of f16 or bf16.
#[cube]
fn half_value(bits: u32, #[comptime] kind: WeightKind) -> f32 {
    if comptime!(kind.float() == Some(FloatKind::F16)) {
        f16_value(bits)
    } else {
        f32::reinterpret(bits << 16)
    }
}

/// One thread unpacks one word. Threads follow the output's rows, so that writes are coalesced.
#[cube(launch_unchecked)]
fn unpack_kernel(
    words: &Tensor<u32>,
    scales: &Tensor<u32>,
    out: &mut Tensor<f32>,
    rows: usize,
    cols: usize,
    row_words: usize,
    #[comptime] kind: WeightKind,
    #[comptime] transposed: bool,
) {
    if ABSOLUTE_POS >= rows * row_words {
        terminate!();
    }
    let row = if transposed {
        ABSOLUTE_POS % rows
    } else {
        ABSOLUTE_POS / row_words
    };
    let word_index = if transposed {
        ABSOLUTE_POS / rows
    } else {
        ABSOLUTE_POS % row_words
    };
    let word = words[row * row_words + word_index];
    let per_word = comptime!(kind.weights_per_word());
    let bits = comptime!(32 / per_word as u32);
    let mask = comptime!(if per_word == 1 {
        u32::MAX
    } else {
        (1u32 << bits) - 1
    });

    let mut factor = 1.0f32;
    let mut added = 0.0f32;
    if comptime!(kind.has_scales()) {
        let block = word_index / comptime!(BLOCK / per_word);
        let scale = scales[row * (cols / BLOCK) + block];
        factor = f16_value(scale & 0xffff);
        added = offset(scale, kind);
    }
    #[unroll]
    for i in 0..per_word {
        let col = word_index * per_word + i;
        if col < cols {
            let field = (word >> (bits * u32::cast_from(i))) & mask;
            let weight = if comptime!(kind.float() == Some(FloatKind::F16)) {
                f16_value(field)
            } else if comptime!(kind.float() == Some(FloatKind::Bf16)) {
                f32::reinterpret(field << 16)
            } else if comptime!(kind.float() == Some(FloatKind::F32)) {
                f32::reinterpret(field)
            } else {
                f32::cast_from(field) * factor + added
            };
            let position = if transposed {
                col * rows + row
            } else {
                row * cols + col
            };
            out[position] = weight;
        }
    }
}

/// Whether a block has an offset of its own.
fn has_minimum(kind: WeightKind) -> bool {
    kind.blocks().is_some_and(|blocks| blocks.has_minimum)
}

/// What is added to `factor q`, in units of `factor`, for kinds without their own offset.
fn zero_point(kind: WeightKind) -> f32 {
    kind.blocks().map_or(0.0, |blocks| -f32::from(blocks.zero))
}

/// See [`super::super::KernelOps::unpack`].
pub fn unpack(weight: QuantizedOperand<CubeBackend>, transposed: bool) -> CubeTensor {
    let QuantizedOperand { kind, cols, .. } = weight;
    let [words, scales] = [weight.words, weight.scales].map(into_contiguous);
    let [rows, row_words] = [words.meta.shape()[0], words.meta.shape()[1]];
    let shape = if transposed {
        [cols, rows]
    } else {
        [rows, cols]
    };
    let out = empty_device_contiguous_dtype(
        words.client.clone(),
        words.device.clone(),
        shape.into(),
        DType::F32,
    );
    let client = out.client.clone();
    let threads = rows * row_words;
    let cube_dim = CubeDim::new_1d(256);
    // SAFETY: threads past the words end at once; a word's columns are checked against `cols`, and the scales hold
    // `cols / 32` words a row for the kinds that read them.
    unsafe {
        unpack_kernel::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, threads, cube_dim),
            cube_dim,
            words.into_tensor_arg(),
            scales.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            rows,
            cols,
            row_words,
            kind,
            transposed,
        );
    }
    out
}
