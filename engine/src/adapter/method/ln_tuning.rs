//! Norm tuning (Zhao et al., arXiv 2312.11420; for models with biases BitFit, Ben Zaken et al., arXiv 2106.10199): the
//! weights `w` of the norms `w x / rms(x)` are trained, starting from the base's, alone or in addition to another
//! method. RMSNorms have no biases, and those of projections stay as they are.
//!
//! A norm's weight is itself the parameter, so there is nothing to compute here: the layout has a slot for each, and
//! [`crate::layers::block`] uses it instead of the base's. Merging replaces the norm's weight with it.

use std::collections::BTreeSet;

use protocol::AdapterSpec;
use serde_json::{Value, json};

use super::{Adaptation, Projections};
use crate::adapter::{
    ModelShape, NotLowRank,
    peft::{ConfigReader, ConfigWriter, NORMS, ONLY_ALL_NORMS, PeftConfig, Remedy},
};

/// Norm tuning as [`super::of`] returns it.
pub(super) struct LnTuning;

impl Adaptation for LnTuning {
    fn projections(&self) -> Option<&dyn Projections> {
        None
    }

    fn config(&self) -> &dyn PeftConfig {
        self
    }

    fn not_low_rank(&self) -> Option<NotLowRank> {
        Some(NotLowRank::Norms)
    }

    /// PEFT wraps a tuned norm, so its weight has a longer name than one among `modules_to_save`.
    fn norm_suffix(&self) -> &'static str {
        "ln_tuning_layers.weight"
    }
}

impl PeftConfig for LnTuning {
    fn peft_type(&self) -> &'static str {
        "LN_TUNING"
    }

    /// `target_modules` are all norms; the method has no other setting.
    fn write(&self, _: &AdapterSpec, _: &ModelShape, config: &mut ConfigWriter) {
        config.put("target_modules", json!(NORMS));
        config.put("modules_to_save", Value::Null);
    }

    /// Reads nothing but `target_modules`, which must be all norms of the model.
    fn read(&self, _: &mut AdapterSpec, reader: &mut dyn ConfigReader) {
        let key = "target_modules";
        let names: BTreeSet<&str> = reader.names(key).into_iter().flatten().collect();
        if names != BTreeSet::from(NORMS) {
            reader.refuse(key, ONLY_ALL_NORMS, Remedy::Merge);
        }
    }
}
