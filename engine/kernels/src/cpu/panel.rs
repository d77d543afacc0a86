//! The right side of a product, as panels: [`WIDTH`] columns by some rows, row by row, padded with zeros.
//!
//! A panel is what the product's inner loop reads, a few kilobytes that stay in the first-level cache. Quantized weights
//! are unpacked straight into panels, so that a dense copy of a matrix never exists.

use std::slice::ChunksExactMut;

use super::{
    decode::{Codec, with_codec},
    matrix::{Quantized, Strided},
    simd::{F32x4, LANES, U32x4},
};
use crate::quantized::BLOCK;

/// Columns of a panel.
pub const WIDTH: usize = 8;

/// Panels over the columns that share a block's scale.
const PER_BLOCK: usize = BLOCK / WIDTH;

/// The right side `[k, n]` of a product.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    Dense(Strided<'a>),
    /// `W`; see [`Self::quantized`].
    Quantized(Quantized<'a>),
    /// `W^T`; see [`Self::quantized_transposed`].
    QuantizedTransposed(Quantized<'a>),
}

impl<'a> Right<'a> {
    /// `W`, dense where its words are floats.
    pub fn quantized(matrix: Quantized<'a>) -> Self {
        match matrix.as_floats() {
            Some(dense) => Self::Dense(dense),
            None => Self::Quantized(matrix),
        }
    }

    /// `W^T`, dense where its words are floats.
    pub fn quantized_transposed(matrix: Quantized<'a>) -> Self {
        match matrix.as_floats() {
            Some(dense) => Self::Dense(dense.transposed()),
            None => Self::QuantizedTransposed(matrix),
        }
    }

    /// `[k, n]`
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Self::Dense(matrix) => [matrix.rows, matrix.cols],
            Self::Quantized(matrix) => [matrix.rows, matrix.cols],
            Self::QuantizedTransposed(matrix) => [matrix.cols, matrix.rows],
        }
    }

    /// Fills consecutive panels with the columns from `column` on and the rows `start..start + depth`. For quantized
    /// matrices `start` and `column` are multiples of [`BLOCK`] and of [`WIDTH`].
    pub fn fill(&self, start: usize, column: usize, depth: usize, panels: &mut [f32]) {
        match self {
            Self::Dense(matrix) => fill_dense(matrix, start, column, depth, panels),
            Self::Quantized(matrix) => {
                with_codec!(matrix.kind, C => fill_quantized::<C>(matrix, start, column, depth, panels));
            }
            Self::QuantizedTransposed(matrix) => {
                with_codec!(matrix.kind, C => fill_transposed::<C>(matrix, start, column, depth, panels));
            }
        }
    }
}

/// The rows of a block's panels, panel by panel; missing rows are skipped.
fn rows_of_panels(panels: &mut [f32], depth: usize) -> [ChunksExactMut<'_, f32>; PER_BLOCK] {
    let mut panels = panels.chunks_exact_mut(depth * WIDTH);
    std::array::from_fn(|_| panels.next().unwrap_or_default().chunks_exact_mut(WIDTH))
}

fn fill_dense(matrix: &Strided<'_>, start: usize, column: usize, depth: usize, panels: &mut [f32]) {
    for (index, panels) in panels.chunks_mut(PER_BLOCK * depth * WIDTH).enumerate() {
        let column = column + index * BLOCK;
        let is_whole = column + BLOCK <= matrix.cols;
        match (matrix.row_stride, matrix.col_stride) {
            (_, 1) if is_whole => fill_dense_block(matrix, start, column, depth, panels),
            (1, _) if is_whole => fill_dense_transposed(matrix, start, column, depth, panels),
            _ => fill_dense_edge(matrix, start, column, depth, panels),
        }
    }
}

/// Fills as many columns as a block has, where neighboring columns are contiguous: a row's are read at once.
fn fill_dense_block(
    matrix: &Strided<'_>,
    start: usize,
    column: usize,
    depth: usize,
    panels: &mut [f32],
) {
    let mut rows = rows_of_panels(panels, depth);
    for row in start..start + depth {
        let from = &matrix.data[row * matrix.row_stride + column..][..BLOCK];
        for (rows, from) in rows.iter_mut().zip(from.chunks_exact(WIDTH)) {
            let Some(out) = rows.next() else { continue };
            let (low, high) = (F32x4::of(from), F32x4::of(&from[LANES..]));
            low.write(out);
            high.write(&mut out[LANES..]);
        }
    }
}

