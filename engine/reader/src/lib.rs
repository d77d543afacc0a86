//! Dataset files to rows, whatever people have: in a worker of its own that is small, reads by slices and may die.
//!
//! ```text
//! bytes -> gzip | zip -> JSON | CSV | Parquet | text -> Record -> recognize | mapping -> Example
//!       -> checks -> rows file ([`formats::row_file`]) -> engine
//! ```
//!
//! All reading is synchronous, as it is in a worker, and streams: what is held at once is a slice of the file, one record
//! and a few bytes for every row.

mod archive;
mod arrow;
pub mod cell;
pub mod check;
mod codec;
pub mod columns;
mod companions;
pub mod conversation;
pub mod dataset;
mod decode;
pub mod error;
mod features;
mod gather;
mod guess;
mod gzip;
mod headers;
mod json;
pub mod mapping;
mod open;
mod output;
mod parquet;
pub mod path;
mod prose;
mod python;
pub mod recognize;
pub mod record;
mod sniff;
mod source;
pub mod split_name;
mod survey;
mod table;
mod text_file;
mod text_stream;
mod xlsx;
mod zstd;

pub use error::DatasetError;
pub use open::read;
pub use source::{Input, Source};
