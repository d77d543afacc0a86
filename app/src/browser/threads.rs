//! Asks the browser what it offers to programs with threads.

use js_sys::{Uint8Array, WebAssembly};

use super::property::get;
use crate::state::device::ThreadFacts;

/// A module whose one function is `f32x4.relaxed_madd` of three zeros.
const FUSED_MULTIPLY_ADD: [u8; 40] = *b"\0asm\x01\0\0\0\
    \x01\x05\x01\x60\0\x01\x7b\
    \x03\x02\x01\0\
    \x0a\x13\x01\x11\0\x41\0\xfd\x11\x41\0\xfd\x11\x41\0\xfd\x11\xfd\x85\x02\x0b";

/// See [`ThreadFacts`].
pub fn facts() -> ThreadFacts {
    let global = js_sys::global();
    let is_isolated = get(&global, "crossOriginIsolated").is_some_and(|flag| flag.is_truthy());
    let atomics = get(&global, "Atomics");
    ThreadFacts {
        is_isolated,
        has_shared_memory: get(&global, "SharedArrayBuffer").is_some(),
        has_async_wait: atomics.is_some_and(|atomics| get(&atomics, "waitAsync").is_some()),
        has_relaxed_simd: is_valid(&FUSED_MULTIPLY_ADD),
    }
}

fn is_valid(module: &[u8]) -> bool {
    WebAssembly::validate(&Uint8Array::from(module)).unwrap_or(false)
}
