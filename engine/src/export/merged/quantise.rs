//! Rows of numbers as GGUF stores them, to the bit as ggml's reference does (`quantize_row_q8_0_ref` and
//! `quantize_row_q4_0_ref` of ggml-quants.c).

use crate::weights::packed::{BLOCK, PackedKind};

/// Appends a row in the form `kind`; its length is a multiple of the kind's block.
///
/// Gives false where a number is not finite, or too large for the form.
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
/// positive `end`, the number with its sign for a negative one, since there four bits reach one further.
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
