//! Code shared by the tests of the tensor side.

pub mod adapter;
pub mod drawn;
pub mod fetched;
pub mod file;
pub mod fixture;
pub mod golden;
pub mod host;
pub mod load;
pub mod random;
pub mod workbench;
#[allow(
    dead_code,
    reason = "the reader's tests and the journeys use more of it"
)]
pub mod zipped;
