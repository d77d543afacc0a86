//! Matrices in memory: floats with any strides, and quantized weights.

use crate::quantized::{BLOCK, FloatKind, WeightKind};

/// A matrix `[rows, cols]` in memory, element `(i, j)` at `i row_stride + j col_stride`.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    pub(super) data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl<'a> Strided<'a> {
    /// # Panics
    /// If an element would lie outside the slice, which is a bug in the caller.
    pub fn new(
        data: &'a [f32],
        [rows, cols]: [usize; 2],
        [row_stride, col_stride]: [usize; 2],
    ) -> Self {
        let is_empty = rows == 0 || cols == 0;
        assert!(is_empty || (rows - 1) * row_stride + (cols - 1) * col_stride < data.len());
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        }
    }

    /// Consecutive rows without gaps.
    pub fn contiguous(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::new(data, [rows, cols], [cols, 1])
    }

    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Rows from `start` on.
    pub fn rows_from(self, start: usize, rows: usize) -> Self {
        assert!(start + rows <= self.rows);
        Self {
            data: self.data.get(start * self.row_stride..).unwrap_or_default(),
            rows,
            ..self
        }
    }

    /// The elements of the first row, which are contiguous.
    pub fn first_row(&self) -> &'a [f32] {
        assert!(self.col_stride == 1 || self.cols <= 1);
        &self.data[..self.cols]
    }

    pub fn pointer(&self) -> *const f32 {
        self.data.as_ptr()
    }
}

/// A quantized matrix `[rows, cols]` in memory; see [`crate::quantized`].
#[derive(Clone, Copy)]
pub struct Quantized<'a> {
    pub kind: WeightKind,
    /// The number of a weight of zero; see [`crate::quantized::Blocks`].
    pub zero: f32,
    words: &'a [u32],
    scales: &'a [u32],
    pub rows: usize,
    pub cols: usize,
    row_words: usize,
    row_scales: usize,
}

impl<'a> Quantized<'a> {
    /// `words` and `scales` of `rows` rows; the scales of float kinds are ignored.
    pub fn new(
        kind: WeightKind,
        words: &'a [u32],
        scales: &'a [u32],
        [rows, cols]: [usize; 2],
    ) -> Self {
        Self {
            kind,
            zero: kind.blocks().map_or(0.0, |blocks| blocks.zero.into()),
            words,
            scales,
            rows,
            cols,
            row_words: cols.div_ceil(kind.weights_per_word()),
            row_scales: if kind.has_scales() { cols / BLOCK } else { 0 },
        }
    }

    /// The matrix itself, if its words are floats.
    pub fn as_floats(&self) -> Option<Strided<'a>> {
        let floats = bytemuck::cast_slice(self.words);
        let strides = [self.row_words, 1];
        (self.kind.float() == Some(FloatKind::F32))
            .then(|| Strided::new(floats, [self.rows, self.cols], strides))
    }

    /// The words of a row.
    #[inline(always)]
    pub fn words_of(&self, row: usize) -> &'a [u32] {
        &self.words[row * self.row_words..][..self.row_words]
    }

    /// The scales of a row, none for the float kinds.
    #[inline(always)]
    pub fn scales_of(&self, row: usize) -> &'a [u32] {
        &self.scales[row * self.row_scales..][..self.row_scales]
    }
}
