//! The messages between the page and the worker that writes a merged model: one worker per model, which is ended to
//! stop it.

use serde::{Deserialize, Serialize};

use super::{Failure, MergedKind, ModelSource};

/// What the page asks of this worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergerCommand {
    /// Answers with [`MergerEvent::Written`]. The adapter's zip, in PEFT's form, is sent along with the message,
    /// followed by the model's files for [`ModelSource::Files`].
    Write {
        source: ModelSource,
        kind: MergedKind,
    },
}

/// What the worker tells the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergerEvent {
    /// The first message of the worker: it is listening.
    Ready,
    /// In bytes: what is written, or, if the model has to be fetched, what is fetched.
    Progress {
        done: u64,
        total: Option<u64>,
    },
    /// The zip is sent along with the message as a blob.
    Written {
        file_name: String,
        num_bytes: u64,
        /// The size of the worker's own memory.
        memory_bytes: u64,
    },
    Failed {
        failure: Failure,
    },
}
