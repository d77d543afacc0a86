//! In which numbers the activations of a block are.

use serde::{Deserialize, Serialize};

/// The numbers in which a block computes. Weights stay as packed; the residual stream, adapters and the head are in
/// single precision always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    Single,
    /// 16 bits, summed in 32.
    Half,
}

impl Precision {
    /// Of one number.
    pub fn num_bytes(self) -> usize {
        match self {
            Self::Single => 4,
            Self::Half => 2,
        }
    }
}
