//! The engine in a real browser. Run by `make test` as
//! `wasm-pack test --headless --chrome --release tests/web --features gpu` (and `cpu`); natively there is nothing here.
//!
//! Every check runs in a dedicated worker, as the engine does. Without WebGPU, the GPU's tests fail: nothing is
//! skipped.
#![cfg(all(test, target_arch = "wasm32", any(feature = "cpu", feature = "gpu")))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;
mod device;
mod generation;
mod golden;
mod kernel_tests;
#[path = "../../native/kernels/kernels.rs"]
mod kernels;
mod memory;
#[path = "../../../engine/kernels/src/testing/reference.rs"]
#[allow(dead_code, reason = "the engine's own tests use more of it")]
mod reference;
mod start;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
