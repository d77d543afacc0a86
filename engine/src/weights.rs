//! Reads model files: GGUF and safetensors headers through ranged reads, and quantized matrices under HF names.
//!
//! ```text
//! [NamedSource] -> checkpoint::open -> ModelFiles { config, tokenizer, template, tensors checked }
//!                    ModelFiles::matrix(HF name, shape) -> QuantizedMatrix, rows in HF's order
//! ```
//!
//! Everything in a file is untrusted: every count and length is compared with the file's size before anything
//! is allocated for it, and JSON is bounded in depth before it is parsed. A model is checked completely
//! (settings, vocabulary, the name, type and shape of every tensor) before the first weight is read.
//!
//! | module | what |
//! |---|---|
//! | [`source`], [`hash`] | bytes by ranges; the SHA-256 of a file |
//! | [`gguf`], [`safetensors`], [`json`] | the formats, knowing nothing of models |
//! | [`tensor`], [`names`] | one entry of a header; tensor names without wrappers |
//! | [`config`] | hyper-parameters from either format |
//! | [`checkpoint`] | the dropped files as one model |
//! | [`error`] | what went wrong, where, and what helps |

pub mod checkpoint;
pub mod config;
pub mod error;
pub mod gguf;
pub mod hash;
pub mod json;
pub mod names;
pub mod safetensors;
pub mod source;
pub mod tensor;

pub use kernels::{pack, quantized};
