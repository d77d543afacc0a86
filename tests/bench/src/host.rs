//! The engine's environment in the bench: a clock, and turns of the event loop as in the page's worker.

use std::cell::Cell;

use engine::host::{Host, LocalFuture};
use js_sys::Promise;
use protocol::Event;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// Defined by `ours_worker.js`: resolves after the waiting messages.
    #[wasm_bindgen(js_namespace = globalThis, js_name = nextTurn)]
    fn next_turn() -> Promise;
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn now() -> f64;
}

/// The host of the bench.
#[derive(Default)]
pub struct BenchHost {
    /// When text was first written, in milliseconds.
    pub first_text: Cell<Option<f64>>,
}

impl Host for BenchHost {
    fn emit(&self, event: Event) {
        if matches!(event, Event::GenerationText { .. }) && self.first_text.get().is_none() {
            self.first_text.set(Some(now()));
        }
    }

    fn emit_with_bytes(&self, event: Event, _: Vec<u8>) {
        self.emit(event);
    }

    fn now_millis(&self) -> f64 {
        now()
    }

    fn yield_now(&self) -> LocalFuture<'_, ()> {
        Box::pin(async {
            // A failed turn still counts as a turn.
            let _ = JsFuture::from(next_turn()).await;
        })
    }
}
