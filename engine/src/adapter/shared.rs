//! Matrices that are drawn once, are never trained, and that all modules of an adapter share: VeRA's `A` and `B`.
//!
//! They are as wide as the widest adapted module and as high as the highest; a smaller module uses the first columns
//! and rows. The adapter's file contains them (PEFT's `save_projection`), since no other random generator would draw
//! the same ones.

use std::rc::Rc;

use burn::tensor::Device;
use protocol::{Failure, FailureKind};
use rand_chacha::ChaCha8Rng;

use super::{AdapterLayout, Matrix, fill_uniform};

/// One of these matrices, before it is drawn: its name, its size and its distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SharedMatrix {
    /// Its whole name in `adapter_model.safetensors`, such as `base_model.vera_A`.
    pub(crate) name: &'static str,
    /// Rows and columns.
    pub(crate) shape: [usize; 2],
    /// Its numbers are uniform from `-bound` to `bound`.
    pub(super) bound: f64,
}

impl SharedMatrix {
    /// Draws the matrix.
    ///
    /// # Shapes
    /// - returns `[rows, cols]`, row by row
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let [rows, cols] = self.shape;
        let mut values = vec![0.0; rows * cols];
        fill_uniform(&mut values, self.bound, rng);
        values
    }
}

/// Puts the layout's shared matrices with these values on the device, in the layout's order.
///
/// # Errors
/// [`FailureKind::Internal`] if there are more or fewer matrices than the layout has, or one has another size.
pub(super) fn matrices(
    layout: &AdapterLayout,
    values: Vec<Vec<f32>>,
    device: &Device,
) -> Result<Vec<Rc<Matrix>>, Failure> {
    let shared = layout.shared();
    let expected = shared
        .iter()
        .map(|matrix| matrix.shape[0] * matrix.shape[1]);
    if !values.iter().map(Vec::len).eq(expected) {
        let what = "The matrices that all modules share do not fit the adapter.";
        return Err(Failure::new(FailureKind::Internal, what));
    }
    let matrices = shared.iter().zip(values);
    let matrices =
        matrices.map(|(matrix, values)| Rc::new(Matrix::new(values, matrix.shape, device)));
    Ok(matrices.collect())
}
