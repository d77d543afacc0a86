//! Keeps the screen, and thus the machine, awake during a run.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Function;
use leptos::prelude::window;
use leptos::task::spawn_local;
use wasm_bindgen::{JsCast, JsValue};

use super::property::{call, get};

/// Holds the screen's wake lock while wanted. In a browser without one, or in a hidden tab, it does nothing.
#[derive(Clone, Default)]
pub struct WakeLock {
    is_wanted: Rc<Cell<bool>>,
    sentinel: Rc<RefCell<Option<JsValue>>>,
}

impl WakeLock {
    /// Takes or releases the lock.
    pub fn set(&self, is_wanted: bool) {
        if self.is_wanted.replace(is_wanted) == is_wanted {
            return;
        }
        if !is_wanted {
            self.release();
            return;
        }
        let lock = self.clone();
        spawn_local(async move {
            let Some(api) = get(&window().navigator(), "wakeLock") else {
                return;
            };
            *lock.sentinel.borrow_mut() = call(&api, "request", &JsValue::from_str("screen")).await;
            if !lock.is_wanted.get() {
                lock.release();
            }
        });
    }

    fn release(&self) {
        let Some(sentinel) = self.sentinel.borrow_mut().take() else {
            return;
        };
        if let Some(release) =
            get(&sentinel, "release").and_then(|release| release.dyn_into::<Function>().ok())
        {
            // If the browser has already released the lock, that is fine, too.
            let _ = release.call0(&sentinel);
        }
    }
}
