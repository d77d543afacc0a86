//! Datasets: files to rows, rows to token sequences, sequences to batches.
//!
//! ```text
//! files -> format::read -> Dataset { rows, summary } -> Preparation -> Prepared { train, validation, summary }
//!            BatchSchedule -> the batches [b, t] of each step
//! ```

pub mod batch;
pub mod encode;
pub mod example;
pub mod format;
pub mod pack;
pub mod prepare;
pub mod sequence;
pub mod shuffle;
pub mod text;
pub mod turn;

pub use batch::{Batch, BatchSchedule};
pub use encode::{EncodeError, Encoder, PromptError};
pub use example::{Example, Row};
pub use format::{Dataset, DatasetError};
pub use prepare::{Preparation, Prepared};
pub use sequence::TokenSequence;
