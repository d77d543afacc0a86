//! Converts stored rows of GGUF and safetensors files into the rows of a [`PackedMatrix`](super::packed::PackedMatrix).
//!
//! Blocks of 32 weights as stored (`d`, `m`: f16; `qh`: the fifth bits, weight `j` at bit `j`; `qs`: nibbles, weight `j`
//! in the low half of byte `j`, weight `j + 16` in the high half):
//! ```text
//! Q4_0 d qs[16]   Q4_1 d m qs[16]   Q5_0 d qh[4] qs[16]   Q5_1 d m qh[4] qs[16]   Q8_0 d q[32]: i8
//! ```

use super::packed::{BLOCK, PackedKind};

/// A weight or a scale is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("column {column} is NaN or infinite")]
pub struct NonFinite {
    /// The first weight concerned, or the first of its block.
    pub column: usize,
}

impl PackedKind {
    /// The number of weights that the files store together.
    pub fn stored_block(self) -> usize {
        if self.has_scales() { BLOCK } else { 1 }
    }

    /// Bytes of such a group in the files.
    pub fn stored_block_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// Bytes of a stored row of `cols` weights; `None` unless it consists of whole blocks.
    pub fn stored_row_bytes(self, cols: usize) -> Option<usize> {
        let whole = cols.is_multiple_of(self.stored_block());
        (cols / self.stored_block())
            .checked_mul(self.stored_block_bytes())
            .filter(|_| whole)
    }

    /// Words of a packed row of `cols` weights.
    pub fn words_per_row(self, cols: usize) -> usize {
        cols.div_ceil(self.weights_per_word())
    }

    /// Scale words of a packed row of `cols` weights.
    pub fn scales_per_row(self, cols: usize) -> usize {
        if self.has_scales() { cols / BLOCK } else { 0 }
    }
}

/// Packs one row. `stored` holds [`PackedKind::stored_row_bytes`] bytes, `words` and `scales` are the packed row's.
pub fn pack_row(
    kind: PackedKind,
    stored: &[u8],
    words: &mut [u32],
    scales: &mut [u32],
) -> Result<(), NonFinite> {
    match kind {
        PackedKind::F32 => pack_floats::<1>(stored, words, 0x7F80_0000),
        PackedKind::F16 => pack_floats::<2>(stored, words, 0x7C00),
        PackedKind::Bf16 => pack_floats::<2>(stored, words, 0x7F80),
        _ => pack_blocks(kind, stored, words, scales),
    }
}

/// Copies `PER_WORD` little-endian floats per word; all bits of `exponent` are set in a NaN or infinity.
fn pack_floats<const PER_WORD: usize>(
    stored: &[u8],
    words: &mut [u32],
    exponent: u32,
) -> Result<(), NonFinite> {
    let bits = 32 / PER_WORD as u32;
    for (index, (bytes, word)) in stored.chunks(4).zip(words).enumerate() {
        // The last half of an odd row is padded with zero.
        let mut padded = [0; 4];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u32::from_le_bytes(padded);
        for half in 0..PER_WORD {
            if (*word >> (bits * half as u32)) & exponent == exponent {
                let column = index * PER_WORD + half;
                return Err(NonFinite { column });
            }
        }
    }
    Ok(())
}

fn pack_blocks(
    kind: PackedKind,
    stored: &[u8],
    words: &mut [u32],
    scales: &mut [u32],
) -> Result<(), NonFinite> {
    let blocks = stored.chunks_exact(kind.stored_block_bytes());
    let packed = words.chunks_exact_mut(BLOCK / kind.weights_per_word());
    for (index, ((block, packed), scale)) in blocks.zip(packed).zip(scales).enumerate() {
        let has_offset = matches!(kind, PackedKind::Q4_1 | PackedKind::Q5_1);
        let (head, rest) = block.split_at(if has_offset { 4 } else { 2 });
        *scale = word_from(head);
        if !half_is_finite(*scale) || !half_is_finite(*scale >> 16) {
            return Err(NonFinite {
                column: index * BLOCK,
            });
        }
        match kind {
            PackedKind::Q8_0 => pack_bytes(rest, packed),
            PackedKind::Q5_0 | PackedKind::Q5_1 => {
                let (fifth_bits, nibbles) = rest.split_at(4);
                pack_five_bits(word_from(fifth_bits), nibbles, packed);
            }
            _ => pack_nibbles(rest, packed),
        }
    }
    Ok(())
}

/// Up to four little-endian bytes.
pub fn word_from(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u32::from(byte))
}

/// Whether the f16 in the low half of `bits` is a number.
fn half_is_finite(bits: u32) -> bool {
    bits & 0x7C00 != 0x7C00
}

/// Signed bytes to unsigned ones with 128 added.
fn pack_bytes(weights: &[u8], words: &mut [u32]) {
    for (word, weights) in words.iter_mut().zip(weights.chunks_exact(4)) {
        *word = word_from(weights) ^ 0x8080_8080;
    }
}

/// Low halves of the 16 bytes first, then the high halves, eight to a word.
fn pack_nibbles(nibbles: &[u8], words: &mut [u32]) {
    for (index, word) in words.iter_mut().enumerate() {
        let (bytes, shift) = (&nibbles[8 * (index % 2)..][..8], 4 * (index / 2));
        *word = bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 4 | u32::from(byte >> shift & 0x0F));
    }
}

/// Nibbles and fifth bits to whole bytes, four to a word.
fn pack_five_bits(fifth_bits: u32, nibbles: &[u8], words: &mut [u32]) {
    for (index, word) in words.iter_mut().enumerate() {
        *word = (0..4).rev().fold(0, |word, byte| {
            let weight = 4 * index + byte;
            let nibble = nibbles[weight % 16] >> (4 * (weight / 16)) & 0x0F;
            let fifth = (fifth_bits >> weight & 1) << 4;
            word << 8 | fifth | u32::from(nibble)
        });
    }
}

#[cfg(test)]
mod tests;
