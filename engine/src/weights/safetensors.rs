//! Headers of safetensors files, as the specification in huggingface/safetensors describes them.
//!
//! ```text
//! byte 0      length: u64, little-endian      of the JSON; at most 100 MB
//! byte 8      {"__metadata__": {"format": "pt"},
//!              "model.norm.weight": {"dtype": "BF16", "shape": [576], "data_offsets": [0, 1152]}, ...}
//! byte 8 + length     the tensors: row-major, little-endian, without gaps
//! ```
//!
//! `data_offsets` count from the end of the header. Every byte after the header belongs to exactly one tensor: a
//! file with a hole, an overlap or bytes after the last tensor is refused, as are two entries of one name.
//!
//! The header is read on its own, unlike in the `safetensors` crate, which needs the whole file in memory.
//! Whether a tensor's values are finite is checked when it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

use super::{
    json::{self, JsonError},
    quantized::WeightKind,
    source::{ByteSource, SourceError},
    tensor::{LayoutProblem, MAX_TENSORS, TensorEntry, check_layout, checked_num_weights},
};

/// The limit of the format's own implementation (`MAX_HEADER_SIZE` in the `safetensors` crate).
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Dimensions of a tensor. Weights of decoders have one or two; this is far more than any weight has.
const MAX_DIMENSIONS: usize = 8;
/// Bytes before the JSON, which hold its length.
const LENGTH_BYTES: u64 = 8;

/// Whether a file that begins so is of this format: a plausible length, and then a JSON object.
pub fn is_start(head: &[u8]) -> bool {
    head.split_first_chunk::<8>().is_some_and(|(length, rest)| {
        u64::from_le_bytes(*length) <= MAX_HEADER_BYTES && rest.starts_with(b"{")
    })
}

/// Why a safetensors header cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SafetensorsError {
    /// The file ends before the header or before the last tensor does.
    #[error("the file of {num_bytes} bytes is cut off: at least {needed} are needed")]
    Truncated { num_bytes: u64, needed: u64 },
    /// The first eight bytes claim a header beyond [`MAX_HEADER_BYTES`]; most often the file is no safetensors
    /// file.
    #[error("the header of {0} bytes is larger than {MAX_HEADER_BYTES}")]
    HeaderTooLarge(u64),
    /// The header is no JSON, or not a map of tensors; also names that occur twice.
    #[error("the header is damaged: {0}")]
    Header(#[from] JsonError),
    /// A `dtype` that the specification does not have.
    #[error("element type {type_name:?} of tensor {tensor} does not exist")]
    TensorType { tensor: String, type_name: String },
    /// The shape times the size of an element is not the length of the tensor's bytes.
    #[error("tensor {tensor}: shape {shape:?} of {type_name} does not fill its {num_bytes} bytes")]
    Size {
        tensor: String,
        /// Slowest dimension first; empty for a scalar.
        shape: Vec<u64>,
        type_name: &'static str,
        num_bytes: u64,
    },
    /// `data_offsets` whose end is before their begin.
    #[error("tensor {tensor} ends before it begins")]
    Backwards { tensor: String },
    /// The tensor begins before the previous one ends.
    #[error("tensor {tensor} overlaps another one")]
    Overlap { tensor: String },
    /// Bytes before this tensor belong to no tensor.
    #[error("there are unused bytes before tensor {tensor}")]
    Hole { tensor: String },
    /// Bytes after the last tensor belong to no tensor.
    #[error("there are {num_bytes} bytes after the last tensor")]
    Trailing { num_bytes: u64 },
    /// The file could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl SafetensorsError {
    /// Returns the name of the tensor concerned, if the error is about a single one.
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Self::TensorType { tensor, .. }
            | Self::Size { tensor, .. }
            | Self::Backwards { tensor }
            | Self::Overlap { tensor }
            | Self::Hole { tensor } => Some(tensor),
            _ => None,
        }
    }
}

/// A checked header: its tensors fill the rest of the file without gaps or overlaps.
#[derive(Debug, Clone, PartialEq)]
pub struct SafetensorsHeader {
    /// `__metadata__`: free text by the program that wrote the file. Empty where there is none.
    pub metadata: BTreeMap<String, String>,
    /// The tensors in the order of the JSON, with offsets from the start of the file.
    pub tensors: Vec<TensorEntry>,
}

impl SafetensorsHeader {
    /// Reads the length and the JSON, and checks every tensor against the file's size. No weight is read.
    ///
    /// # Errors
    /// Any [`SafetensorsError`]; the first problem found is reported.
    pub async fn read(source: &dyn ByteSource) -> Result<Self, SafetensorsError> {
        let num_bytes = source.num_bytes();
        let truncated = |needed| SafetensorsError::Truncated { num_bytes, needed };
        if num_bytes < LENGTH_BYTES {
            return Err(truncated(LENGTH_BYTES));
        }
        let prefix = source.read(0, LENGTH_BYTES as usize).await?;
        let length = prefix
            .iter()
            .rev()
            .fold(0, |length, &byte| length << 8 | u64::from(byte));
        if length > MAX_HEADER_BYTES {
            return Err(SafetensorsError::HeaderTooLarge(length));
        }
        let data_offset = LENGTH_BYTES + length;
        if data_offset > num_bytes {
            return Err(truncated(data_offset));
        }
        let header: RawHeader =
            json::from_slice(&source.read(LENGTH_BYTES, length as usize).await?)?;
        let tensors: Vec<TensorEntry> = header
            .tensors
            .into_iter()
            .map(|(name, tensor)| entry(name, tensor, data_offset))
            .collect::<Result<_, _>>()?;
        let end = check_layout(&tensors, data_offset, true).map_err(layout_error)?;
        match end {
            _ if end > num_bytes => Err(truncated(end)),
            _ if end < num_bytes => Err(SafetensorsError::Trailing {
                num_bytes: num_bytes - end,
            }),
            _ => Ok(Self {
                metadata: header.metadata,
                tensors,
            }),
        }
    }
}

