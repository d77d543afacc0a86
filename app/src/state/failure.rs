//! Where on the page a failure belongs.

use protocol::{Crash, Failure, FailureKind};

use super::work::Work;
use super::{ExportState, State, Step};

/// A failure and the step that it concerns.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub step: Step,
    pub failure: Failure,
    /// Whether it came from counting tokens, which happens again with every change of a setting; a failure to read a
    /// file stays as it is meanwhile.
    pub is_of_encoding: bool,
}

impl Notice {
    pub fn new(step: Step, failure: Failure) -> Self {
        Self {
            step,
            failure,
            is_of_encoding: false,
        }
    }

    /// Whether a sound plan refutes it.
    pub fn is_of_settings(&self) -> bool {
        let is_kind = matches!(
            self.failure.kind,
            FailureKind::Settings | FailureKind::OutOfMemory
        );
        self.step == Step::Train && is_kind && self.failure.run.is_none()
    }
}

/// What the page says of a worker that died.
pub struct Death<'a> {
    /// Who died, as the user knows it: "the engine".
    pub who: &'a str,
    /// What the browser said of it; empty where it said nothing.
    pub said: &'a str,
    /// What it was at, as " while training"; empty where that is not known.
    pub doing: &'a str,
    /// What it ran on, for the report; empty where it does not matter.
    pub device: &'a str,
    /// What helps where it ran out of memory.
    pub memory_remedy: &'a str,
    /// What helps where it made a mistake, or is still there.
    pub remedy: &'a str,
}

impl Death<'_> {
    /// Lack of memory is told as that; everything else as an internal error, with what to report.
    pub fn failure(&self) -> Failure {
        let Self {
            who, said, doing, ..
        } = self;
        let crash = Crash::of(said);
        if crash.kind == FailureKind::OutOfMemory {
            return Failure::new(crash.kind, format!("{who} ran out of memory{doing}"))
                .at(crash.message)
                .remedy(self.memory_remedy)
                .raw(crash.raw);
        }
        if crash.message.is_empty() {
            // Nothing that this program could have done: it reports its own mistakes.
            let what = format!("{who} stopped without a message{doing}");
            let remedy = format!(
                "{} Browsers end a worker like this when memory is short: close other tabs, or use a smaller model.",
                self.remedy
            );
            return Failure::new(FailureKind::Internal, what).remedy(remedy);
        }
        let message = crash.message.as_str();
        let version = format!("Inlay {}", env!("CARGO_PKG_VERSION"));
        let report = [
            crash.place.as_deref().unwrap_or_default(),
            &version,
            self.device,
        ];
        let report: Vec<&str> = report.into_iter().filter(|part| !part.is_empty()).collect();
        let remedy = format!(
            "{} This is a bug in Inlay, not in your files: please report it with the two lines above.",
            self.remedy
        );
        Failure::new(
            FailureKind::Internal,
            format!("internal error in {who}{doing}: {message}"),
        )
        .at(report.join(" \u{b7} "))
        .remedy(remedy)
        .raw(crash.raw)
    }
}

/// What a person who reports an internal error copies, or a failure of which a graphics library said more than the page
/// shows; nothing for other failures.
pub fn report(failure: &Failure) -> Option<String> {
    let Failure {
        what, place, raw, ..
    } = failure;
    let is_internal = failure.kind == FailureKind::Internal && place.is_some();
    let raw = raw.as_ref().map(|raw| &raw.0);
    let lines = [Some(what), place.as_ref(), raw];
    let lines: Vec<&str> = lines.into_iter().flatten().map(String::as_str).collect();
    (is_internal || raw.is_some()).then(|| lines.join("\n"))
}

