//! The engine on this machine's own GPU, through Vulkan, Metal or DirectX; Mesa's software GPU works, too. Without a
//! GPU, or without halves, the tests say so and pass.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "gpu/common.rs"]
mod common;
#[path = "gpu/device.rs"]
mod device;
#[path = "gpu/kernels.rs"]
mod kernel_tests;
#[path = "kernels/kernels.rs"]
mod kernels;
#[path = "gpu/precision.rs"]
mod precision;
#[path = "../../engine/kernels/src/testing/reference.rs"]
#[allow(dead_code, reason = "the engine's own tests use more of it")]
mod reference;