/// Turns a problem of the layout into this format's error.
fn layout_error(problem: LayoutProblem<'_>) -> SafetensorsError {
    match problem {
        LayoutProblem::Overlap(tensor) => SafetensorsError::Overlap {
            tensor: tensor.name.clone(),
        },
        LayoutProblem::Hole(tensor) => SafetensorsError::Hole {
            tensor: tensor.name.clone(),
        },
    }
}

/// Checks one tensor's type, shape and size, and makes its offset absolute.
///
/// Sizes are compared in bits, since an element of the 4- and 6-bit types is no whole number of bytes.
///
/// # Errors
/// [`SafetensorsError::TensorType`], [`SafetensorsError::Backwards`] or [`SafetensorsError::Size`].
fn entry(
    name: String,
    tensor: RawTensor,
    data_offset: u64,
) -> Result<TensorEntry, SafetensorsError> {
    let Some((type_name, bits, kind)) = element_type(&tensor.dtype) else {
        return Err(SafetensorsError::TensorType {
            tensor: name,
            type_name: tensor.dtype,
        });
    };
    let [begin, end] = tensor.data_offsets;
    let Some(num_bytes) = end.checked_sub(begin) else {
        return Err(SafetensorsError::Backwards { tensor: name });
    };
    let size = checked_num_weights(&tensor.shape).and_then(|count| count.checked_mul(bits));
    if size.is_none() || size != num_bytes.checked_mul(8) {
        return Err(SafetensorsError::Size {
            tensor: name,
            shape: tensor.shape,
            type_name,
            num_bytes,
        });
    }
    Ok(TensorEntry {
        name,
        shape: tensor.shape,
        type_name,
        kind,
        offset: data_offset.saturating_add(begin),
        num_bytes,
    })
}

/// Returns the specification's own name for a `dtype`, the bits of an element, and how this engine reads it:
/// F32, F16 and BF16 have a [`WeightKind`], the other types of the specification have none. `None` for anything
/// else.
fn element_type(name: &str) -> Option<(&'static str, u64, Option<WeightKind>)> {
    let floats = WeightKind::ALL
        .into_iter()
        .filter(|kind| kind.float().is_some());
    for (kind, format) in floats.map(|kind| (kind, kind.format())) {
        if format.name == name {
            return Some((format.name, format.bits.into(), Some(kind)));
        }
    }
    Some(match name {
        "F64" => ("F64", 64, None),
        "I64" => ("I64", 64, None),
        "U64" => ("U64", 64, None),
        "C64" => ("C64", 64, None),
        "I32" => ("I32", 32, None),
        "U32" => ("U32", 32, None),
        "I16" => ("I16", 16, None),
        "U16" => ("U16", 16, None),
        "I8" => ("I8", 8, None),
        "U8" => ("U8", 8, None),
        "BOOL" => ("BOOL", 8, None),
        "F8_E4M3" => ("F8_E4M3", 8, None),
        "F8_E5M2" => ("F8_E5M2", 8, None),
        "F8_E8M0" => ("F8_E8M0", 8, None),
        "F8_E4M3FNUZ" => ("F8_E4M3FNUZ", 8, None),
        "F8_E5M2FNUZ" => ("F8_E5M2FNUZ", 8, None),
        "F6_E2M3" => ("F6_E2M3", 6, None),
        "F6_E3M2" => ("F6_E3M2", 6, None),
        "F4" => ("F4", 4, None),
        _ => return None,
    })
}

/// An entry as the JSON has it. Unknown fields are refused, as the specification allows none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    /// The type in capitals, such as `BF16`.
    dtype: String,
    /// Slowest dimension first, as in HF.
    #[serde(deserialize_with = "shape")]
    shape: Vec<u64>,
    /// The beginning and end, relative to the end of the header.
    data_offsets: [u64; 2],
}

/// Reads a shape of at most [`MAX_DIMENSIONS`] numbers. Without the limit, a list as long as the header would
/// take several times its memory.
fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    struct ShapeVisitor;
    impl<'de> Visitor<'de> for ShapeVisitor {
        type Value = Vec<u64>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "a shape of at most {MAX_DIMENSIONS} dimensions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u64>, A::Error> {
            let mut shape = Vec::new();
            while let Some(size) = sequence.next_element()? {
                if shape.len() == MAX_DIMENSIONS {
                    return Err(A::Error::invalid_length(MAX_DIMENSIONS + 1, &self));
                }
                shape.push(size);
            }
            Ok(shape)
        }
    }
    deserializer.deserialize_seq(ShapeVisitor)
}

/// The header as the JSON has it, before any number in it is believed.
#[derive(Default)]
struct RawHeader {
    /// `__metadata__`, which is no tensor.
    metadata: BTreeMap<String, String>,
    /// Name and entry in the order of the file.
    tensors: Vec<(String, RawTensor)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Reads the map entry by entry, because serde's maps would keep only the last of equal names.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("{name} occurs twice")));
            }
            if name == "__metadata__" {
                header.metadata = map.next_value()?;
            } else if header.tensors.len() as u64 == MAX_TENSORS {
                return Err(A::Error::custom(format_args!(
                    "more than {MAX_TENSORS} tensors"
                )));
            } else {
                header.tensors.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}
