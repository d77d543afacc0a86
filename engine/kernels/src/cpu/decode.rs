//! Quantized words to floats, four at a time; the layout is [`crate::quantized`]'s.

use super::simd::{F32x4, LANES, U32x4};

/// How the fields of one width are read; all a weight needs besides is `factor field + offset`.
pub trait Codec {
    const PER_WORD: usize;
    const HAS_SCALES: bool;

    /// Of a scale word; `zero` is the number of a weight of zero.
    #[inline(always)]
    fn factor_and_offset(scale: u32, zero: f32) -> (f32, f32) {
        if !Self::HAS_SCALES {
            return (1.0, 0.0);
        }
        let (d, m) = (f16_value(scale & 0xffff), f16_value(scale >> 16));
        (d, m - zero * d)
    }

    /// The first eight fields of a row's words; missing words read as zero.
    fn eight(words: &[u32]) -> [F32x4; 2];

    /// Writes the fields of four words, field after field, to the chunks' first four elements.
    fn each_field<'a>(
        words: U32x4,
        out: impl Iterator<Item = &'a mut [f32]>,
        factor: F32x4,
        offset: F32x4,
    );
}

/// The value of an f16's bits: 2^112 moves the exponent's bias from 15 to f32's 127, for subnormals too. (Infinities,
/// which no weight is, would become finite.)
#[inline(always)]
fn f16_value(bits: u32) -> f32 {
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

/// Runs code with the codec of a kind known only at run time.
macro_rules! with_codec {
    ($kind:expr, $codec:ident => $code:expr) => {{
        use $crate::{
            cpu::decode,
            quantized::{FloatKind, Format, Numbers},
        };
        match $kind.format() {
            Format {
                numbers: Numbers::Blocks(_),
                bits: 4,
                ..
            } => {
                type $codec = decode::Nibbles;
                $code
            }
            Format {
                numbers: Numbers::Blocks(_),
                ..
            } => {
                type $codec = decode::Bytes;
                $code
            }
            Format {
                numbers: Numbers::Floats(FloatKind::F16),
                ..
            } => {
                type $codec = decode::F16;
                $code
            }
            Format {
                numbers: Numbers::Floats(FloatKind::Bf16),
                ..
            } => {
                type $codec = decode::Bf16;
                $code
            }
            Format {
                numbers: Numbers::Floats(FloatKind::F32),
                ..
            } => {
                type $codec = decode::F32;
                $code
            }
        }
    }};
}
pub(super) use with_codec;

/// [`Codec::each_field`] of fields with a factor and an offset.
#[inline(always)]
fn each_scaled<'a, const BITS: u32>(
    mut words: U32x4,
    out: impl Iterator<Item = &'a mut [f32]>,
    factor: F32x4,
    offset: F32x4,
) {
    let mask = U32x4::splat((1 << BITS) - 1);
    for out in out {
        let field = words.and(mask).to_floats();
        field.mul_add(factor, offset).write(out);
        words = words.shift_right::<BITS>();
    }
}

/// Four bits a field.
pub struct Nibbles;

impl Codec for Nibbles {
    const PER_WORD: usize = 8;
    const HAS_SCALES: bool = true;

    #[inline(always)]
    fn eight(words: &[u32]) -> [F32x4; 2] {
        let word = U32x4::splat(words[0]);
        // The fields where they stand, times what moves each to the ones' place: exact, being powers of two.
        let masks = U32x4::new([0xf, 0xf0, 0xf00, 0xf000]);
        let places = F32x4::of(&[1.0, 1.0 / 16.0, 1.0 / 256.0, 1.0 / 4096.0]);
        let low = word.and(masks).to_floats().times(places);
        let high = word
            .shift_right::<16>()
            .and(masks)
            .to_floats()
            .times(places);
        [low, high]
    }

    #[inline(always)]
    fn each_field<'a>(
        words: U32x4,
        out: impl Iterator<Item = &'a mut [f32]>,
        factor: F32x4,
        offset: F32x4,
    ) {
        each_scaled::<4>(words, out, factor, offset);
    }
}

/// Eight bits a field.
pub struct Bytes;

impl Codec for Bytes {
    const PER_WORD: usize = 4;
    const HAS_SCALES: bool = true;

    #[inline(always)]
    fn eight(words: &[u32]) -> [F32x4; 2] {
        let mask = U32x4::splat(0xff);
        [words[0], words[1]].map(|word| {
            U32x4::new([word, word >> 8, word >> 16, word >> 24])
                .and(mask)
                .to_floats()
        })
    }

    #[inline(always)]
    fn each_field<'a>(
        words: U32x4,
        out: impl Iterator<Item = &'a mut [f32]>,
        factor: F32x4,
        offset: F32x4,
    ) {
        each_scaled::<8>(words, out, factor, offset);
    }
}

/// The first four words; missing ones are zero.
#[inline(always)]
fn first_words(words: &[u32]) -> [u32; LANES] {
    match words.first_chunk() {
        Some(words) => *words,
        None => std::array::from_fn(|index| words.get(index).copied().unwrap_or_default()),
    }
}

/// The halves of words as floats; fields are widened in place.
macro_rules! halves {
    ($name:ident, $widen:expr) => {
        pub struct $name;

        impl Codec for $name {
            const PER_WORD: usize = 2;
            const HAS_SCALES: bool = false;

            #[inline(always)]
            fn eight(words: &[u32]) -> [F32x4; 2] {
                let widen: fn(U32x4) -> F32x4 = $widen;
                let words = U32x4::new(first_words(words));
                let low = words.and(U32x4::splat(0xffff));
                low.zip(words.shift_right::<16>()).map(widen)
            }

            #[inline(always)]
            fn each_field<'a>(
                words: U32x4,
                out: impl Iterator<Item = &'a mut [f32]>,
                _factor: F32x4,
                _offset: F32x4,
            ) {
                let widen: fn(U32x4) -> F32x4 = $widen;
                let mut words = words;
                for out in out {
                    widen(words.and(U32x4::splat(0xffff))).write(out);
                    words = words.shift_right::<16>();
                }
            }
        }
    };
}
halves!(F16, |bits| {
    // See `f16_value`.
    let magnitude = bits
        .and(U32x4::splat(0x7fff))
        .shift_left::<13>()
        .as_floats();
    let magnitude = magnitude.times(U32x4::splat(0x7780_0000).as_floats());
    let sign = bits.and(U32x4::splat(0x8000)).shift_left::<16>();
    magnitude.with_sign(sign)
});
halves!(Bf16, |bits| bits.shift_left::<16>().as_floats());

/// A word is a float.
pub struct F32;

impl Codec for F32 {
    const PER_WORD: usize = 1;
    const HAS_SCALES: bool = false;

    #[inline(always)]
    fn eight(words: &[u32]) -> [F32x4; 2] {
        let rest = words.get(LANES..).unwrap_or_default();
        [words, rest].map(|words| U32x4::new(first_words(words)).as_floats())
    }

    #[inline(always)]
    fn each_field<'a>(
        words: U32x4,
        out: impl Iterator<Item = &'a mut [f32]>,
        _factor: F32x4,
        _offset: F32x4,
    ) {
        for out in out.take(1) {
            words.as_floats().write(out);
        }
    }
}
