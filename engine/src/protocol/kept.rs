//! The adapters that are at hand beside the loaded model.

use serde::{Deserialize, Serialize};

use super::{AdapterSpec, ExportOffer, RunId};

/// Names one adapter; assigned by the worker, ascending, and never again after it was restored in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AdapterId(pub u64);

/// Where an adapter comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterOrigin {
    Run(RunId),
    File,
    /// Others, each times its weight.
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
    /// Why it cannot be merged into the model.
    pub merge_refusal: Option<String>,
    /// Why it cannot be blended with others.
    pub blend_refusal: Option<String>,
}

/// What a zip with the adapter in it does not tell, so that another worker can take it as what it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterCopy {
    pub id: AdapterId,
    pub name: String,
    pub origin: AdapterOrigin,
    /// The model that it is for.
    pub model_sha256: String,
}

/// All that are for the loaded model, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdapterList {
    pub adapters: Vec<AdapterSummary>,
    /// The one that the tuned model is.
    pub active: Option<AdapterId>,
}
