//! Datasets: files to rows, rows to token sequences, sequences to batches.

pub mod batch;
pub mod encode;
pub mod example;
pub mod format;
pub mod prepare;
pub mod sequence;
pub mod shuffle;
pub mod text;
pub mod turn;

pub use encode::{EncodeError, Encoder, PromptError};
pub use example::{Example, Row};
pub use sequence::TokenSequence;
