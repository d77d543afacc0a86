//! What the browser says of a worker that died: lack of memory, or a mistake of this program.

use super::{FailureKind, GpuFault};

/// What browsers and Rust say where memory runs out, in lower case.
const OUT_OF_MEMORY: [&str; 10] = [
    "out of memory",
    "memory allocation of",
    "allocation failed",
    "allocation size overflow",
    "could not allocate",
    "failed to allocate",
    "maximum memory size exceeded",
    "invalid array buffer length",
    "not enough memory",
    "greater than the maximum buffer size",
];
/// What Rust's panic hook writes first; the place follows, and on the next line the message.
const PANICKED: &str = "panicked at ";
/// The length at which a long message, such as a shader's source, is cut.
const MAX_CHARS: usize = 400;

/// The death of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// [`FailureKind::OutOfMemory`] or [`FailureKind::Internal`].
    pub kind: FailureKind,
    /// What was said, in plain words where a graphics library said it; empty where nothing was.
    pub message: String,
    /// The words of that library, for a report.
    pub raw: Option<String>,
    /// File, line and column of a panic.
    pub place: Option<String>,
}

impl Crash {
    /// Judges what the browser reported. A panic reports itself before the program ends, so that an end without one is what
    /// Rust does where an allocation fails: it aborts, which WebAssembly calls unreachable.
    pub fn of(said: &str) -> Self {
        let (place, message) = match said.split_once(PANICKED) {
            None => (None, without_class(said)),
            Some((_, panic)) => match panic.split_once('\n') {
                Some((place, message)) => (Some(place.trim_end_matches(':')), message),
                None => (None, panic),
            },
        };
        let lower = message.to_lowercase();
        let is_named = OUT_OF_MEMORY.iter().any(|sign| lower.contains(sign));
        let is_abort = !said.contains(PANICKED) && lower.contains("unreachable");
        let kind = match is_named || is_abort {
            true => FailureKind::OutOfMemory,
            false => FailureKind::Internal,
        };
        let mut message: String = message.trim().chars().take(MAX_CHARS).collect();
        if is_abort && !is_named {
            message = "an allocation failed".to_owned();
        }
        let mut raw = None;
        if let Some(fault) = GpuFault::find(&message, place) {
            raw = Some(std::mem::replace(&mut message, fault.to_string()));
        }
        Self {
            kind,
            message,
            raw,
            place: place.map(str::to_owned),
        }
    }
}

/// The message without what the browser puts before it.
fn without_class(said: &str) -> &str {
    let said = said.strip_prefix("Uncaught ").unwrap_or(said);
    said.strip_prefix("Error: ").unwrap_or(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_mistakes_and_name_their_place() {
        for (said, place, message) in [
            (
                "Uncaught Error: panicked at engine/src/data/batch.rs:12:5:\nindex out of bounds: the len is 3 but the index is 7",
                Some("engine/src/data/batch.rs:12:5"),
                "index out of bounds: the len is 3 but the index is 7",
            ),
            (
                "Error: panicked at library/alloc/src/raw_vec/mod.rs:28:5:\ncapacity overflow",
                Some("library/alloc/src/raw_vec/mod.rs:28:5"),
                "capacity overflow",
            ),
            (
                "a thread ended: panicked at engine/kernels/src/cpu.rs:1:1:\nentered unreachable code",
                Some("engine/kernels/src/cpu.rs:1:1"),
                "entered unreachable code",
            ),
            (
                "Uncaught RuntimeError: memory access out of bounds",
                None,
                "RuntimeError: memory access out of bounds",
            ),
            (
                "Uncaught RangeError: Maximum call stack size exceeded",
                None,
                "RangeError: Maximum call stack size exceeded",
            ),
            ("", None, ""),
        ] {
            let crash = Crash::of(said);
            assert_eq!(crash.kind, FailureKind::Internal, "{said}");
            assert_eq!(crash.place.as_deref(), place);
            assert_eq!(crash.message, message);
        }
    }

    #[test]
    fn memory_is_known_by_what_browsers_and_rust_say() {
        for said in [
            "Uncaught RuntimeError: unreachable",
            "RuntimeError: unreachable executed",
            "RuntimeError: Unreachable code should not be executed (evaluating 'f()')",
            "Uncaught RangeError: Array buffer allocation failed",
            "Uncaught RangeError: WebAssembly.Memory.grow(): Maximum memory size exceeded",
            "uncaught exception: out of memory",
            "memory allocation of 402653184 bytes failed",
            "Uncaught Error: panicked at wgpu/src/backend.rs:1:1:\nwgpu error: Out of Memory",
            "a thread ended: unreachable",
        ] {
            let crash = Crash::of(said);
            assert_eq!(crash.kind, FailureKind::OutOfMemory, "{said}");
            assert!(!crash.message.is_empty());
        }
    }

    #[test]
    fn a_graphics_library_is_not_quoted() {
        let said = "Uncaught Error: panicked at /registry/cubecl-wgpu-0.11.3/src/compute/device_poison.rs:42:17:\nwgpu error: Validation Error\n\nCaused by:\n  In Device::create_bind_group, label = 'group'\n    the layout does not match\n";
        let crash = Crash::of(said);
        assert_eq!(crash.kind, FailureKind::Internal);
        assert_eq!(crash.message, GpuFault::Refused.to_string());
        assert!(
            crash
                .raw
                .is_some_and(|raw| raw.contains("create_bind_group"))
        );
        let crash = Crash::of("panicked at wgpu/src/backend.rs:1:1:\nwgpu error: Out of Memory");
        assert_eq!(crash.kind, FailureKind::OutOfMemory);
        assert_eq!(crash.message, GpuFault::OutOfMemory.to_string());
        assert_eq!(Crash::of("Uncaught Error: oops").raw, None);
    }

    #[test]
    fn a_long_message_is_cut() {
        let said = format!("panicked at a.rs:1:1:\n{}", "x".repeat(10_000));
        assert_eq!(Crash::of(&said).message.len(), MAX_CHARS);
    }
}
