//! Four floats at a time: wasm's 128-bit SIMD, and plain arrays, which the compiler vectorizes, in native tests.
//!
//! Besides `worker`, this is the only file that knows which machine it is compiled for. Built with `relaxed-simd`,
//! [`F32x4::mul_add`] is one fused instruction, otherwise a product and a sum.

#[cfg(not(target_arch = "wasm32"))]
mod portable;
#[cfg(target_arch = "wasm32")]
mod wasm;

#[cfg(not(target_arch = "wasm32"))]
use portable as lanes;
#[cfg(target_arch = "wasm32")]
use wasm as lanes;

/// Four floats.
#[derive(Clone, Copy)]
pub struct F32x4(lanes::Floats);

/// Four 32-bit words.
#[derive(Clone, Copy)]
pub struct U32x4(lanes::Words);

/// Lanes of an [`F32x4`].
pub const LANES: usize = 4;

impl F32x4 {
    #[inline(always)]
    pub fn splat(x: f32) -> Self {
        Self(lanes::splat(x))
    }

    #[inline(always)]
    pub fn zero() -> Self {
        Self::splat(0.0)
    }

    /// # Safety
    /// Four floats can be read from `from`, which need not be aligned.
    #[inline(always)]
    pub unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { lanes::load(from) })
    }

    /// # Safety
    /// Four floats can be written to `to`, which need not be aligned.
    #[inline(always)]
    pub unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { lanes::store(to, self.0) }
    }

    /// The first four elements of a slice.
    #[inline(always)]
    pub fn of(slice: &[f32]) -> Self {
        let four = &slice[..LANES];
        // SAFETY: four floats lie there.
        unsafe { Self::load(four.as_ptr()) }
    }

    /// Writes the first four elements of a slice.
    #[inline(always)]
    pub fn write(self, slice: &mut [f32]) {
        let four = &mut slice[..LANES];
        // SAFETY: four floats lie there.
        unsafe { self.store(four.as_mut_ptr()) }
    }

    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        Self(lanes::add(self.0, other.0))
    }

    #[inline(always)]
    pub fn minus(self, other: Self) -> Self {
        Self(lanes::sub(self.0, other.0))
    }

    #[inline(always)]
    pub fn times(self, other: Self) -> Self {
        Self(lanes::mul(self.0, other.0))
    }

    #[inline(always)]
    pub fn over(self, other: Self) -> Self {
        Self(lanes::div(self.0, other.0))
    }

    /// The larger lanes; NaN where either is.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self(lanes::max(self.0, other.0))
    }

    /// The larger lanes; NaN only where `self` is. One instruction, as `max` is not.
    #[inline(always)]
    fn at_least(self, other: Self) -> Self {
        Self(lanes::at_least(self.0, other.0))
    }

    /// The smaller lanes; NaN only where `self` is.
    #[inline(always)]
    fn at_most(self, other: Self) -> Self {
        Self(lanes::at_most(self.0, other.0))
    }

    /// Zero where `x` is below `limit`.
    #[inline(always)]
    fn zero_where_below(self, x: Self, limit: Self) -> Self {
        Self(lanes::zero_where_below(self.0, x.0, limit.0))
    }

    /// `self factor + addend`, rounded once or twice.
    #[inline(always)]
    pub fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(lanes::mul_add(self.0, factor.0, addend.0))
    }

    /// With the sign bits of `sign` added to those of positive numbers.
    #[inline(always)]
    pub fn with_sign(self, sign: U32x4) -> Self {
        Self(lanes::with_bits(self.0, sign.0))
    }

    #[inline(always)]
    pub fn to_array(self) -> [f32; LANES] {
        lanes::to_array(self.0)
    }

    #[inline(always)]
    pub fn sum(self) -> f32 {
        let [a, b, c, d] = self.to_array();
        (a + b) + (c + d)
    }

    #[inline(always)]
    pub fn largest(self) -> f32 {
        let [a, b, c, d] = self.to_array();
        let larger = |x: f32, y: f32| if x.is_nan() || x > y { x } else { y };
        larger(larger(a, b), larger(c, d))
    }

    /// `e^x` to about two units in the last place; 0 below -87, where f32's normal numbers end, and NaN for NaN. Cody
    /// and Waite's reduction to `|x| <= ln 2 / 2`, then the polynomial of Moshier's Cephes library.
    #[inline(always)]
    pub fn exp(self) -> Self {
        let lowest = Self::splat(-87.0);
        // Above 88.7 the result overflows as it should.
        let x = self.at_least(lowest).at_most(Self::splat(89.0));
        // Nearest multiple of ln 2: adding 1.5 * 2^23 rounds to an integer `n`, which then stands in the lowest bits.
        let rounder = Self::splat(12_582_912.0);
        let rounded = x.mul_add(Self::splat(std::f32::consts::LOG2_E), rounder);
        let n = rounded.minus(rounder);
        let x = n.mul_add(Self::splat(-0.693_359_4), x);
        let x = n.mul_add(Self::splat(2.121_944_4e-4), x);
        let mut y = Self::splat(1.987_569_1e-4);
        for coefficient in [
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ] {
            y = y.mul_add(x, Self::splat(coefficient));
        }
        let y = y.times(x).mul_add(x, x.plus(Self::splat(1.0)));
        // 2^n as 2^(n - 1) times 2, so that n = 128 still has an exponent.
        let exponent = rounded.to_bits().plus(U32x4::splat(126));
        let power = exponent.shift_left::<23>().as_floats();
        let result = y.times(power).times(Self::splat(2.0));
        result.zero_where_below(self, lowest)
    }

    /// The bits of the lanes.
    #[inline(always)]
    pub fn to_bits(self) -> U32x4 {
        U32x4(lanes::to_bits(self.0))
    }
}

