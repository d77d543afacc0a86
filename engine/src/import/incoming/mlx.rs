//! What mlx-lm saves: `adapters.safetensors` and a config of its own. It computes `y = W x + scale (x A) B`;
//! DoRA's magnitudes are called `m`.
//!
//! ```text
//! {"fine_tune_type": "lora", "model": "...", "num_layers": 8,
//!  "lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0}}      ->  "r": 8, "lora_alpha": 160
//! ```
//!
//! mlx-lm multiplies by `scale` and PEFT by `lora_alpha / r`, so alpha is `scale r`. Which blocks and modules
//! were trained is taken from the tensors, not from `num_layers` and `keys`.
//!
//! # Shapes
//! - `lora_a`: `[in, r]`, the transpose of PEFT's
//! - `lora_b`: `[r, out]`, the transpose of PEFT's
//! - `m`: `[out]`

use serde_json::{Map, Value, json};

use super::{Incoming, IncomingTensor, Order, refused};
use crate::{
    import::{ImportError, Mismatch, Remedy},
    weights::tensor::TensorEntry,
};

/// The endings of its tensors, PEFT's, and whether rows and columns change places.
const ENDINGS: [(&str, &str, Order); 3] = [
    (".lora_a", ".lora_A.weight", Order::Transposed),
    (".lora_b", ".lora_B.weight", Order::Transposed),
    (".m", ".lora_magnitude_vector", Order::AsInPeft),
];

/// Renames the tensors and writes PEFT's config. Tensors with other endings keep their names and are refused as
/// unexpected.
///
/// # Errors
/// [`ImportError::Mismatches`] if the whole model was trained, or rank and scale are missing.
pub(super) fn incoming(
    config: &Map<String, Value>,
    tensors: Vec<TensorEntry>,
) -> Result<Incoming, ImportError> {
    let base = config.get("model").and_then(Value::as_str);
    let refuse = |key: &str, what: &str, remedy| {
        let mismatch = Mismatch::config(key, what, remedy);
        Err(refused(base.map(str::to_owned), mismatch))
    };
    let is_dora = match config.get("fine_tune_type").map(Value::as_str) {
        None | Some(Some("lora")) => false,
        Some(Some("dora")) => true,
        _ => {
            let what = "mlx-lm trained the whole model, not an adapter";
            return refuse("fine_tune_type", what, Remedy::Fuse);
        }
    };
    let parameters = config.get("lora_parameters").and_then(Value::as_object);
    let number = |key: &str| parameters?.get(key)?.as_f64();
    let (Some(scale), Some(rank)) = (number("scale"), number("rank")) else {
        let what = "rank and scale are missing, so its strength is unknown";
        return refuse("lora_parameters", what, Remedy::Complete);
    };
    let peft = json!({
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": scale * rank,
        "use_dora": is_dora,
        // A regular expression: the tensors say which modules it means.
        "target_modules": ".*",
    });
    // `json!` with braces always makes an object.
    let Value::Object(peft) = peft else {
        return Err(ImportError::NoWeights);
    };
    let tensors = tensors.into_iter().map(|entry| {
        let ending = ENDINGS.iter().find(|(end, ..)| entry.name.ends_with(end));
        let Some((end, peft_end, order)) = ending else {
            let order = Order::AsInPeft;
            return IncomingTensor { entry, order };
        };
        let module = entry.name.trim_end_matches(end);
        let name = format!("base_model.model.{module}{peft_end}");
        let mut shape = entry.shape.clone();
        if *order == Order::Transposed {
            shape.reverse();
        }
        let entry = TensorEntry {
            name,
            shape,
            ..entry
        };
        IncomingTensor {
            entry,
            order: *order,
        }
    });
    Ok(Incoming {
        config: peft,
        tensors: tensors.collect(),
    })
}
