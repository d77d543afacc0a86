//! A weight matrix as stored, rearranged into 32-bit words that the CPU and the GPU unpack in the same way.
//!
//! Each row is contiguous. Weight `j` of a row sits in ascending bit order: 4-bit kinds hold eight weights per word
//! (`word j / 8`, bits `4 (j % 8)..`), 8-bit kinds four (GGUF's 5-bit kinds are widened to 8 bits; Q8_0 is stored with
//! 128 added, so that every field is unsigned), F16 and BF16 two (an odd row is padded with zero), F32 one. Quantized
//! kinds have one scale word per block of 32 weights: the low half is the bits of the f16 `d`, the high half those of
//! the f16 `m` (zero for the kinds without one).

/// How the weights of a [`PackedMatrix`] are stored; named after GGUF's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PackedKind {
    /// `d (q - 8)`, 4 bits
    Q4_0,
    /// `d q + m`, 4 bits
    Q4_1,
    /// `d (q - 16)`, 5 bits in 8
    Q5_0,
    /// `d q + m`, 5 bits in 8
    Q5_1,
    /// `d (q - 128)`, 8 bits
    Q8_0,
    F16,
    Bf16,
    F32,
}

impl PackedKind {
    /// Weights in one 32-bit word.
    pub fn weights_per_word(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 => 8,
            Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 1,
        }
    }

    /// Whether blocks of [`BLOCK`] weights share a scale word.
    pub fn has_scales(self) -> bool {
        !matches!(self, Self::F16 | Self::Bf16 | Self::F32)
    }
}

/// Weights that share one scale.
pub const BLOCK: usize = 32;

/// A matrix `[rows, cols]` of frozen weights, packed. `rows` are output features, as in HF's `Linear.weight`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedMatrix {
    pub kind: PackedKind,
    pub rows: usize,
    pub cols: usize,
    /// `[rows, ceil(cols / weights_per_word)]`
    pub words: Vec<u32>,
    /// `[rows, cols / 32]`, empty for the float kinds
    pub scales: Vec<u32>,
}

/// Unpacks one row: `words` and `scales` are the row's, `out` has `cols` elements.
pub fn unpack_row(kind: PackedKind, words: &[u32], scales: &[u32], out: &mut [f32]) {
    let per_word = kind.weights_per_word();
    match kind {
        PackedKind::F32 => {
            for (weight, &word) in out.iter_mut().zip(words) {
                *weight = f32::from_bits(word);
            }
        }
        PackedKind::F16 | PackedKind::Bf16 => {
            for (pair, &word) in out.chunks_mut(per_word).zip(words) {
                for (half, weight) in pair.iter_mut().enumerate() {
                    let bits = (word >> (16 * half)) as u16;
                    *weight = if kind == PackedKind::F16 {
                        half::f16::from_bits(bits).to_f32()
                    } else {
                        half::bf16::from_bits(bits).to_f32()
                    };
                }
            }
        }
        _ => {
            let bits = 32 / per_word;
            let mask = (1u32 << bits) - 1;
            for ((block, block_words), &scale) in out
                .chunks_mut(BLOCK)
                .zip(words.chunks(BLOCK / per_word))
                .zip(scales)
            {
                let (factor, offset) = factor_and_offset(kind, scale);
                for (group, &word) in block.chunks_mut(per_word).zip(block_words) {
                    for (index, weight) in group.iter_mut().enumerate() {
                        *weight = ((word >> (bits * index)) & mask) as f32 * factor + offset;
                    }
                }
            }
        }
    }
}

/// The `factor` and `offset` with which a quantized weight is `factor q + offset`.
pub fn factor_and_offset(kind: PackedKind, scale: u32) -> (f32, f32) {
    let d = half::f16::from_bits(scale as u16).to_f32();
    let offset = match kind {
        PackedKind::Q4_0 => -8.0 * d,
        PackedKind::Q5_0 => -16.0 * d,
        PackedKind::Q8_0 => -128.0 * d,
        _ => half::f16::from_bits((scale >> 16) as u16).to_f32(),
    };
    (d, offset)
}