/// Like [`fill_dense_block`], where neighboring rows are contiguous.
fn fill_dense_transposed(
    matrix: &Strided<'_>,
    start: usize,
    column: usize,
    depth: usize,
    panels: &mut [f32],
) {
    for (index, panel) in panels.chunks_exact_mut(depth * WIDTH).enumerate() {
        let columns: [&[f32]; WIDTH] = std::array::from_fn(|lane| {
            let first = start + (column + index * WIDTH + lane) * matrix.col_stride;
            &matrix.data[first..][..depth]
        });
        let mut fours = panel.chunks_exact_mut(LANES * WIDTH);
        for (four, out) in (&mut fours).enumerate() {
            let of = |lane: usize| F32x4::of(&columns[lane][four * LANES..]).to_bits();
            let low = U32x4::transpose([0, 1, 2, 3].map(of));
            let high = U32x4::transpose([4, 5, 6, 7].map(of));
            for ((low, high), out) in low.into_iter().zip(high).zip(out.chunks_exact_mut(WIDTH)) {
                low.as_floats().write(out);
                high.as_floats().write(&mut out[LANES..]);
            }
        }
        let rest = fours.into_remainder().chunks_exact_mut(WIDTH);
        for (row, out) in (depth / LANES * LANES..).zip(rest) {
            for (out, column) in out.iter_mut().zip(columns) {
                *out = column[row];
            }
        }
    }
}

/// Like [`fill_dense_block`], where columns are missing or neither direction is contiguous.
fn fill_dense_edge(
    matrix: &Strided<'_>,
    start: usize,
    column: usize,
    depth: usize,
    panels: &mut [f32],
) {
    let (row_stride, col_stride) = (matrix.row_stride, matrix.col_stride);
    for (index, panel) in panels.chunks_exact_mut(depth * WIDTH).enumerate() {
        let column = column + index * WIDTH;
        let width = WIDTH.min(matrix.cols.saturating_sub(column));
        for (row, out) in panel.chunks_exact_mut(WIDTH).enumerate() {
            let first = (start + row) * row_stride + column * col_stride;
            for (lane, out) in out.iter_mut().enumerate() {
                *out = if lane < width {
                    matrix.data[first + lane * col_stride]
                } else {
                    0.0
                };
            }
        }
    }
}

/// `W`: a panel's row is eight neighboring weights of one of the matrix's rows.
fn fill_quantized<C: Codec>(
    matrix: &Quantized<'_>,
    start: usize,
    column: usize,
    depth: usize,
    panels: &mut [f32],
) {
    for (index, panels) in panels.chunks_mut(PER_BLOCK * depth * WIDTH).enumerate() {
        let column = column + index * BLOCK;
        if column.is_multiple_of(BLOCK) && column + BLOCK <= matrix.cols {
            fill_block::<C>(matrix, start, column, depth, panels);
        } else {
            fill_edge::<C>(matrix, start, column, depth, panels);
        }
    }
}

/// The panels of a block's columns. Everything a row has for them is read at once: the next row lies thousands of bytes
/// away, so the loop is only as fast as its number of reads in flight allows.
fn fill_block<C: Codec>(
    matrix: &Quantized<'_>,
    start: usize,
    column: usize,
    depth: usize,
    panels: &mut [f32],
) {
    let mut rows = rows_of_panels(panels, depth);
    for row in start..start + depth {
        let words = &matrix.words_of(row)[column / C::PER_WORD..][..BLOCK / C::PER_WORD];
        let scale = if C::HAS_SCALES {
            matrix.scales_of(row)[column / BLOCK]
        } else {
            0
        };
        let scaled = C::factor_and_offset(scale, matrix.zero);
        for (rows, words) in rows.iter_mut().zip(words.chunks_exact(WIDTH / C::PER_WORD)) {
            let Some(out) = rows.next() else { continue };
            write_eight::<C>(words, scaled, out);
        }
    }
}

