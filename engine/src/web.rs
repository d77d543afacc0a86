//! The engine's only contact with the browser: messages, files, storage, the graphics device.

mod blob;
mod constructor;
mod device;
mod download;
mod host;
mod port;
#[cfg(feature = "threads")]
mod threads;
mod timer;
mod worker;

pub use constructor::run_constructors;
pub use device::{OpenDevice, open as open_device};
pub use worker::serve;

use wasm_bindgen::JsValue;

/// What a JavaScript exception says.
fn message(error: &JsValue) -> String {
    js_sys::Error::from(error.clone())
        .message()
        .as_string()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| format!("{error:?}"))
}
