//! Hands on what was read, and says how far the reading is.

use std::{cell::Cell, rc::Rc};

use super::{
    error::DatasetError,
    record::{Fault, Place, Record, Sink},
};

/// Bytes between two reports of progress.
const PROGRESS_BYTES: u64 = 256 << 10;

/// A [`Sink`] that is told the progress as records come.
pub(super) struct Output<'a> {
    sink: &'a mut dyn Sink,
    /// Bytes of the present file that were read so far.
    pub(super) count: Rc<Cell<u64>>,
    /// Bytes of the files before it.
    before: u64,
    /// Size of the present file.
    num_bytes: u64,
    reported: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            count: Rc::default(),
            before: 0,
            num_bytes: 0,
            reported: 0,
        }
    }

    /// A dropped file begins.
    pub(super) fn begin(&mut self, num_bytes: u64) {
        self.count.set(0);
        self.num_bytes = num_bytes;
    }

    /// It was read to its end.
    pub(super) fn end(&mut self) {
        self.before += self.num_bytes;
        self.num_bytes = 0;
        self.count.set(0);
        self.report(self.before);
    }

    pub(super) fn file(&mut self, name: &str, format: &str, encoding: &str) {
        self.sink.file(name, format, encoding);
    }

    pub(super) fn encoding(&mut self, encoding: &str) {
        self.sink.encoding(encoding);
    }

    pub(super) fn note(&mut self, file: &str, note: &str) {
        self.sink.note(file, note);
    }

    pub(super) fn refused(&mut self, file: &str, error: &DatasetError) {
        self.sink.refused(file, error);
    }

    pub(super) fn record(&mut self, record: Record<'_>) {
        self.sink.record(record);
        self.progress();
    }

    pub(super) fn fault(&mut self, place: Place, what: impl Into<String>, remedy: &str) {
        self.sink.fault(
            place,
            Fault {
                what: what.into(),
                remedy: remedy.to_owned(),
            },
        );
        self.progress();
    }

    /// Tells how much was read, where that has moved on. A file that is looked at twice counts once.
    pub(super) fn progress(&mut self) {
        let done = self.before + self.count.get().min(self.num_bytes);
        if done >= self.reported + PROGRESS_BYTES {
            self.report(done);
        }
    }

    fn report(&mut self, done: u64) {
        if done > self.reported {
            self.reported = done;
            self.sink.progress(done);
        }
    }
}
