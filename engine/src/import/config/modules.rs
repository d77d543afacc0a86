//! The modules that an adapter's config names, and the refusals for those that are not linear layers of a block.
//!
//! `target_modules` may be a list of names, `all-linear`, or a regular expression. Regular expressions are not
//! evaluated: the tensors in the file say which modules they meant.
//!
//! | `target_modules` | modules |
//! |---|---|
//! | `["q_proj", "v_proj"]` | those whose path ends with a name, in the blocks of `layers_to_transform` |
//! | `"all-linear"` | all of the blocks' linear layers |
//! | `".*attn.*"` | those that have tensors |
//!
//! This engine adapts the same modules in every block of a range, which is what nearly all adapters do; others
//! are refused.

use std::collections::BTreeSet;

use protocol::{AdapterSpec, LayerRange, TargetModule, fits_pattern};
use serde_json::Value;

use super::{Mismatch, Reader, Remedy, whole};
use crate::{
    adapter::{ModelShape, is_of_module, peft::ConfigReader},
    weights::tensor::TensorEntry,
};

/// The embedding by the names that configs have for it.
pub(super) const EMBEDDINGS: [&str; 3] = ["embed_tokens", "model.embed_tokens", "wte"];
/// Why LoRA on the head is refused.
const ON_HEAD: &str = "it adapts the head (LoRA on lm_head), which is not supported";
/// Why LoRA on the embedding is refused.
const ON_EMBEDDING: &str = "it adapts the embedding (LoRA on embed_tokens), which is not supported";

/// Returns the reason to refuse a trained embedding. Where its tensor has another number of rows than the model's
/// vocabulary, the reason says so: the adapter then belongs to a tokenizer with added tokens.
pub(super) fn trained_embeddings(shape: &ModelShape, tensors: &[TensorEntry]) -> String {
    let mut tensors = tensors.iter();
    let embedding = tensors.find(|tensor| tensor.name.ends_with("embed_tokens.weight"));
    let num_tokens = embedding.and_then(|tensor| tensor.shape.first().copied());
    let trained = "it trained the embedding of all tokens (embed_tokens)";
    match num_tokens.filter(|&count| count != shape.vocab_size as u64) {
        Some(count) => format!(
            "{trained}, over a vocabulary of {count} tokens while this model has {}: tokens were added before training",
            shape.vocab_size
        ),
        None => format!("{trained}, which is not supported"),
    }
}

