//! The built page (`dist`) in headless Chromium (in two tests another browser), used as a person uses it: controls are found by
//! role and accessible name. Pictures of what a person would have seen are left in `tests/e2e/artifacts`.

mod accessible;
mod adapters;
mod bad_input;
mod browsers;
mod chat;
mod connection;
mod control;
mod data;
mod deaths;
mod devices;
mod downloads;
mod files;
mod journey;
mod lacking;
mod large_file;
mod long_run;
mod looks;
mod memory;
mod merged;
mod people;
mod recipes;
mod samples;
mod smooth;
mod spreadsheets;
mod stuck;
mod threads;
mod visit;
mod warm_load;
#[allow(dead_code, reason = "the engine's tests use more of it")]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "../../../native/common/zipped.rs"]
mod zipped;
