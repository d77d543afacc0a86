use std::time::SystemTime;

use half::{bf16, f16};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::quantized::unpack_row;

const KINDS: [WeightKind; 8] = WeightKind::ALL;

fn fresh_rng() -> ChaCha8Rng {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = now.unwrap().as_nanos() as u64;
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// Random bytes in which every scale and every float is finite.
fn random_row(kind: WeightKind, cols: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut stored = vec![0; kind.stored_row_bytes(cols).unwrap()];
    rng.fill_bytes(&mut stored);
    for block in stored.chunks_exact_mut(kind.stored_block_bytes()) {
        // The lowest exponent bit cleared: never all ones.
        match kind {
            WeightKind::F32 => block[2] &= 0x7F,
            WeightKind::Bf16 => block[0] &= 0x7F,
            WeightKind::Q4_1 | WeightKind::Q5_1 => {
                block[1] &= 0xFB;
                block[3] &= 0xFB;
            }
            _ => block[1] &= 0xFB,
        }
    }
    stored
}

/// The formats' definitions, weight by weight, in f64.
fn reference(kind: WeightKind, stored: &[u8]) -> Vec<f64> {
    let mut weights = Vec::new();
    for block in stored.chunks_exact(kind.stored_block_bytes()) {
        let half_at = |place: usize| f16::from_le_bytes([block[place], block[place + 1]]).to_f64();
        let nibble = |qs: &[u8], j: usize| match j {
            0..16 => qs[j] & 0x0F,
            _ => qs[j - 16] >> 4,
        };
        let five_bits = |qh: &[u8], qs: &[u8], j: usize| {
            nibble(qs, j)
                + if qh[j / 8] & (1 << (j % 8)) == 0 {
                    0
                } else {
                    16
                }
        };
        match kind {
            WeightKind::F32 => {
                let bytes = [block[0], block[1], block[2], block[3]];
                weights.push(f32::from_le_bytes(bytes).into());
            }
            WeightKind::F16 => weights.push(half_at(0)),
            WeightKind::Bf16 => weights.push(bf16::from_le_bytes([block[0], block[1]]).to_f64()),
            _ => weights.extend((0..BLOCK).map(|j| match kind {
                WeightKind::Q4_0 => half_at(0) * (f64::from(nibble(&block[2..], j)) - 8.0),
                WeightKind::Q4_1 => half_at(0) * f64::from(nibble(&block[4..], j)) + half_at(2),
                WeightKind::Q5_0 => {
                    half_at(0) * (f64::from(five_bits(&block[2..6], &block[6..], j)) - 16.0)
                }
                WeightKind::Q5_1 => {
                    half_at(0) * f64::from(five_bits(&block[4..8], &block[8..], j)) + half_at(2)
                }
                _ => half_at(0) * f64::from(block[2 + j] as i8),
            })),
        }
    }
    weights
}

fn pack(kind: WeightKind, stored: &[u8], cols: usize) -> Result<(Vec<u32>, Vec<u32>), NonFinite> {
    let mut words = vec![u32::MAX; kind.words_per_row(cols)];
    let mut scales = vec![u32::MAX; kind.scales_per_row(cols)];
    pack_row(kind, stored, &mut words, &mut scales)?;
    Ok((words, scales))
}

#[test]
fn unpacked_weights_are_the_formats_own() {
    let mut rng = fresh_rng();
    for kind in KINDS {
        for _ in 0..50 {
            let cols = BLOCK * rng.random_range(1..9);
            let stored = random_row(kind, cols, &mut rng);
            let (words, scales) = pack(kind, &stored, cols).unwrap();
            let mut weights = vec![f32::NAN; cols];
            unpack_row(kind, &words, &scales, &mut weights);
            for (column, (weight, exact)) in
                weights.iter().zip(reference(kind, &stored)).enumerate()
            {
                // One rounding at most, that of the last addition.
                assert_eq!(*weight, exact as f32, "{kind:?} column {column}");
            }
        }
    }
}

#[test]
fn an_odd_row_of_halves_is_padded_with_zero() {
    let mut rng = fresh_rng();
    for kind in [WeightKind::F16, WeightKind::Bf16] {
        let stored = random_row(kind, 7, &mut rng);
        let (words, scales) = pack(kind, &stored, 7).unwrap();
        assert_eq!((words.len(), scales.len()), (4, 0));
        assert_eq!(words[3] >> 16, 0);
        assert_eq!(
            words[3] as u16,
            u16::from_le_bytes([stored[12], stored[13]])
        );
    }
}

#[test]
fn layout_is_the_documented_one() {
    let scale = f16::from_f32(0.5).to_le_bytes();
    let quants: Vec<u8> = (0..32u8).map(|q| q.wrapping_sub(16)).collect();
    let (words, scales) = pack(WeightKind::Q8_0, &[&scale[..], &quants].concat(), 32).unwrap();
    assert_eq!(words[0], u32::from_le_bytes([112, 113, 114, 115]));
    assert_eq!(scales, [u32::from(f16::from_f32(0.5).to_bits())]);

    // Weight j of the block is j % 16.
    let nibbles: Vec<u8> = (0..16u8).map(|q| q << 4 | q).collect();
    let (words, _) = pack(WeightKind::Q4_0, &[&scale[..], &nibbles].concat(), 32).unwrap();
    assert_eq!(words, [0x7654_3210, 0xFEDC_BA98, 0x7654_3210, 0xFEDC_BA98]);

    // The same, and 16 added to the second half.
    let stored = [&scale[..], &[0, 0, 0xFF, 0xFF], &nibbles].concat();
    let (words, _) = pack(WeightKind::Q5_0, &stored, 32).unwrap();
    assert_eq!((words[0], words[7]), (0x0302_0100, 0x1F1E_1D1C));
}

#[test]
fn every_nan_and_infinity_is_found() {
    let mut rng = fresh_rng();
    let cols = 4 * BLOCK;
    for kind in KINDS {
        let block_bytes = kind.stored_block_bytes();
        let num_blocks = cols / kind.stored_block();
        for _ in 0..50 {
            let mut stored = random_row(kind, cols, &mut rng);
            let place = rng.random_range(0..num_blocks);
            let block = &mut stored[place * block_bytes..][..block_bytes];
            let (high, low) = match kind {
                WeightKind::F32 => (3, 2),
                _ => (1, 0),
            };
            let negative: u8 = if rng.random() { 0x80 } else { 0 };
            match kind {
                WeightKind::F32 | WeightKind::Bf16 => {
                    block[high] = 0x7F | negative;
                    block[low] |= 0x80;
                }
                WeightKind::Q4_1 | WeightKind::Q5_1 if rng.random() => block[3] = 0x7C | negative,
                _ => block[high] = 0x7C | negative,
            }
            let found = pack(kind, &stored, cols).unwrap_err();
            assert_eq!(found.column, place * kind.stored_block(), "{kind:?}");
        }
    }
}

#[test]
fn rows_must_consist_of_whole_blocks() {
    for kind in KINDS {
        assert_eq!(kind.stored_row_bytes(33).is_some(), !kind.has_scales());
        assert!(kind.stored_row_bytes(64).is_some());
    }
}

#[test]
fn blocks_are_written_as_they_were_read() {
    let mut rng = fresh_rng();
    for kind in KINDS {
        let Some(blocks) = kind.blocks() else {
            continue;
        };
        let stored = random_row(kind, 5 * BLOCK, &mut rng);
        let (mut words, mut scales) = (vec![0; kind.words_per_row(5 * BLOCK)], vec![0; 5]);
        pack_row(kind, &stored, &mut words, &mut scales).unwrap();
        let mut written = Vec::new();
        let per_word = kind.weights_per_word();
        for (words, &scale) in words.chunks_exact(BLOCK / per_word).zip(&scales) {
            let bits = 32 / per_word;
            let numbers = std::array::from_fn(|weight| {
                let field = words[weight / per_word] >> (bits * (weight % per_word));
                (field & ((1 << bits) - 1)) as u8
            });
            blocks.write(scale, &numbers, &mut written);
        }
        assert_eq!(written, stored, "{kind:?}");
    }
}
