//! Dataset files to rows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "reader/dataset.rs"]
mod dataset;
