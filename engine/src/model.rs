//! The frozen base model on the device.

mod decoder;

pub use decoder::Model;
