//! The built page (`dist`) in headless Chromium, used as a person uses it: controls are found by role and accessible
//! name. Pictures of what a person would have seen are left in `tests/e2e/artifacts`.

mod accessible;
mod adapters;
mod bad_input;
mod chat;
mod control;
mod data;
mod devices;
mod downloads;
mod files;
mod journey;
mod large_file;
mod looks;
mod memory;
mod merged;
mod samples;
mod smooth;
mod threads;
mod visit;
mod warm_load;
