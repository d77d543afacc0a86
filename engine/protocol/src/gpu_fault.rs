//! What graphics libraries, drivers and browsers say of a GPU, in plain words. Their own texts name calls, labels and
//! shaders, so they are for the browser's console and for reports.

/// What is wrong, as far as a text of theirs tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GpuFault {
    #[error("the GPU ran out of memory")]
    OutOfMemory,
    #[error("the system reset the GPU or took it away")]
    Lost,
    #[error("the GPU does not allow pieces of memory as large as the model needs")]
    TooLarge,
    #[error("the graphics driver rejected one of the engine's programs")]
    Program,
    #[error("the browser gave no access to the GPU")]
    NoAccess,
    #[error("the graphics driver refused what the engine asked of it")]
    Refused,
}

/// What tells each of them, in lower case. The first that fits counts: memory and loss are often reported inside other
/// complaints, and a limit inside one about a pipeline.
const SIGNS: [(GpuFault, &[&str]); 5] = [
    (
        GpuFault::OutOfMemory,
        &[
            "out of memory",
            "out of device memory",
            "not enough memory",
            "can't allocate buffer",
            "allocation failed",
            "failed to allocate",
        ],
    ),
    (
        GpuFault::Lost,
        &[
            "is lost",
            "was lost",
            "device lost",
            "destroyed",
            "poisoned",
            "hung",
            "instance reference no longer exists",
        ],
    ),
    (
        GpuFault::NoAccess,
        &[
            "no adapter",
            "adapterunavailable",
            "request a wgpu device",
            "requestdevice",
            "requestadapter",
            "request_device",
            "register wgpu runtime",
        ],
    ),
    (
        GpuFault::TooLarge,
        &[
            "larger than the max",
            "greater than the max",
            "exceeds the max",
            "exceeds `max",
            "exceeds maximum",
            "size limit",
            "too big",
            "too large",
            "too many resources",
            "too much shared memory",
        ],
    ),
    (
        GpuFault::Program,
        &[
            "shader",
            "wgsl",
            "spir-v",
            "naga",
            "compil",
            "pipeline",
            "unsupported instruction",
        ],
    ),
];

/// What only graphics libraries say, or have in their places, in lower case.
const MARKS: [&str; 5] = ["wgpu", "webgpu", "wgsl", "/cube", "cube dim"];

impl GpuFault {
    /// Sorts a text that is known to be about the GPU.
    pub fn of(said: &str) -> Self {
        let said = said.to_lowercase();
        let found = SIGNS
            .iter()
            .find(|(_, signs)| signs.iter().any(|sign| said.contains(sign)));
        found.map_or(Self::Refused, |(fault, _)| *fault)
    }

