//! What the engine has to know of the device that it computes on: measured or decided once, and passed down.

use protocol::{DeviceKind, DeviceReport, Precision};

/// How much the blocks may keep of a forward beyond their inputs: enough for SmolLM2-135M at about 256 tokens. Beyond
/// that, the first blocks are computed twice.
const ACTIVATION_BUDGET_BYTES: usize = 192 << 20;

/// A device as plans and passes see it. It is plain data, copied into each [plan](crate::plan::RunPlan) of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceProfile {
    /// A GPU, or the CPU.
    pub kind: DeviceKind,
    /// The precision in which the blocks compute: what the self-test found best, or what the user chose for a run.
    pub precision: Precision,
    /// Threads that compute; each has a stack in the program's memory.
    pub threads: usize,
    /// The maximum that a run can hold in all, if known: a GPU does not report how much memory it has.
    pub limit_bytes: Option<u64>,
    /// The maximum of a model's weights, if known.
    pub max_weights_bytes: Option<u64>,
    /// How much the blocks may keep of a forward beyond their inputs; more saves recomputing them.
    pub activation_budget_bytes: usize,
}

impl DeviceProfile {
    /// Makes the profile of a device of that kind that computes in single precision on one thread and has no limits.
    pub const fn new(kind: DeviceKind) -> Self {
        Self {
            kind,
            precision: Precision::Single,
            threads: 1,
            limit_bytes: None,
            max_weights_bytes: None,
            activation_budget_bytes: ACTIVATION_BUDGET_BYTES,
        }
    }

    /// Returns whether packed rows are processed in passes short enough that every block keeps what its backward needs.
    /// A CPU is nearly as fast with few tokens as with many, and computes nothing twice this way; a GPU needs many
    /// tokens to be busy.
    pub fn has_short_passes(self) -> bool {
        self.kind == DeviceKind::Cpu
    }
}

impl From<&DeviceReport> for DeviceProfile {
    fn from(report: &DeviceReport) -> Self {
        Self {
            precision: report.precision,
            threads: report.threads,
            ..Self::new(report.kind)
        }
    }
}
