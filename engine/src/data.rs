//! Turns rows into token sequences, and sequences into batches. Rows come from the reader, as a file
//! ([`formats::row_file`]).
//!
//! ```text
//! file of rows -> StoredRow -> Preparation -> Prepared { train, validation, test, summary }
//!  (rows)                      (prepare)            |
//!                              encode + turn        v
//!                              shuffle::split     BatchSchedule -> the batches [b, t] of each step
//!                              preamble           (batch, shuffle, pack)
//! ```
//!
//! | file | what |
//! |---|---|
//! | `rows` | the file of rows, read in slices |
//! | `encode`, `turn` | a row's tokens and which of them are learned; the assistant's turns in rendered text |
//! | `texts` | every text of a row in which a special token may be spelled out |
//! | `prepare`, `preamble` | all rows under one set of settings, with counts; how most conversations begin |
//! | `shuffle`, `pack`, `batch` | every order drawn from a seed; rows in bins; tensors' worth of ids |
//! | `keep` | general prompts that show what a run made the model forget |

pub mod batch;
pub mod encode;
pub mod keep;
pub mod pack;
pub mod preamble;
pub mod prepare;
pub mod rows;
pub mod sequence;
pub mod shuffle;
mod texts;
pub mod turn;

pub use batch::{Batch, BatchSchedule};
pub use encode::{EncodeError, Encoder, PromptError};
pub use prepare::{Preparation, Prepared};
pub use rows::RowFile;
pub use sequence::TokenSequence;
