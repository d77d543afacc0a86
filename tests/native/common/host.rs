//! The engine's environment in memory.

use std::{
    cell::{Cell, RefCell},
    future::ready,
};

use engine::{
    host::Host,
    surroundings::{Cancel, Clock, Control, LocalFuture, Observer},
};
use protocol::{
    EvaluationMetrics, Event, GenerationId, Phase, RunId, RunState, Speaker, StepMetrics,
};

/// The run of the tests.
pub const RUN: RunId = RunId(1);

/// Records events; a script presses the buttons. Its clock advances by a millisecond whenever it is read, unless
/// another clock is given.
#[derive(Default)]
pub struct ScriptedHost {
    /// What to press after how many yields and sleeps, in ascending order.
    pub script: Vec<(u64, Control)>,
    /// Each with the yields and sleeps before it.
    pub events: RefCell<Vec<(u64, Event)>>,
    /// The bytes sent along with events.
    pub zips: RefCell<Vec<Vec<u8>>>,
    /// After how many yields and sleeps the command is cancelled.
    pub cancelled_at: Option<u64>,
    pub num_yields: Cell<u64>,
    pub num_sleeps: Cell<u64>,
    /// Milliseconds since some moment.
    pub clock: Option<fn() -> f64>,
    millis: Cell<f64>,
}

impl ScriptedHost {
    pub fn new(script: Vec<(u64, Control)>) -> Self {
        Self {
            script,
            ..Self::default()
        }
    }

    /// Yields and sleeps so far.
    pub fn now(&self) -> u64 {
        self.num_yields.get() + self.num_sleeps.get()
    }

    /// The states reported by the run, in order.
    pub fn states(&self) -> Vec<RunState> {
        let state = |event: &Event| match event {
            Event::RunState { state, .. } => Some(*state),
            _ => None,
        };
        let events = self.events.borrow();
        events
            .iter()
            .filter_map(|(_, event)| state(event))
            .collect()
    }

    /// Yields and sleeps before the end of a step.
    pub fn end_of_step(&self, step: u64) -> u64 {
        let events = self.events.borrow();
        let ends =
            |event: &Event| matches!(event, Event::Steps { steps, .. } if steps[0].step == step);
        events.iter().find(|(_, event)| ends(event)).unwrap().0
    }
}

impl Clock for ScriptedHost {
    fn now_millis(&self) -> f64 {
        if let Some(clock) = self.clock {
            return clock();
        }
        self.millis.set(self.millis.get() + 1.0);
        self.millis.get()
    }

    fn yield_now(&self) -> LocalFuture<'_, ()> {
        self.num_yields.set(self.num_yields.get() + 1);
        Box::pin(ready(()))
    }

    fn sleep(&self, millis: u32) -> LocalFuture<'_, ()> {
        self.num_sleeps.set(self.num_sleeps.get() + 1);
        self.millis.set(self.millis.get() + f64::from(millis));
        Box::pin(ready(()))
    }
}

impl Cancel for ScriptedHost {
    fn control(&self) -> Control {
        let pressed = self.script.iter().rfind(|(at, _)| *at <= self.now());
        pressed.map_or(Control::Run, |(_, control)| *control)
    }
}

/// Records what it is told as the events that a worker would send.
impl Observer for ScriptedHost {
    fn entered(&self, state: RunState) {
        self.emit(Event::RunState { run: RUN, state });
    }

    fn stepped(&self, step: StepMetrics) {
        let steps = vec![step];
        self.emit(Event::Steps { run: RUN, steps });
    }

    fn evaluated(&self, evaluation: EvaluationMetrics) {
        let evaluations = vec![evaluation];
        self.emit(Event::Evaluations {
            run: RUN,
            evaluations,
        });
    }

    fn progressed(&self, done: u64, total: u64) {
        self.emit(Event::Progress {
            phase: Phase::Evaluating,
            done,
            total: Some(total),
        });
    }

    fn wrote(&self, text: String) {
        self.emit(Event::GenerationText {
            id: GenerationId(1),
            speaker: Speaker::Base,
            text,
        });
    }
}

impl Host for ScriptedHost {
    fn emit(&self, event: Event) {
        self.events.borrow_mut().push((self.now(), event));
    }

    fn emit_with_bytes(&self, event: Event, bytes: Vec<u8>) {
        self.zips.borrow_mut().push(bytes);
        self.emit(event);
    }

    fn control_of(&self, _: RunId) -> Control {
        self.control()
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled_at.is_some_and(|at| at <= self.now())
    }
}
