//! Tokenizer, chat template and datasets compared with HF on the same input (`tests/reference/text.py`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "text/chat.rs"]
mod chat;
#[path = "text/damaged.rs"]
mod damaged;
#[path = "text/encode.rs"]
mod encode;
#[path = "common/fetched.rs"]
mod fetched;
#[path = "text/fuzz.rs"]
mod fuzz;
#[path = "text/golden.rs"]
mod golden;
#[path = "text/masks.rs"]
mod masks;
#[path = "text/modelfile.rs"]
mod modelfile;
#[path = "text/prepared.rs"]
mod prepared;
#[path = "text/tokenizer.rs"]
mod tokenizer;
