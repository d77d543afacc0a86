//! Headers of GGUF files, versions 2 and 3 (which do not differ in anything that is read here). The format is
//! described in ggml's `docs/gguf.md`; type numbers are those of `ggml.h`.
//!
//! ```text
//! "GGUF" version:u32 num_tensors:u64 num_pairs:u64
//! num_pairs   x { key:text type:u32 value }                       text = length:u64 bytes
//! num_tensors x { name:text num_dims:u32 dims:[u64] type:u32 offset:u64 }   dims: fastest first
//! padding to general.alignment (32), then the tensors at their offsets
//! ```
//!
//! The header is read front to back through `HeaderReader`, which asks for slices of 256 KB, so a model on a
//! server costs a few requests. The number after a key is the type of its value:
//!
//! | number | value | read as |
//! |---|---|---|
//! | 0, 2, 4, 10 | u8, u16, u32, u64 | [`Value::Unsigned`] |
//! | 1, 3, 5, 11 | i8, i16, i32, i64 | [`Value::Unsigned`], or [`Value::Signed`] below zero |
//! | 6, 12 | f32, f64 | [`Value::Float`] |
//! | 7 | one byte, 0 or 1 | [`Value::Bool`] |
//! | 8 | text | [`Value::Text`] |
//! | 9 | type:u32 count:u64 items | [`Value::Strings`], [`Value::Integers`] for 4 and 5, or [`Value::OtherArray`] |

mod error;
mod metadata;
mod reader;
mod types;

use std::collections::BTreeSet;

use self::{reader::HeaderReader, types::ggml_type};
use super::{
    source::ByteSource,
    tensor::{LayoutProblem, MAX_TENSORS, TensorEntry, check_layout, checked_num_weights},
};

pub use self::{
    error::{GgufError, GgufProblem, Place},
    metadata::{Metadata, StringList, Value},
};

/// First bytes of every GGUF file.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// Bytes up to which a header may reach. Those of real models with large vocabularies take about 20 MB.
pub const MAX_HEADER_BYTES: u64 = 100 << 20;

/// Key-value pairs of a header; real models have some 40.
const MAX_PAIRS: u64 = 65_536;
/// Bytes of a key: the format's own limit.
const MAX_KEY_BYTES: u64 = 65_535;
/// Bytes of a tensor's name. The format allows 64; a longer one is no reason to refuse a file.
const MAX_NAME_BYTES: u64 = 1_024;
/// Bytes of one text. The longest in use are chat templates of some 10 KB.
const MAX_TEXT_BYTES: u64 = 16 << 20;
/// Dimensions of a tensor: ggml's own limit (`GGML_MAX_DIMS`).
const MAX_DIMENSIONS: u64 = 4;
/// Bytes to a multiple of which tensors are placed where `general.alignment` is absent.
const DEFAULT_ALIGNMENT: u64 = 32;
/// The number of array elements decoded at a time, so that the buffer stays small for a vocabulary's types.
const ARRAY_CHUNK: usize = 16_384;

/// A checked header: every tensor lies inside the file and none overlaps another.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    /// 2 or 3.
    pub version: u32,
    /// The key-value pairs.
    pub metadata: Metadata,
    /// In the order of the file, with absolute offsets and shapes in HF's order.
    pub tensors: Vec<TensorEntry>,
    /// Where the first tensor may begin.
    pub data_offset: u64,
}

