//! Code shared with the CPU's tests.
#![allow(dead_code, reason = "the CPU's tests use more of it")]

#[path = "../common/adapter.rs"]
pub mod adapter;
#[path = "../common/fetched.rs"]
pub mod fetched;
#[path = "../common/file.rs"]
pub mod file;
#[path = "../common/fixture.rs"]
pub mod fixture;
#[path = "../common/golden.rs"]
pub mod golden;
#[path = "../common/host.rs"]
pub mod host;
