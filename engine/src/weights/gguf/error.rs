//! What can be wrong with a GGUF file.

use std::fmt;

use crate::weights::source::SourceError;

/// A GGUF header that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{problem} ({place})")]
pub struct GgufError {
    pub place: Place,
    pub problem: GgufProblem,
}

/// Where in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Byte(u64),
    Key(String),
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

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GgufProblem {
    #[error("the file does not begin with GGUF")]
    Magic,
    #[error("the file is big-endian, which is not supported")]
    BigEndian,
    #[error("GGUF version {0} is not supported (2 and 3 are)")]
    Version(u32),
    #[error("the file is cut off: {missing} more bytes are needed than its {num_bytes}")]
    Truncated { missing: u64, num_bytes: u64 },
    #[error("the header is larger than {0} bytes")]
    HeaderTooLarge(u64),
    #[error("{what} {count} is impossible: at most {limit}")]
    Count {
        what: &'static str,
        count: u64,
        limit: u64,
    },
    #[error(
        "the file is cut off or damaged: {what} {count}, but at most {limit} fit in the rest of it"
    )]
    BeyondEnd {
        what: &'static str,
        count: u64,
        limit: u64,
    },
    #[error("the text is not valid UTF-8")]
    Utf8,
    #[error("a flag has the value {0} instead of 0 or 1")]
    Flag(u8),
    #[error("metadata type {0} does not exist")]
    ValueType(u32),
    #[error("arrays inside arrays are not supported")]
    NestedArray,
    #[error("the name occurs twice")]
    Duplicate,
    #[error("expected {expected}, found {found}")]
    WrongType {
        expected: &'static str,
        found: &'static str,
    },
    #[error("the alignment {0} is not a power of two")]
    Alignment(u64),
    #[error("tensor type {0} does not exist")]
    TensorType(u32),
    #[error("the shape {shape:?} does not fit the type {type_name}")]
    Shape {
        shape: Vec<u64>,
        type_name: &'static str,
    },
    #[error("the offset {offset} is not a multiple of the alignment {alignment}")]
    Misaligned { offset: u64, alignment: u64 },
    #[error("its bytes overlap those of another tensor")]
    Overlap,
    #[error(transparent)]
    Source(#[from] SourceError),
}