impl GgufHeader {
    /// Reads the header in slices. Its lengths and counts are checked against the file's size before any
    /// allocation, and every tensor of a known type against the file's end and its neighbors.
    ///
    /// # Errors
    /// A [`GgufError`] with the byte, key or tensor of the first problem.
    pub async fn read(source: &dyn ByteSource) -> Result<Self, GgufError> {
        let mut reader = HeaderReader::new(source, MAX_HEADER_BYTES);
        let version = read_version(&mut reader).await?;
        let num_tensors = reader.u64().await?;
        let num_pairs = reader.u64().await?;
        let metadata = read_metadata(&mut reader, num_pairs).await?;
        let mut tensors = read_tensors(&mut reader, num_tensors).await?;
        let alignment = alignment(&metadata)?;
        let data_offset = reader
            .offset()
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| reader.error(GgufProblem::Alignment(alignment)))?;
        for tensor in &mut tensors {
            place_tensor(tensor, data_offset, alignment, source.num_bytes())?;
        }
        check_layout(&tensors, data_offset, false).map_err(|problem| {
            let (LayoutProblem::Overlap(tensor) | LayoutProblem::Hole(tensor)) = problem;
            tensor_error(tensor, GgufProblem::Overlap)
        })?;
        Ok(Self {
            version,
            metadata,
            tensors,
            data_offset,
        })
    }
}

