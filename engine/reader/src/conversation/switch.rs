//! The switches by which datasets say which messages are learned, each under the names that are in use.

use serde_json::{Map, Value};

use crate::recognize::plain;

/// 1 and true: the message is learned. OpenAI, Together, Mistral; LLaMA-Factory; ms-swift; axolotl; Tinker.
const LEARNED: [&str; 8] = [
    "weight",
    "lossweight",
    "lossscale",
    "train",
    "training",
    "trainable",
    "loss",
    "lossmask",
];
/// 1 and true: the message is context. torchtune.
const MASKED: [&str; 2] = ["masked", "mask"];
/// Names that mean other things, too: a value that is no switch is none of theirs.
const DOUBTFUL: [&str; 3] = ["loss", "mask", "training"];

/// Whether a message is only read, never learned.
///
/// # Errors
/// A switch that is neither on nor off, by its name and value.
pub(super) fn is_context(message: &Map<String, Value>) -> Result<bool, String> {
    let mut is_context = false;
    for (name, value) in message {
        let known = plain(name);
        let is_detail =
            known == "traindetail" && value.as_array().is_some_and(|list| !list.is_empty());
        if is_detail {
            return Err(format!("`{name}`, which marks parts of a message"));
        }
        let is_learned_if = match known.as_str() {
            known if LEARNED.contains(&known) => true,
            known if MASKED.contains(&known) => false,
            _ => continue,
        };
        match truth(value) {
            Some(is_on) => is_context |= is_on != is_learned_if,
            None if is_empty(value) || DOUBTFUL.contains(&known.as_str()) => {}
            None => return Err(format!("the `{name}` {value}")),
        }
    }
    Ok(is_context)
}

/// A value that is on or off: a boolean, 0 or 1, or a text that says so.
pub fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is_on) => Some(*is_on),
        Value::Number(number) => match number.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "0" | "0.0" | "false" | "no" => Some(false),
            "1" | "1.0" | "true" | "yes" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}
