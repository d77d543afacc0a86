//! `modules_to_save`: modules that are trained whole, next to an adapter's own matrices.
//!
//! PEFT saves every module whose path ends with one of the names (`_set_trainable` of `peft.utils.other`), be it in the
//! middle of a word:
//!
//! | name | in a Llama | and in a Qwen3 |
//! |---|---|---|
//! | `lm_head` | the head | |
//! | `norm` | `input_layernorm` and `post_attention_layernorm` of every block, the last `norm` | `q_norm` and `k_norm` |
//! | `input_layernorm` | that of every block | |
//!
//! The head, all norms, or both are supported, but not the norms of queries and keys. A config of ours names
//! `norm` for a Qwen3, too; then the file has no tensors of those, and PEFT keeps the base's.

use std::collections::BTreeSet;

use protocol::{AdapterSpec, BlockNorm};

use super::{
    Reader, Remedy,
    modules::{EMBEDDINGS, trained_embeddings},
};
use crate::{
    adapter::{
        ModelShape,
        peft::{ConfigReader, ONLY_ALL_NORMS},
    },
    arch::{EMBEDDING, FINAL_NORM, HEAD, KEY_NORM, QUERY_NORM, block_name},
};

/// Why trained norms of queries and keys are refused.
const OF_HEADS: &str =
    "it trained the norms of queries and keys (q_norm and k_norm), which is not supported";

impl Reader<'_> {
    /// Reads `modules_to_save`: the head, all norms, or both.
    ///
    /// ```text
    /// ["lm_head"]                                                        the head
    /// ["norm"], ["input_layernorm", "post_attention_layernorm", "norm"]  all norms
    /// ["input_layernorm"], ["embed_tokens"], ["score"]                   refused
    /// ```
    pub(super) fn put_saved(&mut self, spec: &mut AdapterSpec) {
        let key = "modules_to_save";
        if !self.is_set(key) {
            return;
        }
        if !spec.method.facts().has_modules {
            let what = "not supported together with norm or prompt tuning";
            self.refuse(key, what, Remedy::Merge);
            return;
        }
        let names: BTreeSet<&str> = self.names(key).into_iter().flatten().collect();
        let mut saved = modules(self.shape);
        let is_known = |name: &&str| saved.iter().any(|module| module.ends_with(*name));
        let are_known = !names.is_empty() && names.iter().all(is_known);
        saved.retain(|module| names.iter().any(|name| module.ends_with(name)));
        if names.iter().any(|name| EMBEDDINGS.contains(name)) || saved.remove(module(EMBEDDING.hf))
        {
            let what = trained_embeddings(self.shape, self.tensors);
            self.refuse(key, &what, Remedy::Merge);
            return;
        }
        spec.train_head = saved.remove(module(HEAD.hf));
        let norms = norms(self.shape);
        spec.train_norms = norms.is_subset(&saved);
        let has_some = !norms.is_disjoint(&saved);
        saved.retain(|module| !norms.contains(module));
        let num_left = saved.len();
        saved.retain(|path| !is_of_heads(path));
        let has_others = !saved.is_empty();
        let names_norms_of_heads = saved.len() < num_left;
        let mut tensors = self.tensors.iter();
        if !are_known || has_others || has_some != spec.train_norms {
            self.refuse(key, ONLY_ALL_NORMS, Remedy::Merge);
        } else if names_norms_of_heads
            && (!spec.train_norms || tensors.any(|tensor| is_of_heads(module(&tensor.name))))
        {
            self.refuse(key, OF_HEADS, Remedy::Merge);
        }
    }
}

/// Returns the module of a weight: its name without the last part.
fn module(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

/// Returns the paths of all modules that have a weight.
fn modules(shape: &ModelShape) -> BTreeSet<String> {
    let of_block = |layer| {
        let block = shape.arch.block.iter();
        block.map(move |spec| block_name(layer, spec.hf))
    };
    let blocks = (0..shape.num_hidden_layers).flat_map(of_block);
    let others = [EMBEDDING.hf, FINAL_NORM.hf, HEAD.hf].map(str::to_owned);
    let weights = blocks.chain(others);
    let modules = weights.filter_map(|name| name.strip_suffix(".weight").map(str::to_owned));
    modules.collect()
}

/// Returns the paths of the norms that can be trained: all but those of queries and keys.
fn norms(shape: &ModelShape) -> BTreeSet<String> {
    let of_block = |layer| BlockNorm::ALL.map(|norm| block_name(layer, norm.name()));
    let blocks = (0..shape.num_hidden_layers).flat_map(of_block);
    blocks.chain([module(FINAL_NORM.hf).to_owned()]).collect()
}

/// Returns whether a module is the norm of a block's queries or keys.
fn is_of_heads(path: &str) -> bool {
    let mut norms = [QUERY_NORM, KEY_NORM].into_iter();
    norms.any(|norm| path.ends_with(module(norm.hf)))
}
