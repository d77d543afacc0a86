//! The precision of the activations of a block.

use serde::{Deserialize, Serialize};

/// The precision in which a block computes. Weights stay packed; the residual stream, adapters and the head always have
/// single precision.
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
    /// The size of one number.
    pub fn num_bytes(self) -> usize {
        match self {
            Self::Single => 4,
            Self::Half => 2,
        }
    }
}
