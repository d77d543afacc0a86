//! A blob that is made piece by piece: the browser keeps the pieces, on the disk where they are large.

use std::cell::Cell;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::Blob;

/// Pieces that are gathered before the browser is given them: a blob for each slice of a download would be thousands.
const GATHERED_BYTES: u32 = 4 << 20;

/// The pieces of a blob that is not whole yet.
#[derive(Default)]
pub struct BlobParts {
    blobs: Array,
    /// Arrays that are in no blob yet.
    gathered: Array,
    gathered_bytes: Cell<u32>,
}

impl BlobParts {
    /// Appends bytes of the program's memory.
    ///
    /// # Errors
    /// The browser's, if it has no room.
    #[cfg(any(feature = "cpu", feature = "reader"))]
    pub fn push(&self, bytes: &[u8]) -> Result<(), JsValue> {
        self.push_array(&Uint8Array::from(bytes))
    }

    /// Appends bytes of the browser's memory, which must not change any more.
    ///
    /// # Errors
    /// The browser's, if it has no room.
    pub fn push_array(&self, bytes: &Uint8Array) -> Result<(), JsValue> {
        self.gathered.push(bytes);
        let num_bytes = self.gathered_bytes.get().saturating_add(bytes.length());
        self.gathered_bytes.set(num_bytes);
        if num_bytes >= GATHERED_BYTES {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&self) -> Result<(), JsValue> {
        let blob = Blob::new_with_u8_array_sequence(&self.gathered)?;
        self.blobs.push(&blob);
        self.gathered.set_length(0);
        self.gathered_bytes.set(0);
        Ok(())
    }

    /// The whole blob.
    ///
    /// # Errors
    /// The browser's, if it has no room.
    pub fn finish(self) -> Result<Blob, JsValue> {
        self.hand_over()?;
        Blob::new_with_blob_sequence(&self.blobs)
    }
}
