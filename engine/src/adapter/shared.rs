//! Matrices that are drawn once, are never trained, and that all modules of an adapter share.

use std::rc::Rc;

use burn::tensor::Device;
use protocol::{Failure, FailureKind};
use rand_chacha::ChaCha8Rng;

use super::{AdapterLayout, Matrix, fill_uniform};

/// One of these matrices, before it is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SharedMatrix {
    /// In `adapter_model.safetensors`.
    pub(crate) name: &'static str,
    pub(crate) shape: [usize; 2],
    /// Its numbers are uniform in `+-bound`.
    pub(super) bound: f64,
}

impl SharedMatrix {
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let [rows, cols] = self.shape;
        let mut values = vec![0.0; rows * cols];
        fill_uniform(&mut values, self.bound, rng);
        values
    }
}

/// The layout's shared matrices with these values.
///
/// # Errors
/// If the values are not those of the layout.
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
