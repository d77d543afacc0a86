//! A chunk of the head: logits, running softmax, and the weighted sum of its rows.

use super::{
    gemm::{Into, gemm, matmul},
    matrix::{Quantized, Strided},
    panel::Right,
    parallel::Shared,
    row,
};

/// The running sums of the softmax over the vocabulary; see [`crate::KernelOps::head_chunk`].
pub struct Sums {
    /// `[s]`
    pub maximum: Vec<f32>,
    /// `[s]`
    pub sum: Vec<f32>,
    /// `[s, d]`
    pub weighted: Vec<f32>,
}

impl Sums {
    /// Adds the rows of the head `[c, d]` to the sums over `hidden` `[s, d]`.
    pub fn add(&mut self, hidden: Strided<'_>, rows: Quantized<'_>, with_gradient: bool) {
        let (s, d, c) = (hidden.rows, rows.cols, rows.rows);
        let mut logits = matmul(hidden, Right::quantized_transposed(rows));
        let [maximum, sum, weighted] =
            [&mut self.maximum, &mut self.sum, &mut self.weighted].map(|sums| Shared::new(sums));
        row::for_each_row(&mut logits, c, |row, logits| {
            // SAFETY: every row is handed out once.
            let (maximum, sum) = unsafe {
                (
                    &mut maximum.part(row..row + 1)[0],
                    &mut sum.part(row..row + 1)[0],
                )
            };
            let before = *maximum;
            let largest = row::largest(logits);
            // A NaN is the largest of all, so that it is seen.
            if largest.is_nan() || largest > before {
                *maximum = largest;
            }
            let rescale = (before - *maximum).exp();
            *sum = *sum * rescale + row::exponentials(logits, 1.0, *maximum);
            if with_gradient && rescale != 1.0 {
                // SAFETY: as above.
                row::scale(unsafe { weighted.part(row * d..(row + 1) * d) }, rescale);
            }
        });
        if with_gradient {
            let logits = Strided::contiguous(&logits, s, c);
            let add = Into::Add { factor: 1.0 };
            gemm(logits, Right::quantized(rows), &mut self.weighted, add);
        }
    }
}
