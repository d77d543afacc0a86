//! Chooses the build of the engine that fits the browser. tests/setup/workers.sh makes the builds.

use protocol::DeviceKind;

/// A build of the engine; a visitor loads one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Build {
    Gpu,
    Cpu(CpuBuild),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpuBuild {
    /// One thread per core, and kernels with fused multiply-add.
    Relaxed,
    /// One thread per core.
    Threads,
    /// One thread, and why there are no more.
    Single(WhySingle),
}

/// Why the CPU engine runs on one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhySingle {
    NotIsolated,
    /// The browser lacks the feature with this name.
    Lacks(&'static str),
    /// The build with threads failed, for this reason.
    Failed(String),
}

impl Build {
    pub fn kind(&self) -> DeviceKind {
        match self {
            Self::Gpu => DeviceKind::WebGpu,
            Self::Cpu(_) => DeviceKind::Cpu,
        }
    }

    /// The worker's first script, next to the page.
    pub fn script(&self) -> &'static str {
        match self {
            Self::Gpu => "./worker_gpu_loader.js",
            Self::Cpu(CpuBuild::Relaxed) => "./worker_cpu_relaxed_loader.js",
            Self::Cpu(CpuBuild::Threads) => "./worker_cpu_threads_loader.js",
            Self::Cpu(CpuBuild::Single(_)) => "./worker_cpu_loader.js",
        }
    }

    pub fn has_threads(&self) -> bool {
        matches!(self, Self::Cpu(CpuBuild::Relaxed | CpuBuild::Threads))
    }

    pub fn why_single(&self) -> Option<&WhySingle> {
        match self {
            Self::Cpu(CpuBuild::Single(why)) => Some(why),
            _ => None,
        }
    }
}

/// What the browser offers to a program with threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadFacts {
    /// Whether the page came with the headers that shared memory requires.
    pub is_isolated: bool,
    pub has_shared_memory: bool,
    /// Whether there is `Atomics.waitAsync`, without which a worker cannot wait and listen at the same time.
    pub has_async_wait: bool,
    pub has_relaxed_simd: bool,
}

/// The fastest build of the CPU engine that this browser can run.
pub fn choose_cpu(facts: ThreadFacts) -> CpuBuild {
    if !facts.is_isolated {
        CpuBuild::Single(WhySingle::NotIsolated)
    } else if !facts.has_shared_memory {
        CpuBuild::Single(WhySingle::Lacks("shared memory"))
    } else if !facts.has_async_wait {
        CpuBuild::Single(WhySingle::Lacks("Atomics.waitAsync"))
    } else if facts.has_relaxed_simd {
        CpuBuild::Relaxed
    } else {
        CpuBuild::Threads
    }
}

impl std::fmt::Display for WhySingle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotIsolated => write!(
                f,
                "It runs on one thread, because this page is not cross-origin isolated: its server sends no \
                 Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy, and no service worker could add them."
            ),
            Self::Lacks(what) => write!(
                f,
                "It runs on one thread, because this browser lacks {what}. Current browsers have it."
            ),
            Self::Failed(reason) => {
                write!(
                    f,
                    "It runs on one thread, because more did not start: {reason}."
                )
            }
        }
    }
}
