//! A weight matrix as stored, rearranged into 32-bit words that the CPU and the GPU unpack in the same way.
//!
//! Each row is contiguous. Weight `j` of a row sits in ascending bit order: 4-bit kinds hold eight weights per word
//! (`word j / 8`, bits `4 (j % 8)..`), 8-bit kinds four (GGUF's 5-bit kinds are widened to 8 bits; Q8_0 is stored with
//! 128 added, so that every field is unsigned), F16 and BF16 two (an odd row is padded with zero), F32 one. Quantized
//! kinds have one scale word per block of 32 weights: the low half is the bits of the f16 `d`, the high half those of
//! the f16 `m` (zero for the kinds without one).
//!
//! What differs from kind to kind is said once, in [`WeightKind::format`]; codecs and kernels go by it.

mod format;

pub use format::{Blocks, FloatKind, Format, Numbers, Stored, WeightKind};

/// Weights that share one scale.
pub const BLOCK: usize = 32;

/// A matrix `[rows, cols]` of frozen weights, quantized. `rows` are output features, as in HF's `Linear.weight`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizedMatrix {
    pub kind: WeightKind,
    pub rows: usize,
    pub cols: usize,
    /// `[rows, ceil(cols / weights_per_word)]`
    pub words: Vec<u32>,
    /// `[rows, cols / 32]`, empty for the float kinds
    pub scales: Vec<u32>,
}

/// Unpacks one row: `words` and `scales` are the row's, `out` has `cols` elements.
pub fn unpack_row(kind: WeightKind, words: &[u32], scales: &[u32], out: &mut [f32]) {
    let Format { bits, numbers, .. } = kind.format();
    let per_word = kind.weights_per_word();
    let mask = u32::MAX >> (32 - bits);
    let fields = |word: u32| (0..per_word as u32).map(move |index| word >> (bits * index) & mask);
    match numbers {
        Numbers::Floats(float) => {
            for (group, &word) in out.chunks_mut(per_word).zip(words) {
                for (weight, bits) in group.iter_mut().zip(fields(word)) {
                    *weight = float.value(bits);
                }
            }
        }
        Numbers::Blocks(blocks) => {
            for ((block, block_words), &scale) in out
                .chunks_mut(BLOCK)
                .zip(words.chunks(BLOCK / per_word))
                .zip(scales)
            {
                let (factor, offset) = blocks.factor_and_offset(scale);
                for (group, &word) in block.chunks_mut(per_word).zip(block_words) {
                    for (weight, field) in group.iter_mut().zip(fields(word)) {
                        *weight = field as f32 * factor + offset;
                    }
                }
            }
        }
    }
}