impl U32x4 {
    #[inline(always)]
    pub fn new(words: [u32; LANES]) -> Self {
        Self(lanes::words(words))
    }

    #[inline(always)]
    pub fn splat(word: u32) -> Self {
        Self::new([word; LANES])
    }

    /// `[x0, y0, x1, y1]` and `[x2, y2, x3, y3]`
    #[inline(always)]
    pub fn zip(self, other: Self) -> [Self; 2] {
        lanes::zip(self.0, other.0).map(Self)
    }

    /// Columns of four rows.
    #[inline(always)]
    pub fn transpose([a, b, c, d]: [Self; LANES]) -> [Self; LANES] {
        let ([ac_low, ac_high], [bd_low, bd_high]) = (a.zip(c), b.zip(d));
        let ([first, second], [third, fourth]) = (ac_low.zip(bd_low), ac_high.zip(bd_high));
        [first, second, third, fourth]
    }

    #[inline(always)]
    pub fn and(self, mask: Self) -> Self {
        Self(lanes::and(self.0, mask.0))
    }

    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        Self(lanes::add_words(self.0, other.0))
    }

    #[inline(always)]
    pub fn shift_right<const BITS: u32>(self) -> Self {
        Self(lanes::shift_right::<BITS>(self.0))
    }

    #[inline(always)]
    pub fn shift_left<const BITS: u32>(self) -> Self {
        Self(lanes::shift_left::<BITS>(self.0))
    }

    /// The numbers, each below `2^31`, as floats.
    #[inline(always)]
    pub fn to_floats(self) -> F32x4 {
        F32x4(lanes::convert(self.0))
    }

    /// The bits of four floats.
    #[inline(always)]
    pub fn as_floats(self) -> F32x4 {
        F32x4(lanes::bits(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::F32x4;
    use crate::testing::Random;

    fn exp(x: f32) -> f32 {
        F32x4::splat(x).exp().to_array()[0]
    }

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        let mut random = Random::new();
        for _ in 0..100_000 {
            let x = 87.5 * random.unit() + 0.9;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(
                x < -86.9 || error < 2.0 * f64::from(f32::EPSILON),
                "e^{x}: {error:e}"
            );
        }
    }

    #[test]
    fn exponentials_of_extremes_are_what_floats_can_hold() {
        assert!(exp(f32::NAN).is_nan());
        for x in [-87.1, -1e4, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0, "e^{x}");
        }
        for x in [88.8, 1e4, f32::MAX, f32::INFINITY] {
            assert_eq!(exp(x), f32::INFINITY, "e^{x}");
        }
        assert_eq!(exp(0.0), 1.0);
    }
}
