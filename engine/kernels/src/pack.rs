//! Converts stored rows of GGUF and safetensors files into the rows of a [`QuantizedMatrix`](super::quantized::QuantizedMatrix).
//!
//! Blocks of 32 weights as stored (`d`, `m`: f16; `qh`: the fifth bits, weight `j` at bit `j`; `qs`: nibbles, weight `j`
//! in the low half of byte `j`, weight `j + 16` in the high half):
//! ```text
//! Q4_0 d qs[16]   Q4_1 d m qs[16]   Q5_0 d qh[4] qs[16]   Q5_1 d m qh[4] qs[16]   Q8_0 d q[32]: i8
//! ```
//! [`WeightKind::format`] says which of these a kind has; [`Blocks::write`] writes them.

use super::quantized::{BLOCK, Blocks, FloatKind, Numbers, Stored, WeightKind};

/// A weight or a scale is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("column {column} is NaN or infinite")]
pub struct NonFinite {
    /// The first weight concerned, or the first of its block.
    pub column: usize,
}

impl WeightKind {
    /// The number of weights that the files store together.
    pub fn stored_block(self) -> usize {
        if self.has_scales() { BLOCK } else { 1 }
    }

    /// Bytes of such a group in the files.
    pub fn stored_block_bytes(self) -> usize {
        let format = self.format();
        match format.numbers {
            Numbers::Floats(_) => format.bits as usize / 8,
            Numbers::Blocks(blocks) => blocks.stored_bytes(),
        }
    }

    /// Bytes of a stored row of `cols` weights; `None` unless it consists of whole blocks.
    pub fn stored_row_bytes(self, cols: usize) -> Option<usize> {
        let whole = cols.is_multiple_of(self.stored_block());
        (cols / self.stored_block())
            .checked_mul(self.stored_block_bytes())
            .filter(|_| whole)
    }

    /// Words of a quantized row of `cols` weights.
    pub fn words_per_row(self, cols: usize) -> usize {
        cols.div_ceil(self.weights_per_word())
    }

    /// Scale words of a quantized row of `cols` weights.
    pub fn scales_per_row(self, cols: usize) -> usize {
        if self.has_scales() { cols / BLOCK } else { 0 }
    }
}

/// Packs one row. `stored` holds [`WeightKind::stored_row_bytes`] bytes, `words` and `scales` are the quantized row's.
pub fn pack_row(
    kind: WeightKind,
    stored: &[u8],
    words: &mut [u32],
    scales: &mut [u32],
) -> Result<(), NonFinite> {
    match kind.format().numbers {
        Numbers::Floats(float) => pack_floats(float, kind.weights_per_word(), stored, words),
        Numbers::Blocks(blocks) => {
            pack_blocks(blocks, kind.weights_per_word(), stored, words, scales)
        }
    }
}

/// Copies `per_word` little-endian floats per word.
fn pack_floats(
    float: FloatKind,
    per_word: usize,
    stored: &[u8],
    words: &mut [u32],
) -> Result<(), NonFinite> {
    let (bits, exponent) = (32 / per_word, float.exponent());
    for (index, (bytes, word)) in stored.chunks(4).zip(words).enumerate() {
        // The last half of an odd row is padded with zero.
        let mut padded = [0; 4];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u32::from_le_bytes(padded);
        for half in 0..per_word {
            if (*word >> (bits * half)) & exponent == exponent {
                let column = index * per_word + half;
                return Err(NonFinite { column });
            }
        }
    }
    Ok(())
}

fn pack_blocks(
    blocks: Blocks,
    per_word: usize,
    stored: &[u8],
    words: &mut [u32],
    scales: &mut [u32],
) -> Result<(), NonFinite> {
    let quantized = words.chunks_exact_mut(BLOCK / per_word);
    let all = stored.chunks_exact(blocks.stored_bytes());
    for (index, ((block, quantized), scale)) in all.zip(quantized).zip(scales).enumerate() {
        let (head, rest) = block.split_at(blocks.scale_bytes());
        *scale = word_from(head);
        if !half_is_finite(*scale) || !half_is_finite(*scale >> 16) {
            return Err(NonFinite {
                column: index * BLOCK,
            });
        }
        let fields = blocks.stored.read(rest);
        let bits = 32 / per_word;
        for (word, fields) in quantized.iter_mut().zip(fields.chunks_exact(per_word)) {
            let fields = fields.iter().rev();
            *word = fields.fold(0, |word, &field| word << bits | u32::from(field));
        }
    }
    Ok(())
}

impl Blocks {
    /// Appends a block as files store it: a scale word, and the numbers of its weights.
    pub fn write(self, scale: u32, numbers: &[u8; BLOCK], out: &mut Vec<u8>) {
        out.extend(&scale.to_le_bytes()[..self.scale_bytes()]);
        let (low, high) = numbers.split_at(BLOCK / 2);
        let nibbles = std::iter::zip(low, high).map(|(low, high)| low & 0x0F | high << 4);
        match self.stored {
            Stored::Nibbles => out.extend(nibbles),
            Stored::FifthBitsAndNibbles => {
                let fifth = |number: &u8| u32::from(number >> 4 & 1);
                let bits = numbers.iter().rev();
                let bits = bits.fold(0, |bits, number| bits << 1 | fifth(number));
                out.extend(bits.to_le_bytes());
                out.extend(nibbles);
            }
            Stored::SignedBytes => out.extend(numbers.iter().map(|number| number ^ 0x80)),
        }
    }
}

impl Stored {
    /// The numbers of a block, from its bytes after the scale.
    fn read(self, bytes: &[u8]) -> [u8; BLOCK] {
        let nibbles = |bytes: &[u8]| -> [u8; BLOCK] {
            std::array::from_fn(|weight| match weight < BLOCK / 2 {
                true => bytes[weight] & 0x0F,
                false => bytes[weight - BLOCK / 2] >> 4,
            })
        };
        match self {
            Self::Nibbles => nibbles(bytes),
            Self::FifthBitsAndNibbles => {
                let (fifth_bits, rest) = bytes.split_at(4);
                let (fifth_bits, low) = (word_from(fifth_bits), nibbles(rest));
                std::array::from_fn(|weight| low[weight] | ((fifth_bits >> weight & 1) << 4) as u8)
            }
            Self::SignedBytes => std::array::from_fn(|weight| bytes[weight] ^ 0x80),
        }
    }
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

#[cfg(test)]
mod tests;
