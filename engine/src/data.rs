//! Datasets: files to rows, rows to token sequences, sequences to batches.

pub mod sequence;

pub use sequence::TokenSequence;
