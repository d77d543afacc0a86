//! Opens the device that this build of the engine is for.

use burn::tensor::Device;
use engine::device::DeviceProfile;
#[cfg(feature = "gpu")]
use js_sys::{Function, Promise, Reflect};
use protocol::{DeviceKind, DeviceProblem, DeviceReport};
#[cfg(feature = "gpu")]
use wasm_bindgen::{JsCast, JsValue};
#[cfg(feature = "gpu")]
use wasm_bindgen_futures::JsFuture;
use web_sys::DedicatedWorkerGlobalScope;

/// A device and the name that the browser gives it.
pub struct OpenDevice {
    pub device: Device,
    pub name: String,
    /// Threads that compute.
    pub threads: usize,
}

/// The kind of device that this build runs on.
pub const KIND: DeviceKind = if cfg!(feature = "gpu") {
    DeviceKind::WebGpu
} else {
    DeviceKind::Cpu
};

/// The size of the largest 32-bit memory.
const MAX_MEMORY_BYTES: u64 = 4 << 30;
/// Besides a model's weights, that memory holds the program, the tokenizer and what a step needs. A GPU's weights pass
/// through it, too.
const MAX_WEIGHTS_BYTES: u64 = 3 << 30;

/// What the engine has to know of the device that passed its test.
pub fn profile(report: &DeviceReport) -> DeviceProfile {
    DeviceProfile {
        limit_bytes: (report.kind == DeviceKind::Cpu).then_some(MAX_MEMORY_BYTES),
        max_weights_bytes: Some(MAX_WEIGHTS_BYTES),
        ..DeviceProfile::from(report)
    }
}

/// The CPU, always there, with a thread for each core where this build has threads.
///
/// # Errors
/// [`DeviceProblem::NoThreads`] where this build has threads and they do not start.
#[cfg(not(feature = "gpu"))]
pub async fn open(scope: &DedicatedWorkerGlobalScope) -> Result<OpenDevice, DeviceProblem> {
    let threads = start_threads(scope).await?;
    // A whole number, at least 1; some browsers do not tell, and what they give then is not a number.
    let cores = (scope.navigator().hardware_concurrency() as usize).max(threads);
    let simd = if cfg!(target_feature = "relaxed-simd") {
        "SIMD and fused multiply-add"
    } else {
        "SIMD"
    };
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    Ok(OpenDevice {
        device: Device::flex(),
        name: format!(
            "CPU with {simd}, {threads} thread{} of {cores} core{}",
            plural(threads),
            plural(cores)
        ),
        threads,
    })
}

#[cfg(all(not(feature = "gpu"), feature = "threads"))]
async fn start_threads(scope: &DedicatedWorkerGlobalScope) -> Result<usize, DeviceProblem> {
    let started = super::threads::start(scope).await;
    started.map_err(|message| DeviceProblem::NoThreads { message })
}

#[cfg(not(any(feature = "gpu", feature = "threads")))]
async fn start_threads(_scope: &DedicatedWorkerGlobalScope) -> Result<usize, DeviceProblem> {
    Ok(1)
}

/// The browser's graphics adapter.
///
/// # Errors
/// [`DeviceProblem::NoApi`], [`DeviceProblem::NoAdapter`], or [`DeviceProblem::InitFailed`] with the reason.
#[cfg(feature = "gpu")]
pub async fn open(scope: &DedicatedWorkerGlobalScope) -> Result<OpenDevice, DeviceProblem> {
    let name = adapter_name(scope).await?;
    let device =
        Device::wgpu_options()
            .init_async()
            .await
            .map_err(|error| DeviceProblem::InitFailed {
                message: error.to_string(),
            })?;
    Ok(OpenDevice {
        device,
        name,
        threads: 1,
    })
}

/// Asks the browser itself, since it says in plain words what is missing.
#[cfg(feature = "gpu")]
async fn adapter_name(scope: &DedicatedWorkerGlobalScope) -> Result<String, DeviceProblem> {
    let property = |object: &JsValue, name: &str| {
        Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
    };
    let gpu = property(&scope.navigator(), "gpu");
    if gpu.is_undefined() {
        return Err(DeviceProblem::NoApi);
    }
    let request: Function = property(&gpu, "requestAdapter")
        .dyn_into()
        .map_err(|_| DeviceProblem::NoApi)?;
    let promise: Promise = request
        .call0(&gpu)
        .map_err(|_| DeviceProblem::NoAdapter)?
        .unchecked_into();
    let adapter = JsFuture::from(promise)
        .await
        .map_err(|_| DeviceProblem::NoAdapter)?;
    if adapter.is_null() {
        return Err(DeviceProblem::NoAdapter);
    }
    let info = property(&adapter, "info");
    let parts: Vec<String> = ["description", "vendor", "architecture"]
        .into_iter()
        .filter_map(|name| property(&info, name).as_string())
        .filter(|text| !text.is_empty())
        .collect();
    Ok(if parts.is_empty() {
        "WebGPU".to_owned()
    } else {
        parts.join(", ")
    })
}
