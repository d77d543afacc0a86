//! What the workbench needs of the worker that it runs in: to send events, and to know what the page asked for
//! meanwhile.
//!
//! ```text
//! Workbench --(Gathering | Answering)--> Host --> Event --> page
//! page --> Pause | Stop | StopGeneration | Cancel --> Host --(control_of, is_stopped, is_cancelled)--> the work
//! ```
//!
//! Long work knows no [`Host`]: it takes [`Surroundings`](crate::surroundings::Surroundings) and reports plain facts.
//! Two adapters in this room turn these facts into events: [`Gathering`] for runs, [`Answering`] for generated text. In
//! the browser the host is a worker's port; native tests implement it in memory.

mod answering;
mod gathering;

pub use answering::Answering;
pub use gathering::Gathering;

use protocol::{Event, Failure, FailureKind, GenerationId, RunId};

use crate::surroundings::{Clock, Control};

/// The worker's environment; in memory for tests.
///
/// What has a default is that of an environment that nobody commands: it has no requests, no calendar and no memory of
/// its own. Methods take `&self` because several futures hold the host at once.
pub trait Host: Clock {
    /// Sends an event to the page. Events arrive in the order in which they are sent.
    fn emit(&self, event: Event);

    /// Sends an event along with the bytes that belong to it, such as an export's zip. The page gets both in one
    /// message.
    fn emit_with_bytes(&self, event: Event, bytes: Vec<u8>);

    /// The date and time in UTC, such as `2024-07-26T12:00:00.000Z`; `None` where there is no calendar. It is only
    /// written into recipes and READMEs, so an export without it is complete.
    fn now_iso8601(&self) -> Option<String> {
        None
    }

    /// The latest request for the run, or for scoring and single steps, which have a run's id too.
    fn control_of(&self, _run: RunId) -> Control {
        Control::Run
    }

    /// Whether the page stopped this generation.
    fn is_stopped(&self, _id: GenerationId) -> bool {
        false
    }

    /// Whether the command that is being carried out was cancelled. Downloads poll it; other commands are dropped at an
    /// await.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// The size of the worker's own memory in bytes, if known. On wasm it never shrinks, so it is the highest use so
    /// far.
    fn memory_bytes(&self) -> Option<u64> {
        None
    }
}

/// The failure of a command that was cancelled. Its kind tells the page that nothing went wrong.
pub fn cancelled() -> Failure {
    Failure::new(FailureKind::Cancelled, "It was cancelled.")
}