impl Reader<'_> {
    /// Returns a test of whether `exclude_modules` leaves a module out. A regular expression leaves it to the
    /// tensors: what has none was left out.
    fn excluded(&self) -> impl Fn(usize, TargetModule) -> bool + use<> {
        let names: Option<Vec<String>> = self
            .names("exclude_modules")
            .map(|names| names.into_iter().map(str::to_owned).collect());
        let is_regex = self.text("exclude_modules").is_some();
        let has = owners(self.tensors);
        move |layer, module| match &names {
            Some(names) => names.iter().any(|name| fits_pattern(name, layer, module)),
            None => is_regex && !has.contains(&(layer, module)),
        }
    }

    /// Reads the adapted modules, which must be the same in each of a range of blocks; returns whether there
    /// are any.
    ///
    /// ```text
    /// ["q_proj"], layers_to_transform [4, 5, 6]     q_proj in blocks 4 to 6     layers_to_transform 4..=6
    /// ["q_proj"], layers_to_transform [4, 6]        refused: block 5 is left out
    /// ```
    pub(super) fn put_modules(&mut self, spec: &mut AdapterSpec) -> bool {
        let (key, shape) = ("target_modules", self.shape);
        let layers = self.layers();
        let is_excluded = self.excluded();
        let has = owners(self.tensors);
        let is_named: Box<dyn Fn(usize, TargetModule) -> bool> = match self.config.get(key) {
            Some(Value::String(all)) if all == "all-linear" => Box::new(|_, _| true),
            // A regular expression: the tensors say what it means.
            Some(Value::String(_)) => Box::new(move |layer, module| has.contains(&(layer, module))),
            Some(Value::Array(_)) => match self.names(key) {
                Some(names) => {
                    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
                    self.check_named(&names);
                    Box::new(move |layer, module| {
                        names.iter().any(|name| fits_pattern(name, layer, module))
                    })
                }
                None => {
                    self.refuse(key, "it is not a list of names", Remedy::Complete);
                    return false;
                }
            },
            _ => {
                self.refuse(key, "it is missing", Remedy::Complete);
                return false;
            }
        };
        let is_adapted = |layer: usize, module| {
            layers.as_ref().is_none_or(|layers| layers.contains(&layer))
                && is_named(layer, module)
                && !is_excluded(layer, module)
        };
        let adapted: Vec<_> = all_modules(shape)
            .filter(|&(layer, module)| is_adapted(layer, module))
            .collect();
        let modules: BTreeSet<TargetModule> = adapted.iter().map(|(_, module)| *module).collect();
        let (Some(&(first, _)), Some(&(last, _))) = (adapted.first(), adapted.last()) else {
            let what = "they are not linear layers of this model's blocks";
            self.refuse(key, what, Remedy::Base);
            return false;
        };
        spec.target_modules = modules.into_iter().collect();
        let is_all = first == 0 && last + 1 == shape.num_hidden_layers;
        spec.layers_to_transform = (!is_all).then_some(LayerRange { first, last });
        if spec.modules(shape.num_hidden_layers).ne(adapted) {
            let what = "supported only with the same modules in every block of a range";
            self.refuse(key, what, Remedy::Merge);
        }
        true
    }

    /// Refuses each name that is not a linear layer of a block, for what it is: the head and the embedding exist and
    /// are not supported, so merging helps; any other name belongs to another model.
    fn check_named(&mut self, names: &[String]) {
        let (key, shape) = ("target_modules", self.shape);
        for name in names {
            let last = name.rsplit('.').next().unwrap_or_default();
            if all_modules(shape).any(|(layer, module)| fits_pattern(name, layer, module)) {
                continue;
            }
            match last {
                "lm_head" => self.refuse(key, ON_HEAD, Remedy::Merge),
                _ if EMBEDDINGS.contains(&last) => self.refuse(key, ON_EMBEDDING, Remedy::Merge),
                _ => {
                    let what = format!("{name:?} is not a linear layer of this model's blocks");
                    self.refuse(key, &what, Remedy::Base);
                }
            }
        }
    }

    /// Reads `layers_to_transform`, a number or a list; `None` stands for all blocks, as an empty list does in PEFT
    /// (`check_target_module_exists`). Numbers count from 0, and those past the model's last block have no effect.
    fn layers(&mut self) -> Option<BTreeSet<usize>> {
        let layers = match self.config.get("layers_to_transform") {
            None | Some(Value::Null) => return None,
            Some(Value::Array(list)) if list.is_empty() => return None,
            Some(Value::Array(list)) => list.iter().map(whole).collect(),
            Some(one) => whole(one).map(|one| BTreeSet::from([one])),
        };
        if layers.is_none() {
            let what = "it is not a list of whole numbers";
            self.refuse("layers_to_transform", what, Remedy::Complete);
        }
        layers
    }
}

/// Returns the refusal for a tensor that the config does not ask for, if another base would not help: a trained
/// embedding, or LoRA on the embedding or the head. `None` for any other name.
///
/// ```text
/// base_model.model.lm_head.lora_A.weight           LoRA on the head
/// base_model.model.model.embed_tokens.weight       the whole embedding, as `save_embedding_layers` of PEFT adds it
/// ```
pub(in crate::import) fn foreign_tensor(
    name: &str,
    shape: &ModelShape,
    tensors: &[TensorEntry],
) -> Option<Mismatch> {
    let what = if name.contains("trainable_tokens") {
        "it trained the embeddings of single tokens, which is not supported".to_owned()
    } else if name.contains("lora_embedding") || name.contains("embed_tokens.lora_") {
        ON_EMBEDDING.to_owned()
    } else if name.contains("lm_head.lora_") {
        ON_HEAD.to_owned()
    } else if name.ends_with("embed_tokens.weight") {
        trained_embeddings(shape, tensors)
    } else {
        return None;
    };
    Some(Mismatch::config(name, what, Remedy::Merge))
}

/// Returns the modules that have tensors, each with its block; tensors of anything else are passed over.
///
/// ```text
/// base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight     (3, QProj)
/// ```
fn owners(tensors: &[TensorEntry]) -> BTreeSet<(usize, TargetModule)> {
    let owner = |tensor: &TensorEntry| {
        let path = tensor.name.strip_prefix("base_model.model.model.layers.")?;
        let (layer, path) = path.split_once('.')?;
        let layer = layer.parse().ok()?;
        let mut modules = TargetModule::ALL.into_iter();
        let module = modules.find(|&module| is_of_module(&tensor.name, layer, module))?;
        path.starts_with(module.path()).then_some((layer, module))
    };
    tensors.iter().filter_map(owner).collect()
}

/// Returns all linear layers of the model's blocks, block by block.
pub(super) fn all_modules(
    shape: &ModelShape,
) -> impl Iterator<Item = (usize, TargetModule)> + use<> {
    let layers = 0..shape.num_hidden_layers;
    layers.flat_map(|layer| {
        TargetModule::ALL
            .into_iter()
            .map(move |module| (layer, module))
    })
}
