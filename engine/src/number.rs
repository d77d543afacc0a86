//! Numbers in JSON, of which the whole ones stay whole: some readers of `lora_alpha` take integers alone.

use serde_json::Value;

/// A number as JSON, a whole one without a fraction: `16.0` becomes `16`, `0.5` stays. What is not finite becomes
/// `null`.
pub(crate) fn plain_number(value: f64) -> Value {
    // Every whole number of this size is exact.
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => Value::from(value as i64),
        false => Value::from(value),
    }
}
