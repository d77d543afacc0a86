//! Generates text token by token, with a cache of keys and values.
//!
//! ```text
//! conversation -> Encoder::render_chat -> ids
//!   -> Model::next_logits over chunks of the prompt, then one token at a time -> logits [v]   (device)
//!   -> Sampler::sample -> id -> decode_stream -> text, told piece by piece                    (host)
//! ```
//!
//! The same loop serves the base and every adapter, so their answers differ in nothing but the adapter.

pub mod sampler;

mod stream;

pub use stream::{GenerationInput, context_length, generate};
