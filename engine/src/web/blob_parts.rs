//! A blob that is made piece by piece: the browser keeps the pieces, on the disk where they are large.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::Blob;

/// See the module.
#[derive(Default)]
pub struct BlobParts(Array);

impl BlobParts {
    /// Appends.
    ///
    /// # Errors
    /// The browser's, if it has no room.
    pub fn push(&self, bytes: &[u8]) -> Result<(), JsValue> {
        let part = Array::of1(&Uint8Array::from(bytes));
        let blob = Blob::new_with_u8_array_sequence(&part)?;
        self.0.push(&blob);
        Ok(())
    }

    /// All of it.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(self) -> Result<Blob, JsValue> {
        Blob::new_with_blob_sequence(&self.0)
    }
}
