//! The parts of a decoder block: each a forward that saves what its hand-written backward needs.
//!
//! Only adapters are trained. A backward therefore returns the gradient of its input and, if there is an adapter, those
//! of its `A` and `B`; no gradients of frozen weights are computed. Parts without weights, or with only a frozen vector
//! (norm, attention, SwiGLU), are operations of [`crate::kernels`].

pub mod block;
pub mod dropout;
pub mod head_norm;
pub mod projection;
pub mod rope;

use burn::tensor::FloatDType;
use protocol::Precision;

/// The type of a block's activations in this precision.
pub fn float_type(precision: Precision) -> FloatDType {
    match precision {
        Precision::Single => FloatDType::F32,
        Precision::Half => FloatDType::F16,
    }
}
