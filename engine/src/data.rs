//! Turns rows into token sequences, and sequences into batches. Rows come from the reader, as a file ([`formats::row_file`]).
//!
//! ```text
//! file of rows -> StoredRow -> Preparation -> Prepared { train, validation, test, summary }
//!            BatchSchedule -> the batches [b, t] of each step
//! ```

pub mod batch;
pub mod encode;
pub mod keep;
pub mod pack;
pub mod preamble;
pub mod prepare;
pub mod rows;
pub mod sequence;
pub mod shuffle;
pub mod turn;

pub use batch::{Batch, BatchSchedule};
pub use encode::{EncodeError, Encoder, PromptError};
pub use prepare::{Preparation, Prepared};
pub use rows::RowFile;
pub use sequence::TokenSequence;
