//! Model files: ranged reads, GGUF and safetensors headers, packed matrices under HF names.

pub mod config;
pub mod packed;
pub mod source;
