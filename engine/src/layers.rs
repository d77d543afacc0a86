//! The parts of a decoder block: each a forward that saves what its hand-written backward needs.
//!
//! Only adapters learn. A backward therefore returns the gradient of its input and, where an adapter sits, of its
//! `A` and `B`; a frozen weight has none, and none is computed. What has no weight, or a frozen vector alone (norm,
//! attention, SwiGLU), is an operation of [`crate::kernels`].

pub mod block;
pub mod dropout;
pub mod frozen;
pub mod projection;
pub mod rope;