/// The step that a failure concerns: by its kind where that says it, else by what was asked of the worker.
pub fn step_of(state: &State, failure: &Failure) -> Step {
    if failure.run.is_some() {
        let is_export = state.export == ExportState::Packing && !state.is_training();
        return if is_export { Step::Export } else { Step::Train };
    }
    match state.works.present() {
        Some(Work::LoadModel) => return Step::Model,
        Some(Work::LoadDataset) => return Step::Data,
        _ => {}
    }
    match failure.kind {
        FailureKind::ModelFile | FailureKind::UnsupportedModel | FailureKind::Tokenizer => {
            Step::Model
        }
        FailureKind::Dataset => Step::Data,
        FailureKind::Adapter => Step::Try,
        FailureKind::Settings | FailureKind::NonFinite if !is_talking(state) => Step::Train,
        FailureKind::Template if !is_talking(state) => Step::Data,
        _ => step_under_way(state),
    }
}

fn is_talking(state: &State) -> bool {
    state.chat.is_active() || state.export == ExportState::Packing
}

fn step_under_way(state: &State) -> Step {
    // Of a dataset that is still being read the engine knows nothing.
    let is_known = |step: &&Step| **step != Step::Data || !state.readings.handed.is_empty();
    if let Some(&step) = state.pending.iter().find(is_known) {
        return step;
    }
    if state.export == ExportState::Packing {
        return Step::Export;
    }
    if state.chat.is_active() {
        return Step::Try;
    }
    if state.encoding.is_some() {
        Step::Data
    } else {
        Step::Train
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(said: &str) -> Failure {
        let death = Death {
            who: "the engine",
            said,
            doing: "",
            device: "CPU, 2 threads",
            memory_remedy: "A smaller batch needs less memory.",
            remedy: "It was restarted.",
        };
        death.failure()
    }

    #[test]
    fn a_panic_is_an_internal_error_with_what_to_report() {
        let failure =
            death("Uncaught Error: panicked at engine/src/a.rs:1:2:\nindex out of bounds");
        assert_eq!(failure.kind, FailureKind::Internal);
        assert_eq!(
            failure.what,
            "internal error in the engine: index out of bounds"
        );
        let place = failure.place.clone().unwrap();
        for part in ["engine/src/a.rs:1:2", "Inlay ", "CPU, 2 threads"] {
            assert!(place.contains(part), "{place}");
        }
        let remedy = failure.remedy.clone().unwrap();
        assert!(
            remedy.contains("please report") && !remedy.contains("memory"),
            "{remedy}"
        );
        assert!(
            report(&failure)
                .unwrap()
                .contains("index out of bounds\nengine/src/a.rs")
        );
        assert!(death("").what.contains("without a message"));
    }

    #[test]
    fn a_graphics_library_is_quoted_in_the_report_alone() {
        let failure = death(
            "Uncaught Error: panicked at /registry/cubecl-wgpu-0.11.3/src/compute/device_poison.rs:42:17:\nwgpu error: Validation Error\n\nCaused by:\n  In Device::create_bind_group, label = 'group'",
        );
        let shown = [Some(failure.what.as_str()), failure.remedy.as_deref()];
        for text in shown.into_iter().flatten() {
            assert!(
                !text.contains("create_bind_group") && !text.contains("Validation"),
                "{text}"
            );
        }
        assert!(
            failure.what.contains("the graphics driver refused"),
            "{}",
            failure.what
        );
        assert!(report(&failure).unwrap().contains("create_bind_group"));

        let failure = death("panicked at wgpu/a.rs:1:1:\nwgpu error: Out of Memory");
        assert_eq!(failure.place.as_deref(), Some("the GPU ran out of memory"));
    }

    #[test]
    fn lack_of_memory_is_told_as_that() {
        let failure = death("Uncaught RangeError: Array buffer allocation failed");
        assert_eq!(failure.kind, FailureKind::OutOfMemory);
        assert_eq!(failure.what, "the engine ran out of memory");
        assert_eq!(
            failure.remedy.as_deref(),
            Some("A smaller batch needs less memory.")
        );
        assert_eq!(report(&failure), None);
    }
}
