//! The frozen base model on the device.

pub mod llama;

pub use llama::Llama;
