//! The engine's surroundings in memory.

use std::{
    cell::{Cell, RefCell},
    future::ready,
};

use engine::{
    host::{Control, Host, LocalFuture},
    protocol::{Event, RunId},
};

/// The run of the tests.
pub const RUN: RunId = RunId(1);

/// Records events; a script presses the buttons. Its clock ticks a millisecond at every look.
#[derive(Default)]
pub struct ScriptedHost {
    /// What to press once so many yields and sleeps have passed, in ascending order.
    pub script: Vec<(u64, Control)>,
    pub events: RefCell<Vec<Event>>,
    pub num_yields: Cell<u64>,
    pub num_sleeps: Cell<u64>,
    millis: Cell<f64>,
}

impl Host for ScriptedHost {
    fn emit(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    fn now_millis(&self) -> f64 {
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

    fn control(&self, _: RunId) -> Control {
        let now = self.num_yields.get() + self.num_sleeps.get();
        let pressed = self.script.iter().rfind(|(at, _)| *at <= now);
        pressed.map_or(Control::Run, |(_, control)| *control)
    }

    fn is_generation_stopped(&self) -> bool {
        false
    }

    fn memory_bytes(&self) -> Option<u64> {
        None
    }
}
