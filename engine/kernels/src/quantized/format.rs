//! The kinds of weights, each described once.

use super::BLOCK;

/// How the weights of a matrix are stored; named after GGUF's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightKind {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    F16,
    Bf16,
    F32,
}

/// All that codecs and kernels know of a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Format {
    /// GGUF's name; for floats, that of safetensors, too.
    pub name: &'static str,
    /// The number of the type in a GGUF file.
    pub ggml_type: u32,
    /// Bits of a field of a quantized word.
    pub bits: u32,
    pub numbers: Numbers,
}

/// What a field is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Numbers {
    /// The bits of a float.
    Floats(FloatKind),
    /// A number of a block that shares a scale.
    Blocks(Blocks),
}

/// The floats that weights are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatKind {
    F16,
    Bf16,
    F32,
}

/// Blocks of [`BLOCK`] weights `d (q - zero) + m` with unsigned numbers `q`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blocks {
    /// The number of a weight of zero, in blocks without an `m`.
    pub zero: u8,
    /// Whether a block has an `m`, stored after `d`; both are f16.
    pub has_minimum: bool,
    pub stored: Stored,
}

/// How a file stores the numbers of a block, after its scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The first half of the block in the low halves of its bytes, the second half in the high ones.
    Nibbles,
    /// A word of fifth bits, that of weight `j` at bit `j`, then [`Self::Nibbles`].
    FifthBitsAndNibbles,
    /// Signed bytes, which are 128 less than the numbers.
    SignedBytes,
}

// Products with one row rely on it: an offset is `m` or `-zero d`.
const _: () = {
    let mut at = 0;
    while at < WeightKind::ALL.len() {
        if let Some(blocks) = WeightKind::ALL[at].blocks() {
            assert!(blocks.zero == 0 || !blocks.has_minimum);
        }
        at += 1;
    }
};

impl WeightKind {
    pub const ALL: [Self; 8] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::F16,
        Self::Bf16,
        Self::F32,
    ];

    /// The kind's description. A kind that stores blocks of 32 weights in one of the ways of [`Stored`] is a line here.
    pub const fn format(self) -> Format {
        use Stored::{FifthBitsAndNibbles, Nibbles, SignedBytes};
        match self {
            //                       name    type  bits  zero  m      stored
            Self::Q4_0 => blocks("Q4_0", 2, 4, 8, false, Nibbles),
            Self::Q4_1 => blocks("Q4_1", 3, 4, 0, true, Nibbles),
            Self::Q5_0 => blocks("Q5_0", 6, 8, 16, false, FifthBitsAndNibbles),
            Self::Q5_1 => blocks("Q5_1", 7, 8, 0, true, FifthBitsAndNibbles),
            Self::Q8_0 => blocks("Q8_0", 8, 8, 128, false, SignedBytes),
            Self::F16 => floats("F16", 1, 16, FloatKind::F16),
            Self::Bf16 => floats("BF16", 30, 16, FloatKind::Bf16),
            Self::F32 => floats("F32", 0, 32, FloatKind::F32),
        }
    }

    /// Weights in one 32-bit word.
    pub const fn weights_per_word(self) -> usize {
        32 / self.format().bits as usize
    }

    /// The description of its blocks; none for floats.
    pub const fn blocks(self) -> Option<Blocks> {
        match self.format().numbers {
            Numbers::Blocks(blocks) => Some(blocks),
            Numbers::Floats(_) => None,
        }
    }

    /// The floats that it stores, if it does.
    pub const fn float(self) -> Option<FloatKind> {
        match self.format().numbers {
            Numbers::Floats(float) => Some(float),
            Numbers::Blocks(_) => None,
        }
    }

    /// Whether blocks of [`BLOCK`] weights share a scale word.
    pub const fn has_scales(self) -> bool {
        self.blocks().is_some()
    }
}

const fn blocks(
    name: &'static str,
    ggml_type: u32,
    bits: u32,
    zero: u8,
    has_minimum: bool,
    stored: Stored,
) -> Format {
    let blocks = Blocks {
        zero,
        has_minimum,
        stored,
    };
    Format {
        name,
        ggml_type,
        bits,
        numbers: Numbers::Blocks(blocks),
    }
}

const fn floats(name: &'static str, ggml_type: u32, bits: u32, float: FloatKind) -> Format {
    Format {
        name,
        ggml_type,
        bits,
        numbers: Numbers::Floats(float),
    }
}

impl FloatKind {
    /// The bits that are all set in a NaN or infinity.
    pub const fn exponent(self) -> u32 {
        match self {
            Self::F16 => 0x7C00,
            Self::Bf16 => 0x7F80,
            Self::F32 => 0x7F80_0000,
        }
    }

    /// The float with these bits.
    pub fn value(self, bits: u32) -> f32 {
        match self {
            Self::F16 => half::f16::from_bits(bits as u16).to_f32(),
            Self::Bf16 => half::bf16::from_bits(bits as u16).to_f32(),
            Self::F32 => f32::from_bits(bits),
        }
    }
}

impl Blocks {
    /// Bytes of a block in a file.
    pub const fn stored_bytes(self) -> usize {
        self.scale_bytes() + self.stored.num_bytes()
    }

    /// Bytes of a block's scale in a file.
    pub const fn scale_bytes(self) -> usize {
        if self.has_minimum { 4 } else { 2 }
    }

    /// The `factor` and `offset` with which a weight is `factor q + offset`, from a scale word.
    pub fn factor_and_offset(self, scale: u32) -> (f32, f32) {
        let [d, m] = [scale, scale >> 16].map(|bits| half::f16::from_bits(bits as u16).to_f32());
        (d, m - f32::from(self.zero) * d)
    }
}

impl Stored {
    const fn num_bytes(self) -> usize {
        match self {
            Self::Nibbles => BLOCK / 2,
            Self::FifthBitsAndNibbles => 4 + BLOCK / 2,
            Self::SignedBytes => BLOCK,
        }
    }
}
