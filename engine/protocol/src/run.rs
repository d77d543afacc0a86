//! Choices of a run, and what it will cost. All that can be set is in [`crate::setting`].

use serde::{Deserialize, Serialize};

use super::{Precision, RunSpec};

/// In which numbers the blocks compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionChoice {
    /// As the device's self-test found best.
    #[default]
    Automatic,
    /// 32 bits, whatever the device.
    Single,
}

impl PrecisionChoice {
    /// On a device of that precision.
    pub fn on(self, device: Precision) -> Precision {
        match self {
            Self::Automatic => device,
            Self::Single => Precision::Single,
        }
    }
}

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    Cosine,
    Linear,
    Constant,
}

/// What a run will be, before it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanSummary {
    pub spec: RunSpec,
    pub num_steps: u64,
    pub steps_per_epoch: u64,
    pub trainable_parameters: u64,
    /// Peak of the device's memory while training.
    pub estimated_memory_bytes: u64,
    /// How long the run will take, if the device's speed with this model was measured.
    #[serde(default)]
    pub estimated_secs: Option<f64>,
    pub warnings: Vec<String>,
}