/// Writes a row of a panel: the first eight weights of some words, with their block's factor and offset.
#[inline(always)]
fn write_eight<C: Codec>(words: &[u32], (factor, offset): (f32, f32), out: &mut [f32]) {
    let (factor, offset) = (F32x4::splat(factor), F32x4::splat(offset));
    let [low, high] = C::eight(words);
    low.mul_add(factor, offset).write(out);
    high.mul_add(factor, offset).write(&mut out[LANES..]);
}

/// Like [`fill_block`], where columns are missing.
fn fill_edge<C: Codec>(
    matrix: &Quantized<'_>,
    start: usize,
    column: usize,
    depth: usize,
    panels: &mut [f32],
) {
    for (index, panel) in panels.chunks_exact_mut(depth * WIDTH).enumerate() {
        let column = column + index * WIDTH;
        for (row, out) in panel.chunks_exact_mut(WIDTH).enumerate() {
            let words = matrix.words_of(start + row).get(column / C::PER_WORD..);
            let scale = matrix.scales_of(start + row).get(column / BLOCK).copied();
            let scaled = C::factor_and_offset(scale.unwrap_or_default(), matrix.zero);
            write_eight::<C>(words.unwrap_or_default(), scaled, out);
            // Past the last column, where a row's words end, the weights read as zero bits.
            let width = WIDTH.min(matrix.cols.saturating_sub(column));
            out[width..].fill(0.0);
        }
    }
}

/// `W^T`: a panel's column is a row of the matrix. Four rows' words are taken at a time, and a field of each makes four
/// neighboring elements of the panel.
fn fill_transposed<C: Codec>(
    matrix: &Quantized<'_>,
    start: usize,
    column: usize,
    depth: usize,
    panels: &mut [f32],
) {
    for (index, panel) in panels.chunks_exact_mut(depth * WIDTH).enumerate() {
        fill_transposed_panel::<C>(matrix, start, column + index * WIDTH, panel);
    }
}

fn fill_transposed_panel<C: Codec>(
    matrix: &Quantized<'_>,
    start: usize,
    column: usize,
    panel: &mut [f32],
) {
    for half in 0..WIDTH / LANES {
        // Columns past the last repeat it; their results are not written.
        let rows: [usize; LANES] =
            std::array::from_fn(|lane| (column + half * LANES + lane).min(matrix.rows - 1));
        let words = rows.map(|row| matrix.words_of(row));
        let scales = rows.map(|row| matrix.scales_of(row));
        let (mut factor, mut offset) = (F32x4::splat(1.0), F32x4::zero());
        let first = start / C::PER_WORD;
        let scaled = |word: usize| C::HAS_SCALES && (word * C::PER_WORD).is_multiple_of(BLOCK);
        // A block's scale lasts for a whole number of such groups.
        const GROUP: usize = LANES;
        for (index, out) in panel.chunks_mut(WIDTH * C::PER_WORD * GROUP).enumerate() {
            let word = first + index * GROUP;
            let fields_of = |word: usize| U32x4::new(words.map(|words| words[word]));
            if scaled(word) {
                let block = word * C::PER_WORD / BLOCK;
                let of_rows = scales.map(|scales| C::factor_and_offset(scales[block], matrix.zero));
                factor = F32x4::of(&of_rows.map(|(factor, _)| factor));
                offset = F32x4::of(&of_rows.map(|(_, offset)| offset));
            }
            let fields = match words.map(|words| words[word..].first_chunk()) {
                [Some(a), Some(b), Some(c), Some(d)] => {
                    U32x4::transpose([a, b, c, d].map(|four| U32x4::new(*four)))
                }
                // The end of the rows.
                _ => std::array::from_fn(|at| fields_of((word + at).min(words[0].len() - 1))),
            };
            let parts = out[half * LANES..].chunks_mut(WIDTH * C::PER_WORD);
            for (fields, out) in fields.into_iter().zip(parts) {
                C::each_field(fields, out.chunks_mut(WIDTH), factor, offset);
            }
        }
    }
}
