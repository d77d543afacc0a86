//! Reads a stored matrix by slices of rows straight into its quantized form.
//!
//! ```text
//! file  | row 0 | row 1 | ... |   -> slice of some 4 MB -> pack_row -> words[place(row)], scales[place(row)]
//! ```
//!
//! At most one slice of the file is held next to the matrix itself. Rows go to their place in HF's order as
//! they come, so interleaved queries and keys cost no second pass.

use std::ops::Range;

use super::NamedSource;
use crate::weights::{
    error::{ModelError, TensorProblem},
    pack::pack_row,
    quantized::{QuantizedMatrix, unpack_row},
    tensor::TensorEntry,
};

/// Bytes read at once, unless a single row is larger.
const SLICE_BYTES: usize = 4 << 20;

/// What one allocation may take where addresses have 32 bits, as in wasm: Rust's limit is `isize::MAX`.
const MAX_MATRIX_BYTES: u64 = i32::MAX as u64;

/// How the stored rows map to those of HF's checkpoint; see [`crate::arch::RowOrder`] for why. `AsStored` leaves
/// every row where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    AsStored,
    /// Stored row `2 i + p` of a head is its row `p head_dim / 2 + i` in HF: GGUF rotates neighbors, HF rotates
    /// halves.
    Interleaved {
        head_dim: usize,
    },
}

impl RowOrder {
    /// Returns where the stored row `row` belongs in HF's order.
    ///
    /// ```text
    /// head_dim = 6    stored  0 1 2 3 4 5     HF  0 3 1 4 2 5
    /// ```
    fn place(self, row: usize) -> usize {
        match self {
            Self::AsStored => row,
            Self::Interleaved { head_dim } => {
                let within = row % head_dim;
                row - within + within % 2 * (head_dim / 2) + within / 2
            }
        }
    }
}

/// Reads `entry` as a matrix, which its shape was checked to be. Beyond the matrix itself it takes the memory
/// of one slice.
///
/// # Shapes
/// - the result: `[rows, cols]`
///
/// # Errors
/// As [`part`].
pub(super) async fn matrix(
    file: &NamedSource,
    entry: &TensorEntry,
    rows: usize,
    cols: usize,
    order: RowOrder,
) -> Result<QuantizedMatrix, ModelError> {
    part(file, entry, rows, 0..rows, cols, order).await
}

/// Reads only the rows `wanted` of a matrix; they must begin and end with a head where heads are interleaved.
///
/// `rows` is the height of the whole matrix, against which the entry's size is checked; only `wanted` takes memory.
///
/// # Shapes
/// - `entry`: `[rows, cols]`
/// - the result: `[wanted, cols]`
///
/// # Errors
/// [`ModelError::TooLarge`] beyond one allocation, [`ModelError::NonFinite`] with the stored row,
/// [`ModelError::Source`], and an entry of a type that is not read or of other bytes than the shape has.
pub(super) async fn part(
    file: &NamedSource,
    entry: &TensorEntry,
    rows: usize,
    wanted: Range<usize>,
    cols: usize,
    order: RowOrder,
) -> Result<QuantizedMatrix, ModelError> {
    let Some(kind) = entry.kind else {
        return Err(ModelError::Quantization {
            file: file.name.clone(),
            file_type: None,
            type_name: entry.type_name,
            tensor: entry.name.clone(),
            others: 0,
            is_gguf: false,
        });
    };
    let row_bytes = kind
        .stored_row_bytes(cols)
        .filter(|&row_bytes| row_bytes as u64 * rows as u64 == entry.num_bytes)
        .ok_or_else(|| unexpected_shape(file, entry, rows, cols))?;
    let (row_words, row_scales) = (kind.words_per_row(cols), kind.scales_per_row(cols));
    let num_wanted = wanted.len();
    let packed_bytes = (num_wanted as u64).saturating_mul(4 * (row_words + row_scales) as u64);
    if packed_bytes > MAX_MATRIX_BYTES {
        return Err(ModelError::TooLarge {
            file: format!("{} (tensor {})", file.name, entry.name),
            num_bytes: packed_bytes,
            limit: MAX_MATRIX_BYTES,
        });
    }
    let mut quantized = QuantizedMatrix {
        kind,
        rows: num_wanted,
        cols,
        words: vec![0; num_wanted * row_words],
        scales: vec![0; num_wanted * row_scales],
    };
    let rows_per_slice = (SLICE_BYTES / row_bytes.max(1)).max(1);
    let mut first = wanted.start;
    while first < wanted.end {
        let num_rows = rows_per_slice.min(wanted.end - first);
        let offset = entry.offset + (first * row_bytes) as u64;
        let slice = file.read(offset, num_rows * row_bytes).await?;
        for (row, stored) in (first..).zip(slice.chunks_exact(row_bytes)) {
            let place = order.place(row) - wanted.start;
            let words = &mut quantized.words[place * row_words..][..row_words];
            let scales = &mut quantized.scales[place * row_scales..][..row_scales];
            pack_row(kind, stored, words, scales).map_err(|error| ModelError::NonFinite {
                file: file.name.clone(),
                tensor: entry.name.clone(),
                row,
                error,
            })?;
        }
        first += num_rows;
    }
    Ok(quantized)
}

/// Returns the numbers of a matrix, row by row.
///
/// # Shapes
/// - the result: `[rows, cols]`
pub(super) fn numbers(matrix: &QuantizedMatrix) -> Vec<f32> {
    let QuantizedMatrix { kind, cols, .. } = *matrix;
    let mut values = vec![0.0; matrix.rows * cols];
    let (row_words, row_scales) = (kind.words_per_row(cols), kind.scales_per_row(cols));
    for (row, values) in values.chunks_exact_mut(cols).enumerate() {
        let words = &matrix.words[row * row_words..][..row_words];
        let scales = &matrix.scales[row * row_scales..][..row_scales];
        unpack_row(kind, words, scales, values);
    }
    values
}

/// Makes the error for an entry whose bytes do not fit the shape.
fn unexpected_shape(
    file: &NamedSource,
    entry: &TensorEntry,
    rows: usize,
    cols: usize,
) -> ModelError {
    ModelError::Tensors {
        file: file.name.clone(),
        problems: vec![TensorProblem::Shape {
            name: entry.name.clone(),
            expected: vec![rows as u64, cols as u64],
            found: entry.shape.clone(),
        }],
    }
}
