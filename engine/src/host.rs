//! What the engine needs from its environment: to send events, to wait, to know the time.

mod gathering;

use std::future::{Future, ready};
use std::pin::Pin;

pub use gathering::Gathering;

use protocol::{Event, Failure, FailureKind, GenerationId, RunId};

/// A future that stays on its thread, as everything in a worker does.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The worker's environment; in memory for tests. What has a default is that of an environment that nobody commands: it has
/// no messages to let in, no requests, no calendar and no memory of its own.
pub trait Host {
    /// Sends an event to the page.
    fn emit(&self, event: Event);

    /// Sends an event along with bytes.
    fn emit_with_bytes(&self, event: Event, bytes: Vec<u8>);

    /// Milliseconds from an arbitrary start.
    fn now_millis(&self) -> f64;

    /// The date and time in UTC, if known.
    fn now_iso8601(&self) -> Option<String> {
        None
    }

    /// Lets messages arrive. Awaited between the blocks of a model, so that commands take effect there.
    fn yield_now(&self) -> LocalFuture<'_, ()> {
        Box::pin(ready(()))
    }

    /// Waits, letting messages arrive.
    fn sleep(&self, _millis: u32) -> LocalFuture<'_, ()> {
        self.yield_now()
    }

    /// The latest request for the run.
    fn control(&self, _run: RunId) -> Control {
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

/// A file that is written front to back, which the engine never holds as a whole.
pub trait FileSink {
    /// Appends bytes.
    ///
    /// # Errors
    /// Why nothing more can be written, such as a full disk.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

/// The user's latest request for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    #[default]
    Run,
    Pause,
    Stop,
}
