//! Which build of the engine runs, and why.

mod build;

use protocol::{DeviceKind, DeviceProblem, DeviceReport};

pub use build::{Build, CpuBuild, ThreadFacts, WhySingle, choose_cpu};

/// What the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    #[default]
    Automatic,
    WebGpu,
    Cpu,
}

impl DeviceChoice {
    pub const ALL: [Self; 3] = [Self::Automatic, Self::WebGpu, Self::Cpu];

    pub fn value(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::WebGpu => "webgpu",
            Self::Cpu => "cpu",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::WebGpu => "GPU (WebGPU)",
            Self::Cpu => "CPU",
        }
    }

    pub fn from_value(value: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|choice| choice.value() == value)
            .unwrap_or_default()
    }
}

/// The engine's device, as far as it is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceState {
    pub choice: DeviceChoice,
    /// The build that was started last.
    pub starting: Option<Build>,
    /// Set by the worker's first message.
    pub report: Option<DeviceReport>,
    /// Why the engine does not use the GPU.
    pub problem: Option<DeviceProblem>,
    /// How long it has not answered, in seconds, where that is long enough to be told.
    pub silent_secs: Option<u64>,
    /// It died too often and is not started again by itself.
    pub is_down: bool,
    /// The page and the worker are different versions.
    pub is_outdated: bool,
}

impl DeviceState {
    pub fn is_ready(&self) -> bool {
        self.report.is_some() && !self.is_outdated
    }

    /// Records that a worker was started; `problem` says why it does not use the GPU.
    pub fn start(&mut self, build: Build, problem: Option<DeviceProblem>) {
        self.starting = Some(build);
        self.silent_secs = None;
        self.is_down = false;
        self.report = None;
        self.problem = problem;
    }

    pub fn ready(&mut self, report: DeviceReport) {
        self.report = Some(report);
    }

    /// Whether a build with threads was started and has not yet said that it is ready.
    pub fn is_starting_threads(&self) -> bool {
        self.report.is_none() && self.starting.as_ref().is_some_and(Build::has_threads)
    }

    pub fn rejected(&mut self, kind: DeviceKind, reason: DeviceProblem) {
        if self.starting.as_ref().map(Build::kind) == Some(kind) {
            self.report = None;
            self.problem = Some(reason);
        }
    }
}

/// What a GPU reports about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AdapterFacts {
    pub name: String,
    pub is_fallback: bool,
    pub max_storage_buffer_binding_size: u64,
    pub max_buffer_size: u64,
    pub max_compute_invocations_per_workgroup: u64,
    pub max_storage_buffers_per_shader_stage: u64,
}

/// Names of rasterizers that run on the processor.
const SOFTWARE_NAMES: [&str; 5] = [
    "swiftshader",
    "llvmpipe",
    "lavapipe",
    "microsoft basic render",
    "software",
];
const MIN_BUFFER_BYTES: u64 = 128 << 20;
const MIN_INVOCATIONS: u64 = 256;
const MIN_STORAGE_BUFFERS: u64 = 8;

/// Why a GPU is not worth starting the GPU engine for, if so.
pub fn judge(facts: &AdapterFacts) -> Option<DeviceProblem> {
    let name = facts.name.to_ascii_lowercase();
    if facts.is_fallback
        || SOFTWARE_NAMES
            .iter()
            .any(|software| name.contains(software))
    {
        return Some(DeviceProblem::SoftwareAdapter {
            name: facts.name.clone(),
        });
    }
    let limits = [
        (
            "maxStorageBufferBindingSize",
            facts.max_storage_buffer_binding_size,
            MIN_BUFFER_BYTES,
        ),
        ("maxBufferSize", facts.max_buffer_size, MIN_BUFFER_BYTES),
        (
            "maxComputeInvocationsPerWorkgroup",
            facts.max_compute_invocations_per_workgroup,
            MIN_INVOCATIONS,
        ),
        (
            "maxStorageBuffersPerShaderStage",
            facts.max_storage_buffers_per_shader_stage,
            MIN_STORAGE_BUFFERS,
        ),
    ];
    let (limit, actual, needed) = limits
        .into_iter()
        .find(|&(_, actual, needed)| actual < needed)?;
    Some(DeviceProblem::LimitTooSmall {
        limit: limit.to_owned(),
        actual,
        needed,
    })
}

/// The browsers with different advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Browser {
    Chromium,
    Firefox,
    Safari,
    Other,
}

/// The browser that a user agent string names.
pub fn browser_of(user_agent: &str) -> Browser {
    if user_agent.contains("Firefox/") {
        Browser::Firefox
    } else if user_agent.contains("Chrome/") {
        Browser::Chromium
    } else if user_agent.contains("Safari/") {
        Browser::Safari
    } else {
        Browser::Other
    }
}

/// What a user can do about a missing GPU.
pub fn advice(problem: &DeviceProblem, browser: Browser) -> &'static str {
    match (problem, browser) {
        (DeviceProblem::ChosenByUser, _) => "Choose Automatic to let the page decide.",
        (DeviceProblem::NoApi, Browser::Firefox) => {
            "Firefox 141 and later have WebGPU on Windows; elsewhere set dom.webgpu.enabled in about:config."
        }
        (DeviceProblem::NoApi, Browser::Safari) => "Safari 26 and later have WebGPU.",
        (DeviceProblem::NoApi, _) => {
            "Current Chrome, Edge and Safari 26 have WebGPU; the page must come from https or 127.0.0.1."
        }
        (DeviceProblem::NoAdapter | DeviceProblem::SoftwareAdapter { .. }, Browser::Chromium) => {
            "If this machine has a GPU, see chrome://gpu: hardware acceleration may be off, or on Linux Vulkan may need chrome://flags/#enable-vulkan."
        }
        (DeviceProblem::NoAdapter | DeviceProblem::SoftwareAdapter { .. }, _) => {
            "If this machine has a GPU, check that hardware acceleration is on in the browser's settings."
        }
        (DeviceProblem::LimitTooSmall { .. }, _) => {
            "A newer graphics driver may raise it. The CPU engine does the same work."
        }
        (
            DeviceProblem::InitFailed { .. }
            | DeviceProblem::NoThreads { .. }
            | DeviceProblem::WrongResult { .. },
            _,
        ) => {
            "Updating the browser and the graphics driver often helps. The CPU engine gives the same numbers."
        }
    }
}
