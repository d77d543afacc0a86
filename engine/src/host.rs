//! What the engine asks of the place it runs in: to tell, to wait, to know the time.

use std::{future::Future, pin::Pin};

use crate::protocol::{Event, Failure, GenerationId, RunId};

/// A future that stays on its thread, as everything in a worker does.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The worker's surroundings; in memory for tests.
pub trait Host {
    /// Sends an event to whoever watches.
    fn emit(&self, event: Event);

    /// Sends an event with bytes beside it.
    fn emit_with_bytes(&self, event: Event, bytes: Vec<u8>);

    /// Milliseconds from an arbitrary start.
    fn now_millis(&self) -> f64;

    /// Date and time in UTC, where it can be told.
    fn now_iso8601(&self) -> Option<String>;

    /// Lets messages arrive. Awaited between the blocks of a model, so that commands take effect there.
    fn yield_now(&self) -> LocalFuture<'_, ()>;

    /// Waits, letting messages arrive.
    fn sleep(&self, millis: u32) -> LocalFuture<'_, ()>;

    /// What was last asked of the run.
    fn control(&self, run: RunId) -> Control;

    /// Whether this generation was stopped.
    fn is_stopped(&self, id: GenerationId) -> bool;

    /// What the worker's own memory has grown to, where it can be told.
    fn memory_bytes(&self) -> Option<u64>;
}

/// A file that is written front to back and never held whole by the engine.
pub trait FileSink {
    /// Appends.
    ///
    /// # Errors
    /// Why the surroundings take no more, such as a full disk.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

/// What the user last asked of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    #[default]
    Run,
    Pause,
    Stop,
}
