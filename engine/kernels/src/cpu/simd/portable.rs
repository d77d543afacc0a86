//! Plain arrays, for native tests.

use std::array::from_fn;

pub type Floats = [f32; 4];
pub type Words = [u32; 4];

#[inline(always)]
pub fn splat(x: f32) -> Floats {
    [x; 4]
}

/// # Safety
/// Four floats can be read.
#[inline(always)]
pub unsafe fn load(from: *const f32) -> Floats {
    // SAFETY: as the caller promises.
    unsafe { from.cast::<Floats>().read_unaligned() }
}

/// # Safety
/// Four floats can be written.
#[inline(always)]
pub unsafe fn store(to: *mut f32, x: Floats) {
    // SAFETY: as the caller promises.
    unsafe { to.cast::<Floats>().write_unaligned(x) }
}

#[inline(always)]
pub fn add(x: Floats, y: Floats) -> Floats {
    from_fn(|i| x[i] + y[i])
}

#[inline(always)]
pub fn sub(x: Floats, y: Floats) -> Floats {
    from_fn(|i| x[i] - y[i])
}

#[inline(always)]
pub fn mul(x: Floats, y: Floats) -> Floats {
    from_fn(|i| x[i] * y[i])
}

#[inline(always)]
pub fn div(x: Floats, y: Floats) -> Floats {
    from_fn(|i| x[i] / y[i])
}

#[inline(always)]
pub fn max(x: Floats, y: Floats) -> Floats {
    from_fn(|i| {
        if x[i].is_nan() || x[i] > y[i] {
            x[i]
        } else {
            y[i]
        }
    })
}

#[inline(always)]
pub fn mul_add(x: Floats, y: Floats, z: Floats) -> Floats {
    from_fn(|i| x[i] * y[i] + z[i])
}

#[inline(always)]
pub fn to_array(x: Floats) -> [f32; 4] {
    x
}

#[inline(always)]
pub fn words(words: [u32; 4]) -> Words {
    words
}

#[inline(always)]
pub fn and(x: Words, y: Words) -> Words {
    from_fn(|i| x[i] & y[i])
}

/// `[x0, y0, x1, y1]` and `[x2, y2, x3, y3]`
#[inline(always)]
pub fn zip(x: Words, y: Words) -> [Words; 2] {
    [[x[0], y[0], x[1], y[1]], [x[2], y[2], x[3], y[3]]]
}

#[inline(always)]
pub fn shift_right<const BITS: u32>(x: Words) -> Words {
    x.map(|x| x >> BITS)
}

#[inline(always)]
pub fn shift_left<const BITS: u32>(x: Words) -> Words {
    x.map(|x| x << BITS)
}

#[inline(always)]
pub fn convert(x: Words) -> Floats {
    x.map(|x| x.cast_signed() as f32)
}

/// NaN only where `x` is.
#[inline(always)]
pub fn at_least(x: Floats, y: Floats) -> Floats {
    from_fn(|i| if x[i] < y[i] { y[i] } else { x[i] })
}

/// NaN only where `x` is.
#[inline(always)]
pub fn at_most(x: Floats, y: Floats) -> Floats {
    from_fn(|i| if y[i] < x[i] { y[i] } else { x[i] })
}

#[inline(always)]
pub fn zero_where_below(value: Floats, x: Floats, limit: Floats) -> Floats {
    from_fn(|i| if x[i] < limit[i] { 0.0 } else { value[i] })
}

#[inline(always)]
pub fn to_bits(x: Floats) -> Words {
    x.map(f32::to_bits)
}

#[inline(always)]
pub fn add_words(x: Words, y: Words) -> Words {
    from_fn(|i| x[i].wrapping_add(y[i]))
}

#[inline(always)]
pub fn bits(x: Words) -> Floats {
    x.map(f32::from_bits)
}

#[inline(always)]
pub fn with_bits(x: Floats, y: Words) -> Floats {
    from_fn(|i| f32::from_bits(x[i].to_bits() | y[i]))
}
