//! Memory that is written to up to a limit.

use std::io::{self, Write};

pub(super) struct CappedWriter {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl CappedWriter {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max_bytes,
        }
    }

    pub(super) fn into_string(self) -> String {
        // JSON is text, so nothing is lost here.
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Write for CappedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max_bytes - self.bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
