//! Memory that is written to up to a limit, for the JSON that a template writes: a value's size is known only while it
//! is written, and by then it would be in memory.

use std::io::{self, Write};

/// Bytes in memory, at most `max_bytes` of them. A write that would go beyond fails as a whole, with an error of the
/// kind `StorageFull`.
pub(super) struct CappedWriter {
    /// What was written so far; never more than the limit.
    bytes: Vec<u8>,
    /// The limit, from the fuel that is left: 64 bytes for each step.
    max_bytes: usize,
}

impl CappedWriter {
    /// An empty writer. It allocates as it is written to, so a large limit costs nothing.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max_bytes,
        }
    }

    /// The text that was written.
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
