//! A `File` or `Blob` as a source of bytes; the browser keeps it, and only slices come into the worker's memory.

use std::{future::Future, pin::Pin};

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use super::message;
use engine::weights::source::{ByteSource, SourceError};

/// A source of bytes backed by a `Blob`.
pub struct BlobSource {
    blob: Blob,
    sha256_hex: Option<String>,
}

impl BlobSource {
    pub fn new(blob: Blob) -> Self {
        Self {
            blob,
            sha256_hex: None,
        }
    }

    /// A source backed by a blob whose SHA-256 is known.
    pub fn hashed(blob: Blob, sha256_hex: String) -> Self {
        Self {
            blob,
            sha256_hex: Some(sha256_hex),
        }
    }
}

impl ByteSource for BlobSource {
    fn num_bytes(&self) -> u64 {
        // A size is an integer far below 2^53.
        self.blob.size() as u64
    }

    fn sha256_hex(&self) -> Option<&str> {
        self.sha256_hex.as_deref()
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        Box::pin(async move {
            let end = self.end_of(offset, num_bytes)?;
            let slice = self
                .blob
                .slice_with_f64_and_f64(offset as f64, end as f64)
                .map_err(|error| SourceError::Read(message(&error)))?;
            let buffer = JsFuture::from(slice.array_buffer())
                .await
                .map_err(|error| SourceError::Read(message(&error)))?;
            Ok(Uint8Array::new(buffer.unchecked_ref::<ArrayBuffer>()).to_vec())
        })
    }
}
