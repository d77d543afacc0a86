//! Where on the page a failure belongs.

use engine::protocol::{Failure, FailureKind};

use super::{ExportState, State, Step};

/// A failure and the step that it concerns.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub step: Step,
    pub failure: Failure,
    /// It came of counting tokens, which happens anew with every change of a setting; what failed to be read stays
    /// as it is meanwhile.
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

/// The step that a failure concerns: by its kind where that says it, else by what was asked of the worker.
pub fn step_of(state: &State, failure: &Failure) -> Step {
    if failure.run.is_some() {
        let is_export = state.export == ExportState::Packing && !state.is_training();
        return if is_export { Step::Export } else { Step::Train };
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
