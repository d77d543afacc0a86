//! Reads model files: ranged reads, GGUF and safetensors headers, packed matrices under HF names.
//!
//! ```text
//! [NamedSource] -> checkpoint::open -> ModelFiles { config, tokenizer, template, tensors checked }
//!                    ModelFiles::matrix(HF name, shape) -> PackedMatrix, rows in HF's order
//! ```

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

pub use kernels::{pack, packed};
