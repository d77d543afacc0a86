//! A block of queries, and the keys that they see.

use std::ops::Range;

use super::{
    super::{
        gemm::{Accumulation, Output, multiply_panels},
        matrix::Strided,
        panel::WIDTH,
        parallel::Shared,
    },
    head_rows,
    sequence::{Sequence, Sequences},
    widths,
};
use crate::Heads;

/// Queries of a block.
pub const BLOCK: usize = 32;

/// A block of one head's queries.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    sequences: &'a Sequences,
    pub sequence: Sequence,
    /// The index of the sequence among all.
    pub index: usize,
    pub head: usize,
    pub rows: usize,
    /// The first query among all.
    pub first_row: usize,
    /// The position of the first query among the keys.
    position: usize,
    /// The keys of whole panels that no query sees, as they lie before the first that one sees.
    pub skipped: usize,
    /// Keys after those that some query sees.
    visible: usize,
}

impl<'a> Block<'a> {
    /// The block of the sequence `index` that begins at its query `start`.
    pub fn new(sequences: &'a Sequences, index: usize, head: usize, start: usize) -> Self {
        let sequence = sequences.list[index];
        let rows = BLOCK.min(sequence.tokens - start);
        let position = sequence.keys - sequence.tokens + start;
        let firsts = (position..position + rows).map(|at| sequences.first_visible(sequence, at));
        let skipped = firsts.min().unwrap_or_default() / WIDTH * WIDTH;
        Self {
            sequences,
            sequence,
            index,
            head,
            rows,
            first_row: sequence.first_query + start,
            position,
            skipped,
            visible: position + rows - skipped,
        }
    }

    /// Hides the scores of a row on other branches of a tree, and returns the range of those that count.
    pub fn visible_of(self, row: usize, scores: &mut [f32]) -> Range<usize> {
        let query = self.position + row;
        let first = self.sequences.first_visible(self.sequence, query);
        let visible = first - self.skipped..query + 1 - self.skipped;
        let counting = &mut scores[visible.clone()];
        self.sequences
            .hide_branches(self.sequence, query, first, counting);
        visible
    }

    /// Distance of two rows of scores.
    pub fn stride(self) -> usize {
        self.visible.next_multiple_of(WIDTH)
    }

    /// This block's rows of a tensor `[b t, h hd]`.
    pub fn rows_of(self, data: &[f32], heads: Heads) -> Strided<'_> {
        let [width, _] = widths(heads);
        head_rows(
            data,
            width,
            self.first_row,
            self.rows,
            self.head,
            heads.head_dim,
        )
    }

    /// Where this block's rows lie in a tensor `[b t, h hd]` of which each block writes its own.
    pub fn output(self, slice: Shared<'_>, heads: Heads) -> Output<'_> {
        let [width, _] = widths(heads);
        Output {
            slice,
            start: self.first_row * width + self.head * heads.head_dim,
            stride: width,
        }
    }

    /// `lhs B^T` against the keys that some query sees, into rows of scores.
    pub fn against_keys(self, lhs: Strided<'_>, panels: &[f32], scores: &mut [f32]) {
        let out = Output {
            slice: Shared::new(scores),
            start: 0,
            stride: self.stride(),
        };
        let panels = &panels[self.skipped * lhs.cols..];
        // SAFETY: the scores are this thread's own.
        unsafe {
            multiply_panels(
                lhs,
                panels,
                lhs.cols,
                0,
                self.visible,
                out,
                Accumulation::Replace,
            )
        };
    }

    /// A matrix of scores as the left side of a product.
    pub fn scores_matrix(self, scores: &[f32]) -> Strided<'_> {
        Strided::new(scores, [self.rows, self.visible], [self.stride(), 1])
    }
}
