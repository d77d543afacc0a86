//! The parts of a decoder block: each a forward that saves what its hand-written backward needs.
//!
//! Only adapters are trained. A backward therefore returns the gradient of its input and, if there is an adapter, those
//! of what it trains; no gradients of frozen weights are computed. Parts without weights, or with only a frozen vector
//! (norm, attention, SwiGLU), are operations of [`crate::kernels`].
//!
//! | module | what |
//! |---|---|
//! | [`block`] | the block: order of the parts, residuals, what is saved, the cache of keys and values |
//! | [`projection`] | `x W^T` with a quantized `W`, a bias, and an adapter of any method |
//! | [`rope`] | the rotation of queries and keys by their positions |
//! | [`head_norm`] | the norm of each head that Qwen3 has |
//! | [`dropout`] | masks for adapters' inputs that can be drawn again |

pub mod block;
pub mod dropout;
pub mod head_norm;
pub mod projection;
pub mod rope;

use burn::tensor::FloatDType;
use protocol::Precision;

/// The type of a block's activations, and of their gradients, in this precision.
pub fn float_type(precision: Precision) -> FloatDType {
    match precision {
        Precision::Single => FloatDType::F32,
        Precision::Half => FloatDType::F16,
    }
}
