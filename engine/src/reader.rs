//! Dataset files to rows, whatever people have: in a worker of its own that is small, reads by slices and may die.
//!
//! ```text
//! files -> container (gzip, zip) -> format (JSON, CSV, Parquet, text) -> Record -> recognise | mapping -> Example
//!       -> checks -> rows file (data::stored) -> engine
//! ```
//!
//! All reading is synchronous, as it is in a worker, and streams: what is held at once is a slice of the file, one record
//! and a few bytes for every row.

pub mod check;
pub mod columns;
pub mod conversation;
pub mod mapping;
pub mod path;
pub mod recognise;
pub mod record;
