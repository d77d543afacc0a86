//! Turns rows into token sequences, and sequences into batches. Rows come from the reader ([`crate::reader`]).
//!
//! ```text
//! file of rows -> StoredRow -> Preparation -> Prepared { train, validation, test, summary }
//!            BatchSchedule -> the batches [b, t] of each step
//! ```

pub(crate) mod chunks;
pub mod example;
pub mod stored;

#[cfg(feature = "files")]
pub mod batch;
#[cfg(feature = "files")]
pub mod encode;
#[cfg(feature = "files")]
pub mod keep;
#[cfg(feature = "files")]
pub mod pack;
#[cfg(feature = "files")]
pub mod preamble;
#[cfg(feature = "files")]
pub mod prepare;
#[cfg(feature = "files")]
pub mod rows;
#[cfg(feature = "files")]
pub mod sequence;
#[cfg(feature = "files")]
pub mod shuffle;
#[cfg(feature = "files")]
pub mod turn;

#[cfg(feature = "files")]
pub use batch::{Batch, BatchSchedule};
#[cfg(feature = "files")]
pub use encode::{EncodeError, Encoder, PromptError};
pub use example::{Example, Row};
#[cfg(feature = "files")]
pub use prepare::{Preparation, Prepared};
#[cfg(feature = "files")]
pub use rows::RowFile;
#[cfg(feature = "files")]
pub use sequence::TokenSequence;
