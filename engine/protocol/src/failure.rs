//! Failures as data: the page decides by the kind what to say and offer, never by parsing a message.

use serde::{Deserialize, Serialize};

use super::RunId;

/// What went wrong, where and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    pub kind: FailureKind,
    /// One sentence: what happened.
    pub what: String,
    /// The place: a file, a line and column, a tensor; or several, one per line.
    pub place: Option<String>,
    /// One sentence: what the user can do.
    pub remedy: Option<String>,
    /// What a graphics library said, word for word: for a report, as the page does not show it.
    pub raw: Option<Box<Raw>>,
    /// The run that failed, if one did.
    pub run: Option<RunId>,
}

/// A text as it came; failures hold it in a box, as hardly any has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Raw(pub String);

impl Failure {
    /// A failure with neither place nor remedy yet.
    pub fn new(kind: FailureKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            place: None,
            remedy: None,
            raw: None,
            run: None,
        }
    }

    /// Adds the place: a file, a line and column, a tensor.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Adds what the user can do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds what a graphics library said.
    pub fn raw(mut self, raw: Option<String>) -> Self {
        self.raw = raw.map(|raw| Box::new(Raw(raw)));
        self
    }

    /// Says which run failed.
    pub fn in_run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }
}

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The file is not in a model format, or is damaged.
    ModelFile,
    /// A valid file of a model that this engine cannot run.
    UnsupportedModel,
    /// The files of an adapter that are damaged or do not fit the loaded model.
    Adapter,
    /// A missing tokenizer, or one that cannot be used.
    Tokenizer,
    /// The chat template cannot be rendered.
    Template,
    /// A dataset that cannot be read or has nothing to learn from.
    Dataset,
    /// Settings that are not possible.
    Settings,
    /// A download or a file read failed.
    Network,
    /// The device does not have enough memory.
    OutOfMemory,
    /// The loss or a gradient became NaN or infinite.
    NonFinite,
    /// The GPU was lost.
    DeviceLost,
    /// The command does not fit the current state (nothing loaded, already training).
    WrongState,
    /// The user cancelled the command.
    Cancelled,
    /// A bug in Inlay.
    Internal,
}
