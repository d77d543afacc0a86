//! Training: the learning rate, the optimizer and the session around them.

pub mod optimizer;
pub mod schedule;
