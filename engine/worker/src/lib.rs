//! The workers, and all that Inlay's engine and reader know of the browser: messages, files, storage, threads and the GPU.
//!
//! Each program in `bin` is a worker of its own; a feature chooses what it carries: the engine on the CPU (`cpu`, `threads`) or on the
//! GPU (`gpu`), or the reader of datasets (`reader`).

#[cfg(feature = "engine")]
mod blob;
mod blob_parts;
mod constructor;
#[cfg(feature = "engine")]
mod device;
#[cfg(feature = "engine")]
mod download;
#[cfg(feature = "engine")]
mod host;
#[cfg(feature = "engine")]
mod kept_file;
#[cfg(feature = "cpu")]
mod merger;
mod panic;
#[cfg(feature = "engine")]
mod port;
#[cfg(any(feature = "cpu", feature = "reader"))]
mod post;
#[cfg(feature = "reader")]
mod reading;
#[cfg(feature = "engine")]
mod sources;
#[cfg(feature = "engine")]
mod storage;
#[cfg(feature = "reader")]
mod sync_blob;
#[cfg(feature = "threads")]
mod threads;
#[cfg(feature = "engine")]
mod timer;
#[cfg(feature = "engine")]
mod worker;

pub use constructor::run_constructors;
#[cfg(feature = "engine")]
pub use device::{OpenDevice, open as open_device};
#[cfg(feature = "cpu")]
pub use merger::serve as serve_merger;
#[cfg(feature = "reader")]
pub use reading::serve as serve_reader;
#[cfg(feature = "engine")]
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
