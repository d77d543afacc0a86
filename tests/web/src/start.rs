//! How the module starts.

use std::sync::atomic::{AtomicU32, Ordering};

use wasm_bindgen_test::wasm_bindgen_test;

use crate::device::device;

static NUM_STARTS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count() {
    NUM_STARTS.fetch_add(1, Ordering::Relaxed);
}

/// A static constructor, as CubeCL has hundreds.
#[used]
#[unsafe(link_section = ".init_array")]
static COUNT: extern "C" fn() = count;

/// A linker that treats the module as a command runs them at every call from JavaScript; see
/// [`worker::run_constructors`].
#[wasm_bindgen_test]
async fn constructors_run_once() {
    device().await;
    for _ in 0..100 {
        drop(js_sys::Object::new());
    }
    assert_eq!(NUM_STARTS.load(Ordering::Relaxed), 1);
}
