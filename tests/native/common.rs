//! What the tests of the tensor side share.

pub mod adapter;
pub mod fetched;
pub mod fixture;
pub mod host;
pub mod load;
pub mod random;
