//! The five steps. Each file is what a step shows; its folder holds the components that only this step needs.

pub mod data;
pub mod export;
pub mod model;
pub mod train;
pub mod try_it;
