//! The five steps.

pub mod data;
pub mod export;
pub mod model;
pub mod train;
pub mod try_it;
