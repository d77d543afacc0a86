//! The engine's environment in the bench: a clock, and turns of the event loop as in the page's worker.

use std::cell::Cell;

use engine::{
    device::DeviceProfile,
    surroundings::{Cancel, Clock, LocalFuture, Observer},
};
use js_sys::Promise;
use protocol::DeviceKind;
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

/// The device that this build measures.
pub fn profile() -> DeviceProfile {
    DeviceProfile::new(if cfg!(feature = "gpu") {
        DeviceKind::WebGpu
    } else {
        DeviceKind::Cpu
    })
}

/// The surroundings of the bench.
#[derive(Default)]
pub struct BenchHost {
    /// When text was first written, in milliseconds.
    pub first_text: Cell<Option<f64>>,
}

impl Observer for BenchHost {
    fn wrote(&self, _: String) {
        if self.first_text.get().is_none() {
            self.first_text.set(Some(now()));
        }
    }
}

impl Cancel for BenchHost {}

impl Clock for BenchHost {
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