    /// Sorts a text that may be about the GPU; `place` is where the program was, if known.
    pub fn find(said: &str, place: Option<&str>) -> Option<Self> {
        let is_named = |text: &str| {
            let text = text.to_lowercase();
            MARKS.iter().any(|mark| text.contains(mark))
        };
        let is_gpu = is_named(said) || place.is_some_and(is_named);
        is_gpu.then(|| Self::of(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the sources of wgpu 30, wgpu-core 30, CubeCL 0.11 and Dawn.
    const SAID: [(&str, GpuFault); 25] = [
        ("wgpu error: Out of Memory\n", GpuFault::OutOfMemory),
        (
            "wgpu error: Validation Error\n\nCaused by:\n  In Device::create_buffer, label = 'weights'\n    Not enough memory left.\n",
            GpuFault::OutOfMemory,
        ),
        (
            "out of device memory allocating 402653184 bytes\n<disabled>",
            GpuFault::OutOfMemory,
        ),
        (
            "can't allocate buffer of size: 4294967296\n",
            GpuFault::OutOfMemory,
        ),
        (
            "An error happened during execution\nCaused by:\n  Unknown: Device was destroyed.\nBacktrace:\n",
            GpuFault::Lost,
        ),
        (
            "The device was poisoned during launch\nCaused by:\n  Unknown: A valid external Instance reference no longer exists.",
            GpuFault::Lost,
        ),
        (
            "wgpu error: Validation Error\n\nCaused by:\n  In Queue::submit\n    Parent device is lost\n",
            GpuFault::Lost,
        ),
        ("wgpu error: [Device] is lost.", GpuFault::Lost),
        (
            "DXGI_ERROR_DEVICE_HUNG: the device hung due to badly formed commands",
            GpuFault::Lost,
        ),
        (
            "No adapter available for DefaultDevice: Requested adapter not found",
            GpuFault::NoAccess,
        ),
        (
            "Unable to request a wgpu device: OperationError: Required limit (1073741824) is greater than the supported limit (134217728).",
            GpuFault::NoAccess,
        ),
        (
            "Failed to execute 'requestDevice' on 'GPUAdapter': adapter is consumed",
            GpuFault::NoAccess,
        ),
        (
            "Unable to register wgpu runtime: the service is there already",
            GpuFault::NoAccess,
        ),
        (
            "wgpu error: Binding size (278921216) of [Buffer (unlabeled)] is larger than the maximum storage buffer binding size (134217728).\n - While validating entries[0] as a Buffer.\n - While calling [Device].CreateBindGroup([BindGroupDescriptor]).",
            GpuFault::TooLarge,
        ),
        (
            "wgpu error: Buffer size (1207959552) exceeds the max buffer size limit (1073741824).\n - While calling [Device].CreateBuffer([BufferDescriptor]).",
            GpuFault::TooLarge,
        ),
        (
            "wgpu error: Validation Error\n\nCaused by:\n  In Device::create_bind_group, label = 'group'\n    Buffer binding 0 range 268435456 exceeds `max_*_buffer_binding_size` limit 134217728\n",
            GpuFault::TooLarge,
        ),
        (
            "Too many resources were requested during launch\nToo much shared memory requested.\nRequested 65536 bytes, maximum 16384 bytes available.",
            GpuFault::TooLarge,
        ),
        (
            "Total unit count exceeds maximum.\nRequested 1024 units, max units is 256.",
            GpuFault::TooLarge,
        ),
        (
            "wgpu error: Error while parsing WGSL: :12:5 error: cannot assign to value of type 'f16'\n",
            GpuFault::Program,
        ),
        (
            "wgpu error: [Invalid ComputePipeline \"main\"] is invalid.\n - While encoding [ComputePassEncoder].SetPipeline.",
            GpuFault::Program,
        ),
        (
            "A compilation error happened during launch\nCaused by:\n  An unsupported instruction caused the compilation to fail",
            GpuFault::Program,
        ),
        (
            "wgpu error: Validation Error\n\nCaused by:\n  In Device::create_shader_module, label = 'kernel'\n    Entry point main at Compute is invalid\n",
            GpuFault::Program,
        ),
        (
            "wgpu error: Validation Error\n\nCaused by:\n  In Device::create_bind_group, label = 'x'\n    Number of bindings in bind group descriptor (3) does not match the layout (4)\n",
            GpuFault::Refused,
        ),
        (
            "wgpu error: Internal Error\n\nCaused by:\n  the driver said 0x887a0005\n",
            GpuFault::Refused,
        ),
        ("", GpuFault::Refused),
    ];

    #[test]
    fn texts_of_graphics_libraries_become_plain_words() {
        for (said, fault) in SAID {
            assert_eq!(GpuFault::of(said), fault, "{said}");
            let words = fault.to_string();
            for raw in ["wgpu", "cubecl", "::", "[", "\n", "error"] {
                assert!(!words.contains(raw), "{words}");
            }
        }
    }

    #[test]
    fn other_texts_are_left_alone() {
        for (said, place) in [
            ("index out of bounds: the len is 3 but the index is 7", None),
            (
                "capacity overflow",
                Some("library/alloc/src/raw_vec.rs:1:1"),
            ),
            ("RuntimeError: memory access out of bounds", None),
            ("out of memory", Some("engine/src/data/batch.rs:12:5")),
        ] {
            assert_eq!(GpuFault::find(said, place), None, "{said}");
        }
        let unwrapped = "called `Result::unwrap()` on an `Err` value: oops";
        for place in [
            "/registry/src/cubecl-wgpu-0.11.3/src/compute/server.rs:1:1",
            "/registry/src/wgpu-30.0.1/src/backend/webgpu.rs:1:1",
            "/registry/src/cubecl-runtime-0.11.3/src/client.rs:1:1",
        ] {
            let found = GpuFault::find(unwrapped, Some(place));
            assert_eq!(found, Some(GpuFault::Refused));
        }
    }
}
