//! PEFT's own files, with the names that wrappers and older versions leave in them.
//!
//! ```text
//! _orig_mod.base_model.model.model.layers.0.mlp.up_proj.lora_A.default.weight
//!           base_model.model.model.layers.0.mlp.up_proj.lora_A.weight           as save_pretrained writes it
//! ```
//!
//! `default` is the adapter's name in memory; `save_pretrained` takes it out, but a plain `state_dict` has it.
//! Names are mended only where there is one way to understand them; all others stay and are refused later.
//!
//! | in the file | becomes | who writes it |
//! |---|---|---|
//! | `_orig_mod.`, `module.` | nothing | wrappers, see [`unwrapped`] |
//! | `base_model.model.` several times | once | a PEFT model inside another one |
//! | `model.layers...` | `base_model.model.model.layers...` | programs that strip the prefix |
//! | `lora_A.default.weight` | `lora_A.weight` | a plain `state_dict` |
//! | `lm_head.modules_to_save.default.weight` | `lm_head.weight` | PEFT's `ModulesToSaveWrapper` |
//! | `lora_magnitude_vector.weight` | `lora_magnitude_vector` | newer versions of PEFT, in memory |

use serde_json::{Map, Value};

use super::{Incoming, IncomingTensor, Order};
use crate::{
    adapter::peft::part_names,
    weights::{names::unwrapped, tensor::TensorEntry},
};

/// What PEFT puts before the names of the model.
const PREFIX: &str = "base_model.model.";
/// Modules of a causal language model; a file with these at the start of its names lacks the prefix.
const BARE: [&str; 2] = ["model.", "lm_head."];
/// Parts that no method here has: LoRA on an embedding. Their names are mended as well, so that they are refused for
/// what they are.
const FOREIGN_PARTS: [&str; 2] = ["lora_embedding_A", "lora_embedding_B"];

/// Renames the tensors; the config stays as it is. Shapes and the order of rows are PEFT's already.
pub(super) fn incoming(config: Map<String, Value>, tensors: Vec<TensorEntry>) -> Incoming {
    let parts = named_parts();
    let tensors = tensors
        .into_iter()
        // `ModulesToSaveWrapper` keeps the module as it was before the training next to the trained one.
        .filter(|entry| !entry.name.contains(".original_module."))
        .map(|entry| IncomingTensor {
            entry: TensorEntry {
                name: peft_name(&entry.name, &parts),
                ..entry
            },
            order: Order::AsInPeft,
        });
    Incoming {
        config,
        tensors: tensors.collect(),
    }
}

/// Returns the parts whose name in memory is followed by the adapter's name.
fn named_parts() -> Vec<&'static str> {
    let mut parts = part_names();
    parts.extend(FOREIGN_PARTS);
    parts
}

/// Returns the name that PEFT's `save_pretrained` would give. `parts` are those of [`named_parts`].
fn peft_name(name: &str, parts: &[&str]) -> String {
    let mut name = unwrapped(name);
    let twice = [PREFIX, PREFIX].concat();
    while name.starts_with(&twice) {
        name.drain(..PREFIX.len());
    }
    if BARE.iter().any(|start| name.starts_with(start)) {
        name.insert_str(0, PREFIX);
    }
    for part in parts {
        name = name.replace(&format!(".{part}.default"), &format!(".{part}"));
    }
    name = name.replace(".modules_to_save.default.", ".");
    match name.strip_suffix("lora_magnitude_vector.weight") {
        Some(start) => format!("{start}lora_magnitude_vector"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_those_of_peft() {
        let parts = named_parts();
        let named = |name| peft_name(name, &parts);
        let module = "base_model.model.model.layers.0.mlp.up_proj";
        for (name, expected) in [
            (
                "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight",
                "lora_A.weight",
            ),
            (
                "model.layers.0.mlp.up_proj.lora_A.default.weight",
                "lora_A.weight",
            ),
            (
                "_orig_mod.base_model.model.model.layers.0.mlp.up_proj.lora_B.weight",
                "lora_B.weight",
            ),
            (
                "base_model.model._orig_mod.model.layers.0.mlp.up_proj.lora_B.weight",
                "lora_B.weight",
            ),
            (
                "base_model.model.base_model.model.model.layers.0.mlp.up_proj.lora_B.weight",
                "lora_B.weight",
            ),
            (
                "base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector.weight",
                "lora_magnitude_vector",
            ),
            (
                "base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector.default.weight",
                "lora_magnitude_vector",
            ),
        ] {
            assert_eq!(named(name), format!("{module}.{expected}"));
        }
        assert_eq!(
            named("base_model.model.lm_head.modules_to_save.default.weight"),
            "base_model.model.lm_head.weight"
        );
        for name in [
            "my_model.model.lora_A.weight",
            "prompt_embeddings",
            "base_model.vera_A",
        ] {
            assert_eq!(named(name), name);
        }
    }
}
