//! The tensor side of the engine on Burn's CPU backend, compared with values from transformers and PEFT, and the
//! behavior of whole runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adapter_zips;
mod adapters;
mod brought;
mod chat;
mod common;
mod device;
mod import;
mod kept;
mod merged;
mod model;
mod one_batch;
mod planned;
mod program;
mod round_trips;
mod scored;
mod session;
mod train;
mod unembedded;
