//! A `File` or `Blob` read without waiting, which only a worker may do.

use std::io::{self, Read, Seek, SeekFrom};

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::{Blob, FileReaderSync};

use super::message;

/// A blob that is read synchronously.
pub struct SyncBlob {
    blob: Blob,
    reader: FileReaderSync,
    num_bytes: u64,
    position: u64,
}

impl SyncBlob {
    /// # Errors
    /// The browser's, if it has no such reader.
    pub fn new(blob: Blob) -> Result<Self, JsValue> {
        Ok(Self {
            reader: FileReaderSync::new()?,
            // A size is an integer far below 2^53.
            num_bytes: blob.size() as u64,
            blob,
            position: 0,
        })
    }

    pub fn num_bytes(&self) -> u64 {
        self.num_bytes
    }
}

impl Read for SyncBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.num_bytes.min(self.position + buffer.len() as u64);
        if end <= self.position {
            return Ok(0);
        }
        let failed = |error: JsValue| io::Error::other(message(&error));
        let slice = self
            .blob
            .slice_with_f64_and_f64(self.position as f64, end as f64)
            .map_err(failed)?;
        let bytes = self.reader.read_as_array_buffer(&slice).map_err(failed)?;
        let bytes = Uint8Array::new(&bytes);
        // The file may have become shorter since it was dropped.
        let num_bytes = (bytes.length() as usize).min(buffer.len());
        bytes
            .subarray(0, num_bytes as u32)
            .copy_to(&mut buffer[..num_bytes]);
        self.position += num_bytes as u64;
        Ok(num_bytes)
    }
}

impl Seek for SyncBlob {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.num_bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
