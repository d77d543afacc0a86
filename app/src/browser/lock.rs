//! Web Locks, by which the page learns that a worker ended: a worker holds a lock as long as it lives, however it ends.

use js_sys::{Array, Function, Object, Promise, Reflect};
use leptos::task::spawn_local;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortController;

use super::property::get;

/// Waits for a lock, until it is dropped.
pub struct Wait {
    abort: AbortController,
}

impl Wait {
    /// Calls `on_free` once nobody holds the lock of this name. `None` if the browser has no locks.
    pub fn until_free(name: &str, on_free: impl FnOnce() + 'static) -> Option<Self> {
        let navigator = web_sys::window()?.navigator();
        let locks = get(&navigator, "locks")?;
        let request: Function = get(&locks, "request")?.dyn_into().ok()?;
        let abort = AbortController::new().ok()?;
        let options = Object::new();
        Reflect::set(&options, &"signal".into(), &abort.signal()).ok()?;
        let granted = Closure::once_into_js(move |_lock: JsValue| on_free());
        let arguments = Array::of3(&name.into(), &options, &granted);
        let asked = request.apply(&locks, &arguments).ok()?;
        spawn_local(async move {
            // It is rejected where the wait is given up.
            let _ = JsFuture::from(Promise::resolve(&asked)).await;
        });
        Some(Self { abort })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
