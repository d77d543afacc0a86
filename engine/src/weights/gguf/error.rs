//! What can be wrong with a GGUF file, and where in it.
//!
//! The place goes into the user's message, since these files are converted by many programs and the key or
//! tensor tells which of them to blame.

use std::fmt;

use crate::weights::source::SourceError;

/// A problem of a GGUF header and its place.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{problem} ({place})")]
pub struct GgufError {
    /// The byte, key or tensor concerned.
    pub place: Place,
    /// What is wrong there.
    pub problem: GgufProblem,
}

/// A place in a GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The offset in the file at which reading stopped.
    Byte(u64),
    /// A metadata key, such as `llama.block_count`.
    Key(String),
    /// A tensor by its GGUF name, such as `blk.0.attn_q.weight`.
    Tensor(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(offset) => write!(formatter, "byte {offset}"),
            Self::Key(key) => write!(formatter, "metadata key {key}"),
            Self::Tensor(name) => write!(formatter, "tensor {name}"),
        }
    }
}

impl Place {
    /// Attaches this place to a problem.
    pub(super) fn error(self, problem: GgufProblem) -> GgufError {
        GgufError {
            place: self,
            problem,
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GgufProblem {
    /// The first four bytes are not `GGUF`.
    #[error("the file does not begin with GGUF")]
    Magic,
    /// The version has its bytes swapped: a file for big-endian machines.
    #[error("the file is big-endian, which is not supported")]
    BigEndian,
    /// A version other than 2 and 3.
    #[error("GGUF version {0} is not supported (2 and 3 are)")]
    Version(u32),
    /// The file ends too early; `num_bytes` is its size.
    #[error("the file is cut off: {missing} more bytes are needed than its {num_bytes}")]
    Truncated { missing: u64, num_bytes: u64 },
    /// The header does not end within this many bytes.
    #[error("the header is larger than {0} bytes")]
    HeaderTooLarge(u64),
    /// A length or count above its fixed limit.
    #[error("{what} {count} is impossible: at most {limit}")]
    Count {
        /// What is counted, in words.
        what: &'static str,
        count: u64,
        limit: u64,
    },
    /// A length or count that the rest of the file cannot hold.
    #[error(
        "the file is cut off or damaged: {what} {count}, but at most {limit} fit in the rest of it"
    )]
    BeyondEnd {
        /// What is counted, in words.
        what: &'static str,
        count: u64,
        /// The most that the rest of the file could hold.
        limit: u64,
    },
    /// A key, name or text that is not UTF-8.
    #[error("the text is not valid UTF-8")]
    Utf8,
    /// A boolean byte other than 0 and 1.
    #[error("a flag has the value {0} instead of 0 or 1")]
    Flag(u8),
    /// A number that is no type of a metadata value.
    #[error("metadata type {0} does not exist")]
    ValueType(u32),
    /// An array of arrays, which no model uses.
    #[error("arrays inside arrays are not supported")]
    NestedArray,
    /// A key or a tensor's name that occurs twice.
    #[error("the name occurs twice")]
    Duplicate,
    /// A key whose value has another type than its meaning needs; both in words.
    #[error("expected {expected}, found {found}")]
    WrongType {
        expected: &'static str,
        found: &'static str,
    },
    /// `general.alignment` is no power of two.
    #[error("the alignment {0} is not a power of two")]
    Alignment(u64),
    /// A tensor of a type that ggml does not have, or did not have yet.
    #[error("tensor type {0} does not exist")]
    TensorType(u32),
    /// An empty or overflowing shape, or rows that are not whole blocks. The shape is in HF's order.
    #[error("the shape {shape:?} does not fit the type {type_name}")]
    Shape {
        shape: Vec<u64>,
        type_name: &'static str,
    },
    /// A tensor's offset that breaks the file's own alignment.
    #[error("the offset {offset} is not a multiple of the alignment {alignment}")]
    Misaligned { offset: u64, alignment: u64 },
    /// Two tensors share bytes.
    #[error("its bytes overlap those of another tensor")]
    Overlap,
    /// The file could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}
