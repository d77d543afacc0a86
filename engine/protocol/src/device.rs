//! Which processor runs the engine, and why.

use serde::{Deserialize, Serialize};

use super::GpuFault;

/// The two builds of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Burn's WebGPU backend with our kernels.
    WebGpu,
    /// Burn's CPU backend compiled to WebAssembly with SIMD.
    Cpu,
}

/// The precision in which a block computes. Weights stay quantized; the residual stream, adapters and the head always have
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

/// What runs the engine, for the page to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    pub kind: DeviceKind,
    /// The name of the GPU or the processor, as far as the browser reveals it.
    pub name: String,
    /// The self-test's cases with their largest relative error; all passed.
    pub self_test: Vec<SelfTestCase>,
    pub threads: usize,
    /// The precision that the self-test found accurate and fastest.
    pub precision: Precision,
}

/// One numeric comparison of a device with a reference computed in f64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelfTestCase {
    pub name: String,
    pub max_error: f64,
    pub tolerance: f64,
    pub elapsed_millis: f64,
}

/// Why a device was rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum DeviceProblem {
    #[error("this browser has no WebGPU")]
    NoApi,
    #[error("WebGPU is available but offers no GPU")]
    NoAdapter,
    #[error("WebGPU offers only a software adapter ({name}), which is slower than the CPU engine")]
    SoftwareAdapter { name: String },
    #[error("the GPU's limits are too small: {limit} is {actual}, but {needed} is needed")]
    LimitTooSmall {
        limit: String,
        actual: u64,
        needed: u64,
    },
    /// With what the graphics library said.
    #[error("the GPU could not be used: {}", GpuFault::of(message))]
    InitFailed { message: String },
    #[error(
        "the self-test `{case}` gave a wrong result (error {max_error:.2e}, allowed {tolerance:.0e})"
    )]
    WrongResult {
        case: String,
        max_error: f64,
        tolerance: f64,
    },
    #[error("the engine's threads could not be started: {message}")]
    NoThreads { message: String },
    #[error("chosen by you")]
    ChosenByUser,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graphics_library_is_not_quoted() {
        let message = "Unable to request a wgpu device: OperationError: Required limit (1073741824) is greater than the supported limit (134217728).";
        let problem = DeviceProblem::InitFailed {
            message: message.to_owned(),
        };
        assert_eq!(
            problem.to_string(),
            "the GPU could not be used: the browser gave no access to the GPU"
        );
    }
}
