//! The worker as a [`Host`].

use std::rc::Rc;

use protocol::{Event, GenerationId, RunId, Ticket};
use wasm_bindgen::JsValue;
use web_sys::{DedicatedWorkerGlobalScope, Performance};

use super::{
    port::Port,
    timer::{Turns, sleep},
};
use engine::{
    host::Host,
    surroundings::{Clock, Control, LocalFuture},
};

/// The implementation of [`Host`] for a worker.
pub struct WebHost {
    scope: DedicatedWorkerGlobalScope,
    port: Rc<Port>,
    turns: Turns,
    performance: Performance,
}

impl WebHost {
    /// # Errors
    /// The browser's, if it lacks message channels or a clock.
    pub fn new(scope: DedicatedWorkerGlobalScope, port: Rc<Port>) -> Result<Self, JsValue> {
        let performance = scope.performance().ok_or("the worker has no clock")?;
        Ok(Self {
            scope,
            port,
            turns: Turns::new()?,
            performance,
        })
    }

    /// A command's turn has come.
    pub fn begin(&self, ticket: Ticket) {
        self.port.controls.begin(ticket);
    }

    /// See [`super::port::Controls::unless_cancelled`].
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.port.controls.unless_cancelled(work).await
    }
}

impl Clock for WebHost {
    fn now_millis(&self) -> f64 {
        self.performance.now()
    }

    fn yield_now(&self) -> LocalFuture<'_, ()> {
        Box::pin(self.turns.yield_now())
    }

    fn sleep(&self, millis: u32) -> LocalFuture<'_, ()> {
        Box::pin(sleep(&self.scope, millis))
    }
}

impl Host for WebHost {
    fn emit(&self, event: Event) {
        self.port.emit(&event, None);
    }

    fn emit_with_bytes(&self, event: Event, bytes: Vec<u8>) {
        self.port.emit(&event, Some(bytes));
    }

    fn now_iso8601(&self) -> Option<String> {
        js_sys::Date::new_0().to_iso_string().as_string()
    }

    fn control_of(&self, run: RunId) -> Control {
        self.port.controls.of_run(run)
    }

    fn is_stopped(&self, id: GenerationId) -> bool {
        self.port.controls.is_stopped(id)
    }

    fn is_cancelled(&self) -> bool {
        self.port.controls.is_cancelled()
    }

    fn memory_bytes(&self) -> Option<u64> {
        Some(memory_bytes())
    }
}

/// The size of the worker's memory.
pub fn memory_bytes() -> u64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().into();
    let buffer: js_sys::ArrayBuffer = memory.buffer().into();
    u64::from(buffer.byte_length())
}
