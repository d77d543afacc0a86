//! Generates text token by token, with a cache of keys and values.

pub mod sampler;

#[cfg(any(feature = "cpu", feature = "gpu"))]
mod stream;

#[cfg(any(feature = "cpu", feature = "gpu"))]
pub use stream::{GenerationInput, context_length, generate};
