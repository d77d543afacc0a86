//! Code shared with the native tests, and the golden files, which a browser cannot open.
#![allow(dead_code, reason = "the native tests use more of it")]

#[path = "../../native/common/adapter.rs"]
pub mod adapter;
#[path = "../../native/common/counting.rs"]
pub mod counting;
pub mod file;
#[path = "../../native/common/fixture.rs"]
pub mod fixture;
#[path = "../../native/common/golden.rs"]
pub mod golden;
#[path = "../../native/common/host.rs"]
pub mod host;
