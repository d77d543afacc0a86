//! The messages between the page and the worker that writes a merged model: one worker for one model, ended to stop it.

use serde::{Deserialize, Serialize};

use super::{Failure, MergedKind, ModelSource};

/// What the page asks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergerCommand {
    /// Answers with [`MergerEvent::Written`]. The adapter's zip, in the form of PEFT, rides beside the message, and for
    /// [`ModelSource::Files`] the model's files behind it.
    Write {
        source: ModelSource,
        kind: MergedKind,
    },
}

/// What it tells the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergerEvent {
    /// First message of the worker: it listens from now on.
    Ready,
    /// In bytes; what is written, or fetched where the model has to be.
    Progress {
        done: u64,
        total: Option<u64>,
    },
    /// The zip rides beside the message as a blob.
    Written {
        file_name: String,
        num_bytes: u64,
        /// What the worker's own memory grew to.
        memory_bytes: u64,
    },
    Failed {
        failure: Failure,
    },
}
