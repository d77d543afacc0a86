//! Model files as users have them: the bundled GGUF against values from transformers, files of every stored type,
//! damaged files, random files.

// Helpers of tests may fail like tests.
#![allow(clippy::unwrap_used)]

#[path = "weights/brought.rs"]
mod brought;
#[path = "weights/builder.rs"]
mod builder;
#[path = "weights/bundled.rs"]
mod bundled;
#[path = "weights/damaged.rs"]
mod damaged;
#[path = "common/fetched.rs"]
mod fetched;
#[path = "weights/gguf.rs"]
mod gguf;
#[path = "weights/open.rs"]
mod open;
#[path = "weights/safetensors.rs"]
mod safetensors;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/sparse.rs"]
mod sparse;
