//! The progress of a merged model, as its worker reports it.

use protocol::{Failure, MergerEvent};

use super::failure::Notice;
use super::{ExportState, State, Step};

impl State {
    /// Whether a merged model is being written.
    pub fn is_merging(&self) -> bool {
        matches!(self.export, ExportState::Merging { .. })
    }

    /// Whether an export blocks others.
    pub fn is_exporting(&self) -> bool {
        self.export == ExportState::Packing || self.is_merging()
    }

    /// Records that the adapter is available and its worker begins.
    pub fn begin_merging(&mut self) {
        self.export = ExportState::Merging {
            done: 0,
            total: None,
        };
    }

    /// Applies an event of the worker; ignores it once the model is no longer wanted.
    pub fn apply_merger(&mut self, event: MergerEvent) {
        if !self.is_merging() {
            return;
        }
        match event {
            MergerEvent::Ready => {}
            MergerEvent::Progress { done, total } => {
                self.export = ExportState::Merging { done, total };
            }
            MergerEvent::Written {
                file_name,
                num_bytes,
                memory_bytes,
            } => {
                self.export = ExportState::Ready {
                    file_name,
                    bytes: num_bytes,
                    memory_bytes: Some(memory_bytes),
                };
            }
            MergerEvent::Failed { failure } => self.merging_failed(failure),
        }
    }

    pub fn merging_failed(&mut self, failure: Failure) {
        if self.is_merging() {
            self.export_failed(failure);
        }
    }

    /// Records that an export failed.
    pub fn export_failed(&mut self, failure: Failure) {
        self.export = ExportState::None;
        self.notify(Notice::new(Step::Export, failure));
    }

    /// Cancels the export at the user's request.
    pub fn cancel_merging(&mut self) {
        if self.is_merging() {
            self.export = ExportState::None;
        }
    }
}
