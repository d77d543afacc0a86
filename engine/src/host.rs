//! What the workbench needs of the worker that it runs in: to send events, and to know what the page asked for meanwhile.

mod answering;
mod gathering;

pub use answering::Answering;
pub use gathering::Gathering;

use protocol::{Event, Failure, FailureKind, GenerationId, RunId};

use crate::surroundings::{Clock, Control};

/// The worker's environment; in memory for tests. What has a default is that of an environment that nobody commands: it
/// has no requests, no calendar and no memory of its own.
pub trait Host: Clock {
    /// Sends an event to the page.
    fn emit(&self, event: Event);

    /// Sends an event along with bytes.
    fn emit_with_bytes(&self, event: Event, bytes: Vec<u8>);

    /// The date and time in UTC, if known.
    fn now_iso8601(&self) -> Option<String> {
        None
    }

    /// The latest request for the run.
    fn control_of(&self, _run: RunId) -> Control {
        Control::Run
    }

    /// Whether this generation was stopped.
    fn is_stopped(&self, _id: GenerationId) -> bool {
        false
    }

    /// Whether the command being carried out was cancelled.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// The size of the worker's own memory, if known.
    fn memory_bytes(&self) -> Option<u64> {
        None
    }
}

/// The failure of a command that was cancelled.
pub fn cancelled() -> Failure {
    Failure::new(FailureKind::Cancelled, "It was cancelled.")
}
