//! Converts rows of numbers into GGUF's types, bit for bit as ggml's reference does (`quantize_row_q8_0_ref` and its
//! neighbors in ggml-quants.c).
//!
//! A block is 32 weights with a scale `d` in f16:
//!
//! ```text
//! Q8_0   d = max|w| / 127       q = round(w / d), a signed byte            34 bytes
//! Q4_0   d = w_far / -8         q = min(15, floor(w / d + 8.5))            18 bytes
//!        w_far is the weight farthest from zero, with its sign, so that it becomes exactly q = 0
//! ```
//!
//! `d` is computed in f32, the numbers are divided by the f32, and only then it is rounded to f16: another order would
//! give other bytes than ggml.

use crate::weights::quantized::{BLOCK, Blocks, FloatKind, Format, Numbers, Stored, WeightKind};

/// Appends a row in the form `kind`; its length is a multiple of the kind's block.
///
/// Returns false if a number is not finite or too large for the type (f16 ends at 65,504); what was appended is then of
/// no use.
///
/// # Shapes
/// - `row`: `[cols]`
/// - `out`: grows by [`WeightKind::stored_row_bytes`] of `cols`
#[must_use]
pub(super) fn put_row(kind: WeightKind, row: &[f32], out: &mut Vec<u8>) -> bool {
    let Format { bits, numbers, .. } = kind.format();
    match numbers {
        Numbers::Blocks(blocks) => {
            let mut is_finite = true;
            for block in row.as_chunks().0 {
                is_finite &= put_block(blocks, bits, block, out);
            }
            is_finite
        }
        Numbers::Floats(float) => row.iter().fold(true, |is_finite, &value| {
            let (bits, bytes) = match float {
                FloatKind::F16 => (half::f16::from_f32(value).to_bits().into(), 2),
                FloatKind::Bf16 => (half::bf16::from_f32(value).to_bits().into(), 2),
                FloatKind::F32 => (value.to_bits(), 4),
            };
            out.extend(&bits.to_le_bytes()[..bytes]);
            is_finite && float.value(bits).is_finite()
        }),
    }
}

/// Appends a block of weights `d (q - zero) + m`, and returns whether everything in it is finite.
///
/// With an `m`, the numbers reach from the lowest weight to the highest. Otherwise the weight farthest from zero
/// becomes the end of the numbers: the lowest, whatever its sign, since they reach one further on that side; of signed
/// bytes, the highest.
///
/// ```text
///                  q of the farthest    range of q - zero
/// Q4_0  zero 8     0                    -8 .. 7
/// Q5_0  zero 16    0                    -16 .. 15
/// Q8_0  zero 128   1 or 255             -127 .. 127, symmetric
/// Q4_1  with m     0 or 15              0 .. 15, from the lowest weight to the highest
/// ```
fn put_block(blocks: Blocks, bits: u32, block: &[f32; BLOCK], out: &mut Vec<u8>) -> bool {
    // Five bits stand in a byte.
    let top = match blocks.stored {
        Stored::FifthBitsAndNibbles => 31,
        Stored::Nibbles | Stored::SignedBytes => (1u32 << bits) - 1,
    };
    let zero = f32::from(blocks.zero);
    // The first of equals, as in ggml; it decides the sign.
    let farthest = block.iter().fold(0.0f32, |most, &value| {
        if value.abs() > most.abs() {
            value
        } else {
            most
        }
    });
    let lowest = block.iter().copied().fold(f32::INFINITY, f32::min);
    let highest = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (d, m) = match blocks.stored {
        _ if blocks.has_minimum => ((highest - lowest) / top as f32, lowest),
        Stored::SignedBytes => (farthest.abs() / (zero - 1.0), 0.0),
        Stored::Nibbles | Stored::FifthBitsAndNibbles => (farthest / -zero, 0.0),
    };
    // A block of zeros has no scale; its numbers are all `zero`.
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let numbers = block.map(|value| match blocks.stored {
        // Flips the sign bit: a signed byte plus 128, as `Blocks` counts.
        Stored::SignedBytes => (value * inverse).round() as i8 as u8 ^ 0x80,
        _ => ((value - m) * inverse + (zero + 0.5)).min(top as f32) as u8,
    });
    let [d, m] = [d, m].map(half::f16::from_f32);
    let scale = u32::from(d.to_bits()) | u32::from(m.to_bits()) << 16;
    blocks.write(scale, &numbers, out);
    d.is_finite() && m.is_finite() && block.iter().all(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::Random,
        weights::{pack::pack_row, quantized::unpack_row},
    };

    /// Blocks of numbers, and their bytes in each type, all in hexadecimal.
    #[derive(serde::Deserialize)]
    struct Golden {
        values: Vec<String>,
        #[serde(rename = "Q8_0")]
        bytes: Vec<String>,
        #[serde(rename = "Q4_0")]
        nibbles: Vec<String>,
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks_exact(2);
        let pairs = digits.map(|pair| str::from_utf8(pair).unwrap());
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    #[test]
    fn blocks_have_the_bytes_of_llama_cpp() {
        let golden = include_str!("../../../../tests/fixtures/export/quantized.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        let kinds = [
            (WeightKind::Q8_0, &golden.bytes),
            (WeightKind::Q4_0, &golden.nibbles),
        ];
        for (kind, expected) in kinds {
            assert!(expected.len() > 10);
            for (values, expected) in golden.values.iter().zip(expected) {
                let values = bytes(values);
                let numbers = values.as_chunks().0.iter();
                let row: Vec<f32> = numbers.map(|&bytes| f32::from_le_bytes(bytes)).collect();
                let mut actual = Vec::new();
                assert!(put_row(kind, &row, &mut actual));
                assert_eq!(actual, bytes(expected), "{kind:?} of {row:?}");
            }
        }
    }

    /// Whatever a kind is, what was written reads back within half a step of its numbers.
    #[test]
    fn every_kind_is_written_as_near_as_it_can_be() {
        let mut random = Random::new();
        for kind in WeightKind::ALL {
            let row: Vec<f32> = random.units(4 * BLOCK);
            let mut stored = Vec::new();
            assert!(put_row(kind, &row, &mut stored));
            let (mut words, mut scales) = (vec![0; kind.words_per_row(row.len())], vec![0; 4]);
            pack_row(kind, &stored, &mut words, &mut scales).unwrap();
            let mut back = vec![0.0; row.len()];
            unpack_row(kind, &words, &scales, &mut back);
            for (at, (value, back)) in row.iter().zip(back).enumerate() {
                // Half a step, or a whole one at the far end, where a number is missing; and rounding of d and m.
                let step = kind.blocks().map_or(0.0, |blocks| {
                    blocks.factor_and_offset(scales[at / BLOCK]).0.abs()
                });
                let rounding = 1.0 / 128.0;
                let error = (value - back).abs();
                assert!(
                    error <= 1.01 * step + rounding,
                    "{kind:?}: {value} became {back}"
                );
            }
        }
    }

    #[test]
    fn numbers_that_a_form_cannot_hold_are_told() {
        let mut row = [1.0; BLOCK];
        for bad in [f32::NAN, f32::INFINITY, 1e9] {
            row[5] = bad;
            for kind in [WeightKind::F16, WeightKind::Q8_0, WeightKind::Q4_0] {
                assert!(!put_row(kind, &row, &mut Vec::new()), "{kind:?} of {bad}");
            }
        }
        row[5] = 1e9;
        assert!(put_row(WeightKind::F32, &row, &mut Vec::new()));
    }
}
