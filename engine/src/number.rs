//! Numbers in JSON, of which the whole ones stay whole: some readers of `lora_alpha` take integers alone.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A number as JSON, a whole one without a fraction.
pub(crate) fn plain_number(value: f64) -> Value {
    // Every whole number of this size is exact.
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => Value::from(value as i64),
        false => Value::from(value),
    }
}

/// Whole numbers without a fraction, as recipes always had them.
pub(crate) fn plain<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    plain_number(*value).serialize(serializer)
}

pub(crate) fn plain_map<S: Serializer>(
    values: &BTreeMap<String, f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let values = values
        .iter()
        .map(|(key, value)| (key, plain_number(*value)));
    serializer.collect_map(values)
}
