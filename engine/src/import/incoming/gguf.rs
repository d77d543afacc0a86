//! A LoRA adapter as llama.cpp's `convert_lora_to_gguf.py` and this engine write it: one alpha for the whole
//! file, the rank in each tensor's shape, the rows of `B` interleaved where those of the base are.
//!
//! ```text
//! general.type = adapter     adapter.type = lora     general.architecture = llama     adapter.lora.alpha = 16.0
//! blk.0.attn_q.weight.lora_a  [r, in]                blk.0.attn_q.weight.lora_b  [out, r]     slowest first
//! ```
//!
//! llama.cpp scales each pair by alpha over its own rank, and so does PEFT: the largest rank becomes `r`, and
//! the modules with another one a `rank_pattern`.
//!
//! ```text
//! blk.0.attn_q.weight.lora_a  [8, 576]     "r": 8,  "lora_alpha": 16.0,
//! blk.0.ffn_up.weight.lora_a  [4, 576]     "rank_pattern": {"model.layers.0.mlp.up_proj": 4}
//! ```
//!
//! The rows of `B` belong to the outputs of queries and keys, which `LlamaModel.permute` of llama.cpp's converter
//! reorders for its RoPE; `A` has only inputs and stays as it is.
//!
//! # Shapes
//! - `lora_a`: `[r, in]`, as PEFT's
//! - `lora_b`: `[out, r]`, as PEFT's except for the order of the rows

use std::collections::BTreeMap;

use protocol::TargetModule;
use serde_json::{Map, Value, json};

use super::{Incoming, IncomingTensor, Order, refused};
use crate::{
    adapter::ModelShape,
    import::{ImportError, Mismatch, Remedy},
    weights::{gguf::GgufHeader, tensor::TensorEntry},
};

/// The endings of its tensors, and the parts in PEFT's names that they become.
const ENDINGS: [(&str, &str); 2] = [(".lora_a", "lora_A"), (".lora_b", "lora_B")];

/// Renames the tensors and writes PEFT's config. `file` names the file in messages.
///
/// A file without any pair gets the rank 0, which the config's check refuses.
///
/// # Errors
/// [`ImportError::NotAnAdapter`] for a model, and [`ImportError::Mismatches`] for another type of adapter,
/// another architecture, or no alpha.
pub(super) fn incoming(
    file: &str,
    header: GgufHeader,
    shape: &ModelShape,
) -> Result<Incoming, ImportError> {
    let GgufHeader {
        metadata, tensors, ..
    } = header;
    let text = |key: &str| metadata.text(key).ok().flatten();
    if text("general.type") != Some("adapter") && text("adapter.type").is_none() {
        let file = file.to_owned();
        return Err(ImportError::NotAnAdapter { file });
    }
    let base = text("general.base_model.0.name").map(str::to_owned);
    let refuse = |key: &str, what: String, remedy| {
        Err(refused(base.clone(), Mismatch::config(key, what, remedy)))
    };
    if let Some(kind) = text("adapter.type").filter(|kind| *kind != "lora") {
        let what = format!("GGUF adapters of the type {kind} are not supported");
        return refuse("adapter.type", what, Remedy::Merge);
    }
    if let Some(other) = text("general.architecture").filter(|name| *name != shape.arch.gguf) {
        let what = format!("it is for a model of the architecture {other}");
        return refuse("general.architecture", what, Remedy::Base);
    }
    let Some(alpha) = metadata.float("adapter.lora.alpha")? else {
        let what = "it is missing, so the adapter's strength is unknown".to_owned();
        return refuse("adapter.lora.alpha", what, Remedy::Complete);
    };
    let tensors: Vec<IncomingTensor> = tensors
        .into_iter()
        .map(|entry| renamed(entry, shape))
        .collect();
    let ranks = tensors.iter().filter_map(|tensor| {
        let module = tensor.entry.name.strip_suffix(".lora_A.weight")?;
        let module = module.strip_prefix("base_model.model.")?;
        Some((module.to_owned(), *tensor.entry.shape.first()?))
    });
    let mut ranks: BTreeMap<String, u64> = ranks.collect();
    let r = ranks.values().copied().max().unwrap_or(0);
    ranks.retain(|_, rank| *rank != r);
    let config: Map<String, Value> = [
        ("peft_type", json!("LORA")),
        ("base_model_name_or_path", json!(base)),
        ("r", json!(r)),
        ("lora_alpha", json!(alpha)),
        ("rank_pattern", json!(ranks)),
        // A regular expression: the tensors say which modules it means.
        ("target_modules", json!(".*")),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    Ok(Incoming { config, tensors })
}

/// Gives a tensor PEFT's name, where it is one that PEFT would have, and finds the order of its rows.
///
/// Rows that cannot be split into heads evenly stay in their order: their shape is refused later, with a better
/// message than could be given here.
fn renamed(entry: TensorEntry, shape: &ModelShape) -> IncomingTensor {
    let as_it_is = Order::AsInPeft;
    let ending = ENDINGS.iter().find(|(end, _)| entry.name.ends_with(end));
    let hf_name = ending.and_then(|(end, peft)| {
        let weight = shape.arch.hf_from_gguf(entry.name.strip_suffix(end)?)?;
        let module = weight.strip_suffix(".weight")?.to_owned();
        Some((module, *peft))
    });
    let Some((module, peft)) = hf_name else {
        let order = as_it_is;
        return IncomingTensor { entry, order };
    };
    let mut modules = TargetModule::ALL.into_iter();
    let rotated = modules.find(|&rotated| {
        peft == "lora_B" && shape.arch.is_interleaved(rotated) && module.ends_with(rotated.path())
    });
    let order = rotated.map_or(as_it_is, |rotated| {
        let heads = shape.num_heads(rotated);
        // The tensor's own rows, not the model's: an adapter of a wider base is refused by its shapes.
        let rows = entry.shape.first().map_or(0, |&rows| rows as usize);
        match rows.checked_div(heads) {
            Some(head_dim)
                if head_dim > 1 && head_dim.is_multiple_of(2) && rows.is_multiple_of(heads) =>
            {
                Order::Interleaved { head_dim }
            }
            _ => as_it_is,
        }
    });
    let name = format!("base_model.model.{module}.{peft}.weight");
    IncomingTensor {
        entry: TensorEntry { name, ..entry },
        order,
    }
}
