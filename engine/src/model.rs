//! The frozen base model on the device.
//!
//! One [`Model`] serves every family: what differs is in its [description](crate::arch). It is never changed; what a
//! run trains is a [`DeviceAdapter`](crate::adapter::DeviceAdapter), which every pass takes along.

mod decoder;

pub use decoder::Model;
