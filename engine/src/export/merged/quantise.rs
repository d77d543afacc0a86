//! Converts rows of numbers into GGUF's types, bit for bit as ggml's reference does (`quantize_row_q8_0_ref` and
//! `quantize_row_q4_0_ref` of ggml-quants.c).

use crate::weights::packed::{BLOCK, PackedKind};

/// Appends a row in the form `kind`; its length is a multiple of the kind's block.
///
/// Returns false if a number is not finite or too large for the type.
#[must_use]
pub(super) fn put_row(kind: PackedKind, row: &[f32], out: &mut Vec<u8>) -> bool {
    match kind {
        PackedKind::F16 => {
            let halves = row.iter().map(|&value| half::f16::from_f32(value));
            halves.fold(true, |is_finite, half| {
                out.extend(half.to_le_bytes());
                is_finite && half.is_finite()
            })
        }
        PackedKind::Q8_0 => put_blocks(row, out, 127.0, put_bytes),
        PackedKind::Q4_0 => put_blocks(row, out, -8.0, put_nibbles),
        _ => row.iter().fold(true, |is_finite, value| {
            out.extend(value.to_le_bytes());
            is_finite && value.is_finite()
        }),
    }
}

/// Blocks of `d`, an f16, and quants. The number farthest from zero becomes `end` times `d`: its absolute value for a
/// positive `end`; the number with its sign for a negative one, since four bits reach one further on that side.
fn put_blocks(
    row: &[f32],
    out: &mut Vec<u8>,
    end: f32,
    put: fn(&[f32], f32, &mut Vec<u8>),
) -> bool {
    let mut is_finite = true;
    for block in row.chunks_exact(BLOCK) {
        // The first of equals, as in ggml; it decides the sign.
        let farthest = block.iter().fold(0.0f32, |most, &value| {
            if value.abs() > most.abs() {
                value
            } else {
                most
            }
        });
        let d = if end > 0.0 { farthest.abs() } else { farthest } / end;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let half = half::f16::from_f32(d);
        is_finite &= half.is_finite() && block.iter().all(|value| value.is_finite());
        out.extend(half.to_le_bytes());
        put(block, inverse, out);
    }
    is_finite
}

fn put_bytes(block: &[f32], inverse: f32, out: &mut Vec<u8>) {
    out.extend(
        block
            .iter()
            .map(|value| (value * inverse).round() as i8 as u8),
    );
}

fn put_nibbles(block: &[f32], inverse: f32, out: &mut Vec<u8>) {
    let nibble = |value: f32| ((value * inverse + 8.5) as i8).min(15) as u8;
    let (low, high) = block.split_at(BLOCK / 2);
    let pairs = low.iter().zip(high);
    out.extend(pairs.map(|(&low, &high)| nibble(low) | nibble(high) << 4));
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let golden = include_str!("../../../../tests/fixtures/export/quantised.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        let kinds = [
            (PackedKind::Q8_0, &golden.bytes),
            (PackedKind::Q4_0, &golden.nibbles),
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

    #[test]
    fn numbers_that_a_form_cannot_hold_are_told() {
        let mut row = [1.0; BLOCK];
        for bad in [f32::NAN, f32::INFINITY, 1e9] {
            row[5] = bad;
            for kind in [PackedKind::F16, PackedKind::Q8_0, PackedKind::Q4_0] {
                assert!(!put_row(kind, &row, &mut Vec::new()), "{kind:?} of {bad}");
            }
        }
        row[5] = 1e9;
        assert!(put_row(PackedKind::F32, &row, &mut Vec::new()));
    }
}
