//! The adapters available for the loaded model.

use serde::{Deserialize, Serialize};

use super::{AdapterSpec, ExportOffer, RunId, Side};

/// The id of an adapter; assigned by the worker, ascending, and never reused, even after adapters were restored in
/// another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AdapterId(pub u64);

/// Where an adapter comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterOrigin {
    Run(RunId),
    File,
    /// Other adapters, each with its weight.
    Blend(Vec<(AdapterId, f64)>),
}

/// An adapter for the loaded model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterSummary {
    pub id: AdapterId,
    pub name: String,
    pub origin: AdapterOrigin,
    pub spec: AdapterSpec,
    pub trainable_parameters: u64,
    pub exports: Vec<ExportOffer>,
    /// The sides of a split whose rows it can be scored on: of its run's, or else of the loaded dataset's.
    pub scored_on: Vec<Side>,
    /// Why it cannot be merged into the model.
    pub merge_refusal: Option<String>,
    /// Why it cannot be blended with others.
    pub blend_refusal: Option<String>,
}

/// What the zip of an adapter does not contain, so that another worker can restore the adapter completely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterCopy {
    pub id: AdapterId,
    pub name: String,
    pub origin: AdapterOrigin,
    /// The model it belongs to.
    pub model_sha256: String,
}

/// All adapters for the loaded model, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdapterList {
    pub adapters: Vec<AdapterSummary>,
    /// The adapter that the tuned model uses.
    pub active: Option<AdapterId>,
}
