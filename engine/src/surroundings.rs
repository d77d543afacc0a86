//! What long work needs of the place that it runs in: the time, whoever may stop it, and whoever watches it. A program
//! without a page gives what it has of these; the page's worker is a [`Host`](crate::host::Host).

use std::{
    future::{Future, ready},
    pin::Pin,
    time::Instant,
};

use protocol::{EvaluationMetrics, RunState, StepMetrics};

/// A future that stays on its thread, as everything in a worker does.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Tells the time, and gives everything else a turn.
pub trait Clock {
    /// Returns milliseconds from an arbitrary start.
    fn now_millis(&self) -> f64;

    /// Lets messages arrive. Awaited between the blocks of a model, so that requests take effect there.
    fn yield_now(&self) -> LocalFuture<'_, ()> {
        Box::pin(ready(()))
    }

    /// Waits, letting messages arrive.
    fn sleep(&self, _millis: u32) -> LocalFuture<'_, ()> {
        self.yield_now()
    }
}

/// A native program's clock, which starts at that instant.
impl Clock for Instant {
    fn now_millis(&self) -> f64 {
        self.elapsed().as_secs_f64() * 1000.0
    }
}

/// Says whether the work should pause or stop. By default nobody asks for it.
pub trait Cancel {
    /// Returns the latest request.
    fn control(&self) -> Control {
        Control::Run
    }
}

/// The latest request for work under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    /// Go on.
    #[default]
    Run,
    /// Wait until the request changes.
    Pause,
    /// End in order, keeping what was achieved.
    Stop,
}

/// Whoever watches: told of everything as it happens. Nothing that is told is lost by not listening; the results have
/// it all.
pub trait Observer {
    /// The run begins something else, or pauses.
    fn entered(&self, _state: RunState) {}

    /// An optimizer step is done.
    fn stepped(&self, _step: StepMetrics) {}

    /// The held-out rows were scored.
    fn evaluated(&self, _evaluation: EvaluationMetrics) {}

    /// So many of `total` rows are scored, or bytes written.
    fn progressed(&self, _done: u64, _total: u64) {}

    /// The next piece of an answer's text; never empty.
    fn wrote(&self, _text: String) {}

    /// How much memory the program holds, if that is known and the device has none of its own.
    fn memory_bytes(&self) -> Option<u64> {
        None
    }
}

/// Everything that long work needs of its place: the three traits together, which give it to whoever has them.
pub trait Surroundings: Clock + Cancel + Observer {}

impl<T: Clock + Cancel + Observer> Surroundings for T {}

/// Nobody watches, and nobody stops it.
impl Cancel for Instant {}
impl Observer for Instant {}
