//! The engine in a real browser. Run by `make test` as
//! `wasm-pack test --headless --chrome --release tests/web --features gpu` (and `cpu`); natively there is nothing here.
#![cfg(all(test, target_arch = "wasm32"))]

#[cfg(any(feature = "cpu", feature = "gpu"))]
mod device;
