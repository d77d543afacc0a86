//! A merged model on its way: what its worker says of it.

use engine::protocol::{Failure, MergerEvent};

use super::failure::Notice;
use super::{ExportState, State, Step};

impl State {
    /// Whether a merged model is being written.
    pub fn is_merging(&self) -> bool {
        matches!(self.export, ExportState::Merging { .. })
    }

    /// Whether an export keeps others waiting.
    pub fn is_exporting(&self) -> bool {
        self.export == ExportState::Packing || self.is_merging()
    }

    /// The adapter is there, and its worker begins.
    pub fn begin_merging(&mut self) {
        self.export = ExportState::Merging {
            done: 0,
            total: None,
        };
    }

    /// Takes what the worker says; nothing once it is no longer wanted.
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

    /// Nothing came of what was to be in the user's downloads.
    pub fn export_failed(&mut self, failure: Failure) {
        self.export = ExportState::None;
        self.notify(Notice::new(Step::Export, failure));
    }

    /// The user wants it no longer.
    pub fn cancel_merging(&mut self) {
        if self.is_merging() {
            self.export = ExportState::None;
        }
    }
}
