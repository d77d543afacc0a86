//! The engine's only contact with the browser: messages, files, storage, and the GPU.

#[cfg(any(feature = "cpu", feature = "gpu"))]
mod blob;
mod blob_parts;
mod constructor;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod device;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod download;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod host;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod kept_file;
#[cfg(feature = "cpu")]
mod merger;
mod panic;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod port;
#[cfg(any(feature = "cpu", feature = "reader"))]
mod post;
#[cfg(feature = "reader")]
mod reading;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod sources;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod storage;
#[cfg(feature = "reader")]
mod sync_blob;
#[cfg(feature = "threads")]
mod threads;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod timer;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod worker;

pub use constructor::run_constructors;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub use device::{OpenDevice, open as open_device};
#[cfg(feature = "cpu")]
pub use merger::serve as serve_merger;
#[cfg(feature = "reader")]
pub use reading::serve as serve_reader;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub use worker::serve;

use wasm_bindgen::JsValue;

/// The message of a JavaScript exception.
fn message(error: &JsValue) -> String {
    js_sys::Error::from(error.clone())
        .message()
        .as_string()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| format!("{error:?}"))
}