/// Returns every pair of a header: its key, and its type and value as stored in the file, so that an export can
/// pass on keys that this engine does not understand.
///
/// ```text
/// general.alignment = 64     ("general.alignment", [04 00 00 00, 40 00 00 00])     type u32, then the value
/// ```
///
/// # Errors
/// Those of [`GgufHeader::read`] for the part before the tensors.
pub async fn stored_pairs(source: &dyn ByteSource) -> Result<Vec<(String, Vec<u8>)>, GgufError> {
    let mut reader = HeaderReader::new(source, MAX_HEADER_BYTES);
    read_version(&mut reader).await?;
    reader.u64().await?;
    let num_pairs = reader.u64().await?;
    check_cap(&reader, "number of metadata keys", num_pairs, MAX_PAIRS, 13)?;
    let mut pairs = Vec::new();
    for _ in 0..num_pairs {
        let key = reader.text("key length", MAX_KEY_BYTES).await?.to_owned();
        let start = reader.offset();
        let number = reader.u32().await?;
        read_value(&mut reader, number).await?;
        // Within the limit of a header.
        let num_bytes = (reader.offset() - start) as usize;
        let value = source.read(start, num_bytes).await;
        let value = value.map_err(|error| Place::Key(key.clone()).error(error.into()))?;
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Reads magic and version.
///
/// # Errors
/// [`GgufProblem::Magic`], [`GgufProblem::BigEndian`] if the version makes sense with its bytes swapped, or
/// [`GgufProblem::Version`].
async fn read_version(reader: &mut HeaderReader<'_>) -> Result<u32, GgufError> {
    let at = Place::Byte(0);
    if &reader.array::<4>().await? != MAGIC {
        return Err(at.error(GgufProblem::Magic));
    }
    let version = reader.u32().await?;
    match version {
        2 | 3 => Ok(version),
        _ if matches!(version.swap_bytes(), 1..=3) => Err(at.error(GgufProblem::BigEndian)),
        _ => Err(at.error(GgufProblem::Version(version))),
    }
}

/// Refuses a count above `limit`, or beyond what the rest of the file could hold at `item_bytes` or more each.
/// `what` names the count in messages.
///
/// # Errors
/// [`GgufProblem::Count`] or [`GgufProblem::BeyondEnd`].
fn check_cap(
    reader: &HeaderReader<'_>,
    what: &'static str,
    count: u64,
    limit: u64,
    item_bytes: u64,
) -> Result<usize, GgufError> {
    if count > limit {
        return Err(reader.error(GgufProblem::Count { what, count, limit }));
    }
    reader.check_count(what, count, item_bytes)
}

/// Reads all pairs; a key that occurs twice is refused.
async fn read_metadata(
    reader: &mut HeaderReader<'_>,
    num_pairs: u64,
) -> Result<Metadata, GgufError> {
    // The smallest pair has 13 bytes: an empty key, a type and one byte of value.
    check_cap(reader, "number of metadata keys", num_pairs, MAX_PAIRS, 13)?;
    let mut metadata = Metadata::default();
    for _ in 0..num_pairs {
        let key = reader.text("key length", MAX_KEY_BYTES).await?.to_owned();
        let number = reader.u32().await?;
        let value = read_value(reader, number).await?;
        metadata.insert(key, value)?;
    }
    Ok(metadata)
}

/// Reads one value of the type `number`. Integers that are not negative become [`Value::Unsigned`] whatever
/// their type, as writers choose signed and unsigned types freely.
async fn read_value(reader: &mut HeaderReader<'_>, number: u32) -> Result<Value, GgufError> {
    let signed = |number: i64| u64::try_from(number).map_or(Value::Signed(number), Value::Unsigned);
    Ok(match number {
        0 => Value::Unsigned(reader.array::<1>().await?[0].into()),
        1 => signed(i8::from_le_bytes(reader.array().await?).into()),
        2 => Value::Unsigned(u16::from_le_bytes(reader.array().await?).into()),
        3 => signed(i16::from_le_bytes(reader.array().await?).into()),
        4 => Value::Unsigned(reader.u32().await?.into()),
        5 => signed(i32::from_le_bytes(reader.array().await?).into()),
        6 => Value::Float(f32::from_le_bytes(reader.array().await?).into()),
        7 => match reader.array::<1>().await?[0] {
            flag @ (0 | 1) => Value::Bool(flag == 1),
            flag => return Err(reader.error(GgufProblem::Flag(flag))),
        },
        8 => Value::Text(
            reader
                .text("string length", MAX_TEXT_BYTES)
                .await?
                .to_owned(),
        ),
        9 => read_array(reader).await?,
        10 => Value::Unsigned(reader.u64().await?),
        11 => signed(i64::from_le_bytes(reader.array().await?)),
        12 => Value::Float(f64::from_le_bytes(reader.array().await?)),
        _ => return Err(reader.error(GgufProblem::ValueType(number))),
    })
}

/// Reads an array. Texts and 32-bit integers are kept; of other items only the count is, since no key that is
/// read here has them. Unsigned 32-bit items are taken as signed ones with the same bits.
///
/// # Errors
/// [`GgufProblem::NestedArray`], an unknown type, or a count that the file cannot hold.
async fn read_array(reader: &mut HeaderReader<'_>) -> Result<Value, GgufError> {
    let number = reader.u32().await?;
    let count = reader.u64().await?;
    // A text has at least the 8 bytes of its length.
    let item_bytes = match number {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => return Err(reader.error(GgufProblem::NestedArray)),
        _ => return Err(reader.error(GgufProblem::ValueType(number))),
    };
    let count = reader.check_count("array length", count, item_bytes)?;
    if number == 8 {
        let mut list = StringList::default();
        for _ in 0..count {
            list.push(reader.text("string length", MAX_TEXT_BYTES).await?);
        }
        return Ok(Value::Strings(list));
    }
    let is_integer = matches!(number, 4 | 5);
    // Grows as the file is read: a count is a claim until then.
    let mut integers = Vec::new();
    let mut left = count;
    while left > 0 {
        let taken = left.min(ARRAY_CHUNK);
        let bytes = reader.take(taken * item_bytes as usize).await?;
        if is_integer {
            let (words, _) = bytes.as_chunks::<4>();
            integers.extend(words.iter().map(|&word| i32::from_le_bytes(word)));
        }
        left -= taken;
    }
    Ok(if is_integer {
        Value::Integers(integers)
    } else {
        Value::OtherArray(count)
    })
}

/// Reads the tensors' entries; `offset` is still relative to the data and `num_bytes` unknown.
///
/// # Errors
/// A count beyond the limits, a name that occurs twice, or a type that ggml does not have.
async fn read_tensors(
    reader: &mut HeaderReader<'_>,
    num_tensors: u64,
) -> Result<Vec<TensorEntry>, GgufError> {
    // The smallest entry has 32 bytes: an empty name, the number of dimensions, one dimension, a type and an
    // offset.
    let count = check_cap(reader, "number of tensors", num_tensors, MAX_TENSORS, 32)?;
    let mut tensors = Vec::with_capacity(count);
    let mut names = BTreeSet::new();
    for _ in 0..count {
        let name = reader
            .text("length of a tensor's name", MAX_NAME_BYTES)
            .await?
            .to_owned();
        if !names.insert(name.clone()) {
            return Err(Place::Tensor(name).error(GgufProblem::Duplicate));
        }
        let num_dimensions = reader.u32().await?.into();
        let what = "number of dimensions";
        check_cap(reader, what, num_dimensions, MAX_DIMENSIONS, 8)?;
        let mut shape = Vec::new();
        for _ in 0..num_dimensions {
            shape.push(reader.u64().await?);
        }
        // ggml lists the fastest dimension first (`ne[0]`), HF the slowest.
        shape.reverse();
        let number = reader.u32().await?;
        let (type_name, kind) = ggml_type(number)
            .ok_or_else(|| Place::Tensor(name.clone()).error(GgufProblem::TensorType(number)))?;
        tensors.push(TensorEntry {
            name,
            shape,
            type_name,
            kind,
            offset: reader.u64().await?,
            num_bytes: 0,
        });
    }
    Ok(tensors)
}

/// Returns `general.alignment`.
///
/// # Errors
/// [`GgufProblem::Alignment`] unless it is a power of two; zero is none.
fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    let key = "general.alignment";
    let alignment = metadata.unsigned(key)?.unwrap_or(DEFAULT_ALIGNMENT);
    if alignment.is_power_of_two() {
        Ok(alignment)
    } else {
        Err(Place::Key(key.to_owned()).error(GgufProblem::Alignment(alignment)))
    }
}

/// Attaches a tensor's name to a problem.
fn tensor_error(tensor: &TensorEntry, problem: GgufProblem) -> GgufError {
    Place::Tensor(tensor.name.clone()).error(problem)
}

/// Makes the offset absolute and computes the size.
///
/// # Errors
/// [`GgufProblem::Misaligned`], [`GgufProblem::Shape`], or [`GgufProblem::Truncated`] if it reaches past the
/// file's end.
fn place_tensor(
    tensor: &mut TensorEntry,
    data_offset: u64,
    alignment: u64,
    file_bytes: u64,
) -> Result<(), GgufError> {
    if !tensor.offset.is_multiple_of(alignment) {
        let offset = tensor.offset;
        return Err(tensor_error(
            tensor,
            GgufProblem::Misaligned { offset, alignment },
        ));
    }
    let num_bytes = tensor_bytes(tensor).ok_or_else(|| {
        let (shape, type_name) = (tensor.shape.clone(), tensor.type_name);
        tensor_error(tensor, GgufProblem::Shape { shape, type_name })
    })?;
    let offset = data_offset.saturating_add(tensor.offset);
    let end = offset.saturating_add(num_bytes);
    if end > file_bytes {
        return Err(tensor_error(
            tensor,
            GgufProblem::Truncated {
                missing: end - file_bytes,
                num_bytes: file_bytes,
            },
        ));
    }
    tensor.offset = offset;
    tensor.num_bytes = num_bytes;
    Ok(())
}

/// Returns the bytes of a tensor, which is rows of whole blocks in sequence: zero for types that are not read,
/// `None` for an empty or overflowing shape and for rows that are no multiple of the block.
fn tensor_bytes(tensor: &TensorEntry) -> Option<u64> {
    let num_weights = checked_num_weights(&tensor.shape).filter(|&count| count > 0)?;
    let Some(kind) = tensor.kind else {
        return Some(0);
    };
    let row = tensor.shape.last()?;
    if !row.is_multiple_of(kind.stored_block() as u64) {
        return None;
    }
    (num_weights / kind.stored_block() as u64).checked_mul(kind.stored_block_bytes() as u64)
}
