//! Text from the model.

pub mod sampler;
