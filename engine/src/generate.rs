//! Generates text token by token, with a cache of keys and values.

pub mod sampler;

mod stream;

pub use stream::{GenerationInput, context_length, generate};
