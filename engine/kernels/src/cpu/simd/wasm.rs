//! wasm's 128-bit SIMD.

use core::arch::wasm32::*;

pub type Floats = v128;
pub type Words = v128;

#[inline(always)]
pub fn splat(x: f32) -> Floats {
    f32x4_splat(x)
}

/// # Safety
/// Four floats can be read.
#[inline(always)]
pub unsafe fn load(from: *const f32) -> Floats {
    // SAFETY: as the caller promises; wasm needs no alignment.
    unsafe { v128_load(from.cast()) }
}

/// # Safety
/// Four floats can be written.
#[inline(always)]
pub unsafe fn store(to: *mut f32, x: Floats) {
    // SAFETY: as the caller promises; wasm needs no alignment.
    unsafe { v128_store(to.cast(), x) }
}

#[inline(always)]
pub fn add(x: Floats, y: Floats) -> Floats {
    f32x4_add(x, y)
}

#[inline(always)]
pub fn sub(x: Floats, y: Floats) -> Floats {
    f32x4_sub(x, y)
}

#[inline(always)]
pub fn mul(x: Floats, y: Floats) -> Floats {
    f32x4_mul(x, y)
}

#[inline(always)]
pub fn div(x: Floats, y: Floats) -> Floats {
    f32x4_div(x, y)
}

#[inline(always)]
pub fn max(x: Floats, y: Floats) -> Floats {
    f32x4_max(x, y)
}

#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
pub fn mul_add(x: Floats, y: Floats, z: Floats) -> Floats {
    f32x4_relaxed_madd(x, y, z)
}

#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
pub fn mul_add(x: Floats, y: Floats, z: Floats) -> Floats {
    f32x4_add(f32x4_mul(x, y), z)
}

#[inline(always)]
pub fn to_array(x: Floats) -> [f32; 4] {
    [
        f32x4_extract_lane::<0>(x),
        f32x4_extract_lane::<1>(x),
        f32x4_extract_lane::<2>(x),
        f32x4_extract_lane::<3>(x),
    ]
}

#[inline(always)]
pub fn words(words: [u32; 4]) -> Words {
    u32x4(words[0], words[1], words[2], words[3])
}

#[inline(always)]
pub fn and(x: Words, y: Words) -> Words {
    v128_and(x, y)
}

/// `[x0, y0, x1, y1]` and `[x2, y2, x3, y3]`
#[inline(always)]
pub fn zip(x: Words, y: Words) -> [Words; 2] {
    [
        i32x4_shuffle::<0, 4, 1, 5>(x, y),
        i32x4_shuffle::<2, 6, 3, 7>(x, y),
    ]
}

#[inline(always)]
pub fn shift_right<const BITS: u32>(x: Words) -> Words {
    u32x4_shr(x, BITS)
}

#[inline(always)]
pub fn shift_left<const BITS: u32>(x: Words) -> Words {
    i32x4_shl(x, BITS)
}

#[inline(always)]
pub fn convert(x: Words) -> Floats {
    f32x4_convert_i32x4(x)
}

/// NaN only where `x` is.
#[inline(always)]
pub fn at_least(x: Floats, y: Floats) -> Floats {
    f32x4_pmax(x, y)
}

/// NaN only where `x` is.
#[inline(always)]
pub fn at_most(x: Floats, y: Floats) -> Floats {
    f32x4_pmin(x, y)
}

#[inline(always)]
pub fn zero_where_below(value: Floats, x: Floats, limit: Floats) -> Floats {
    v128_andnot(value, f32x4_lt(x, limit))
}

#[inline(always)]
pub fn to_bits(x: Floats) -> Words {
    x
}

#[inline(always)]
pub fn add_words(x: Words, y: Words) -> Words {
    i32x4_add(x, y)
}

#[inline(always)]
pub fn bits(x: Words) -> Floats {
    x
}

#[inline(always)]
pub fn with_bits(x: Floats, y: Words) -> Floats {
    v128_or(x, y)
}
