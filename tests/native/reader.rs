//! Dataset files to rows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "reader/arrow.rs"]
mod arrow;
#[path = "reader/dataset.rs"]
mod dataset;
#[path = "reader/json.rs"]
mod json;
#[path = "reader/judged.rs"]
mod judged;
#[path = "reader/lenient.rs"]
mod lenient;
#[path = "reader/meaning.rs"]
mod meaning;
#[path = "reader/packed.rs"]
mod packed;
#[path = "reader/packing.rs"]
mod packing;
#[path = "reader/parquet.rs"]
mod parquet;
#[path = "reader/prose.rs"]
mod prose;
#[path = "reader/real_files.rs"]
mod real_files;
#[path = "reader/records.rs"]
mod records;
#[path = "reader/samples.rs"]
mod samples;
#[path = "reader/spreadsheets.rs"]
mod spreadsheets;
#[path = "reader/table.rs"]
mod table;
#[path = "reader/together.rs"]
mod together;
