//! How each family of models is built, described once and as plain data.
//!
//! Reading the files, the names of tensors, the plan of a run's memory, adapters' files and every export follow the
//! description of the model's family; none of them knows a family by its name.
//!
//! All families are decoders with blocks of the same stages, `d -> d`:
//!
//! ```text
//! x -> INPUT_NORM -> QUERY, KEY, VALUE (+ biases) -> (norms of heads) -> RoPE -> attention -> ATTENTION_OUTPUT -> + x
//!   -> POST_ATTENTION_NORM -> silu(GATE) * UP -> DOWN -> + x
//! ```
//!
//! What is in parentheses is there where the description lists the weights for it:
//!
//! | family | beyond Llama | rows of queries and keys in GGUF |
//! |---|---|---|
//! | `llama` | | interleaved |
//! | `qwen2` | `QUERY_BIAS`, `KEY_BIAS`, `VALUE_BIAS` | as in HF |
//! | `qwen3` | `QUERY_NORM`, `KEY_NORM` | as in HF |
//!
//! # Adding a family
//! A new family is a copy of a file in `arch/`, a `mod`, a `pub use` and a line in [`FAMILIES`], as long as its blocks
//! are built of stages that [`crate::layers::block`] has. Where each entry is found:
//!
//! - `model_type`, `class`: config.json of a checkpoint; `gguf`: `general.architecture` in llama.cpp's conversion of it
//! - `defaults`: the arguments of the config class in transformers (`configuration_<family>.py`)
//! - `switches`: arguments of that class that turn something on that is not built here; a model that sets one to
//!   another value is refused with the name of the switch
//! - `block`: what a safetensors header lists for one block, in the order of the forward pass; a tensor that is not
//!   listed is an error when a model is loaded
//! - `interleaved()`: on queries and keys if llama.cpp's `convert_hf_to_gguf.py` permutes them for the family
//!
//! Names of tensors follow a pattern in both formats, here for block 3:
//!
//! ```text
//! HF    model.layers.3.self_attn.q_proj.weight
//! GGUF  blk.3.attn_q.weight
//! ```

mod llama;
mod qwen2;
mod qwen3;

use protocol::{ModelSummary, TargetModule};

pub use self::{llama::LLAMA, qwen2::QWEN2, qwen3::QWEN3};

/// All families that are built, one per line.
pub static FAMILIES: &[&Architecture] = &[
    &LLAMA, //
    &QWEN2, //
    &QWEN3, //
];

/// A family of decoders: what its files call things, and what its blocks are made of.
///
/// There is one static of it per family; two are equal if their `model_type` is.
#[derive(Debug)]
pub struct Architecture {
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// The class of the language model in transformers, as `architectures` in config.json names it.
    pub class: &'static str,
    /// `general.architecture` in GGUF files, which is also the prefix of its keys there.
    pub gguf: &'static str,
    /// What transformers takes where config.json does not say.
    pub defaults: Defaults,
    /// Switches of config.json, each with the only value that is built, which is also what transformers takes by
    /// default.
    pub switches: &'static [(&'static str, bool)],
    /// The tensors of a block, in the order of the forward pass. Biases and norms of heads are computed where listed.
    pub block: &'static [TensorSpec],
}

/// The values of fields that config.json leaves out, as the family's config class in transformers has them.
#[derive(Debug)]
pub struct Defaults {
    /// Key heads; `None` stands for as many as there are query heads.
    pub num_key_value_heads: Option<usize>,
    /// The size of a head; `None` stands for the hidden size divided by the number of query heads.
    pub head_dim: Option<usize>,
    /// The longest context, in tokens.
    pub max_position_embeddings: usize,
    /// The token that begins a text; `None` if there is none.
    pub bos_token_id: Option<u32>,
    /// The token that ends a text; `None` if there is none.
    pub eos_token_id: Option<u32>,
}

/// A tensor's names and shape. Inside a block, names come after `model.layers.N.` and `blk.N.`.
#[derive(Debug, Clone, Copy)]
pub struct TensorSpec {
    /// The name in HF's checkpoints.
    pub hf: &'static str,
    /// The name in GGUF files.
    pub gguf: &'static str,
    /// Slowest dimension first.
    pub shape: &'static [Size],
    /// The order of its rows in GGUF files.
    pub gguf_rows: RowOrder,
}

impl TensorSpec {
    /// A tensor whose rows have the same order in both formats.
    const fn new(hf: &'static str, gguf: &'static str, shape: &'static [Size]) -> Self {
        Self {
            hf,
            gguf,
            shape,
            gguf_rows: RowOrder::AsInHf,
        }
    }

    /// The same tensor with its rows interleaved in GGUF files.
    const fn interleaved(self) -> Self {
        Self {
            gguf_rows: RowOrder::Interleaved,
            ..self
        }
    }
}

/// A size of a model that a tensor's dimension has; [`ModelConfig`](crate::weights::config::ModelConfig) knows the
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Rows of the embedding and the head, `v`.
    Vocabulary,
    /// The residual stream, `d`.
    Hidden,
    /// The inside of the MLP, `f`.
    Intermediate,
    /// All query heads, `h hd`.
    Query,
    /// All key heads, or all value heads, `kv hd`.
    KeyValue,
    /// One head, `hd`.
    Head,
}

/// How the rows of a tensor in a GGUF file map to those in HF's checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// The same order.
    AsInHf,
    /// The two halves of each head are interleaved, since llama.cpp rotates neighbors in this family where HF rotates
    /// halves: row `2 i + p` of a head in GGUF is its row `p head_dim / 2 + i` in HF. For heads of 6 rows:
    ///
    /// ```text
    /// row in GGUF  0 1 2 3 4 5
    /// row in HF    0 3 1 4 2 5
    /// ```
    Interleaved,
}

/// The embedding, `[v, d]`.
pub const EMBEDDING: TensorSpec = TensorSpec::new(
    "model.embed_tokens.weight",
    "token_embd.weight",
    &[Size::Vocabulary, Size::Hidden],
);
/// The norm after the last block, `[d]`.
pub const FINAL_NORM: TensorSpec =
    TensorSpec::new("model.norm.weight", "output_norm.weight", &[Size::Hidden]);
/// The head, `[v, d]`; absent where it is the embedding (`tie_word_embeddings`).
pub const HEAD: TensorSpec = TensorSpec::new(
    "lm_head.weight",
    "output.weight",
    &[Size::Vocabulary, Size::Hidden],
);

/// The tensors outside of the blocks, which all families share.
const OUTSIDE: [TensorSpec; 3] = [EMBEDDING, FINAL_NORM, HEAD];

// The tensors that a family's block is put together from.
/// The norm before attention.
const INPUT_NORM: TensorSpec = TensorSpec::new(
    "input_layernorm.weight",
    "attn_norm.weight",
    &[Size::Hidden],
);
/// The projection to queries, `[h hd, d]`.
const QUERY: TensorSpec = TensorSpec::new(
    "self_attn.q_proj.weight",
    "attn_q.weight",
    &[Size::Query, Size::Hidden],
);
/// The projection to keys, `[kv hd, d]`.
const KEY: TensorSpec = TensorSpec::new(
    "self_attn.k_proj.weight",
    "attn_k.weight",
    &[Size::KeyValue, Size::Hidden],
);
/// The projection to values, `[kv hd, d]`.
const VALUE: TensorSpec = TensorSpec::new(
    "self_attn.v_proj.weight",
    "attn_v.weight",
    &[Size::KeyValue, Size::Hidden],
);
/// The projection of the heads' results back to the residual stream, `[d, h hd]`.
const ATTENTION_OUTPUT: TensorSpec = TensorSpec::new(
    "self_attn.o_proj.weight",
    "attn_output.weight",
    &[Size::Hidden, Size::Query],
);
/// The norm before the MLP. HF calls it by what it follows, GGUF by what it precedes.
const POST_ATTENTION_NORM: TensorSpec = TensorSpec::new(
    "post_attention_layernorm.weight",
    "ffn_norm.weight",
    &[Size::Hidden],
);
/// The projection whose activation multiplies the other, `[f, d]`.
const GATE: TensorSpec = TensorSpec::new(
    "mlp.gate_proj.weight",
    "ffn_gate.weight",
    &[Size::Intermediate, Size::Hidden],
);
/// The projection that the gate multiplies, `[f, d]`.
const UP: TensorSpec = TensorSpec::new(
    "mlp.up_proj.weight",
    "ffn_up.weight",
    &[Size::Intermediate, Size::Hidden],
);
/// The projection back to the residual stream, `[d, f]`.
const DOWN: TensorSpec = TensorSpec::new(
    "mlp.down_proj.weight",
    "ffn_down.weight",
    &[Size::Hidden, Size::Intermediate],
);

// What some families have on queries, keys and values.
/// The bias of queries, as Qwen2 has it.
pub const QUERY_BIAS: TensorSpec =
    TensorSpec::new("self_attn.q_proj.bias", "attn_q.bias", &[Size::Query]);
/// The bias of keys.
pub const KEY_BIAS: TensorSpec =
    TensorSpec::new("self_attn.k_proj.bias", "attn_k.bias", &[Size::KeyValue]);
/// The bias of values.
pub const VALUE_BIAS: TensorSpec =
    TensorSpec::new("self_attn.v_proj.bias", "attn_v.bias", &[Size::KeyValue]);
/// The norm of each head's queries, before RoPE, as Qwen3 has it; one weight `[hd]` for all heads.
pub const QUERY_NORM: TensorSpec = TensorSpec::new(
    "self_attn.q_norm.weight",
    "attn_q_norm.weight",
    &[Size::Head],
);
/// The norm of each head's keys, before RoPE; one weight `[hd]` for all heads.
pub const KEY_NORM: TensorSpec = TensorSpec::new(
    "self_attn.k_norm.weight",
    "attn_k_norm.weight",
    &[Size::Head],
);

/// What comes before a block's number in HF's names.
const HF_BLOCKS: &str = "model.layers.";
/// What comes before a block's number in GGUF's names.
const GGUF_BLOCKS: &str = "blk.";

/// The HF name of a tensor of a block, such as `model.layers.3.mlp.up_proj.weight`; `part` is its name inside.
pub fn block_name(layer: usize, part: &str) -> String {
    format!("{HF_BLOCKS}{layer}.{part}")
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.model_type == other.model_type
    }
}

impl Eq for Architecture {}

impl Architecture {
    /// The family with that `model_type`; the names of families are compared exactly.
    pub fn of_model_type(name: &str) -> Option<&'static Self> {
        let mut all = FAMILIES.iter().copied();
        all.find(|family| family.model_type == name)
    }

    /// The family whose language model is that class of transformers.
    pub fn of_class(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().copied().find(|family| family.class == name)
    }

    /// The family with that `general.architecture`.
    pub fn of_gguf(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().copied().find(|family| family.gguf == name)
    }

    /// The family of a model that was loaded.
    pub fn of_summary(model: &ModelSummary) -> &'static Self {
        // A summary is written from the config of a model that was loaded, so the family is one of these.
        Self::of_model_type(&model.architecture).unwrap_or(&LLAMA)
    }

    /// The description of a tensor, by its HF name; `None` for a tensor that the family does not have.
    pub fn tensor(&self, hf_name: &str) -> Option<&TensorSpec> {
        let (_, spec) = find(hf_name, HF_BLOCKS, self.block, |spec| spec.hf)?;
        Some(spec)
    }

    /// The description of a block's tensor, by its HF name inside the block, such as `self_attn.q_proj.bias`; `None`
    /// tells that the family has no such part.
    pub fn block_tensor(&self, part: &str) -> Option<&'static TensorSpec> {
        self.block.iter().find(|spec| spec.hf == part)
    }

    /// Whether queries and keys are normed, each head separately, before RoPE.
    pub fn has_head_norms(&self) -> bool {
        self.block_tensor(QUERY_NORM.hf).is_some()
    }

    /// Whether GGUF files have the rows of this projection interleaved.
    pub fn is_interleaved(&self, module: TargetModule) -> bool {
        let spec = self.block_tensor(&format!("{}.weight", module.path()));
        spec.is_some_and(|spec| spec.gguf_rows == RowOrder::Interleaved)
    }

    /// The GGUF name of a tensor with an HF name; `None` for a tensor that the family does not have.
    pub fn gguf_from_hf(&self, name: &str) -> Option<String> {
        let (layer, spec) = find(name, HF_BLOCKS, self.block, |spec| spec.hf)?;
        Some(match layer {
            Some(layer) => format!("{GGUF_BLOCKS}{layer}.{}", spec.gguf),
            None => spec.gguf.to_owned(),
        })
    }

    /// The HF name of a tensor with a GGUF name; `None` for a tensor that the family does not have, such as a RoPE
    /// table.
    pub fn hf_from_gguf(&self, name: &str) -> Option<String> {
        let (layer, spec) = find(name, GGUF_BLOCKS, self.block, |spec| spec.gguf)?;
        Some(match layer {
            Some(layer) => format!("{HF_BLOCKS}{layer}.{}", spec.hf),
            None => spec.hf.to_owned(),
        })
    }
}

/// Looks a tensor up by one of its names: the number of its block, if it is in one, and its description.
///
/// `blocks` is what comes before the number in that format, and `name_of` takes the format's name from a description.
fn find<'a>(
    name: &'a str,
    blocks: &str,
    block: &'static [TensorSpec],
    name_of: impl Fn(&TensorSpec) -> &'static str,
) -> Option<(Option<&'a str>, &'static TensorSpec)> {
    static OUTSIDE_OF_BLOCKS: [TensorSpec; 3] = OUTSIDE;
    let Some(rest) = name.strip_prefix(blocks) else {
        let mut all = OUTSIDE_OF_BLOCKS.iter();
        return all
            .find(|spec| name_of(spec) == name)
            .map(|spec| (None, spec));
    };
    let (layer, part) = rest.split_once('.')?;
    is_layer(layer).then_some(())?;
    let spec = block.iter().find(|spec| name_of(spec) == part)?;
    Some((Some(layer), spec))
}

/// Whether a text is a number as both formats write it: no sign, no leading zero. `blk.01` would otherwise be a second
/// name for `blk.1`.
fn is_layer(text: &str) -> bool {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_translate_both_ways() {
        for (hf, gguf) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("lm_head.weight", "output.weight"),
            (
                "model.layers.29.mlp.down_proj.weight",
                "blk.29.ffn_down.weight",
            ),
            (
                "model.layers.0.self_attn.q_proj.weight",
                "blk.0.attn_q.weight",
            ),
        ] {
            assert_eq!(LLAMA.gguf_from_hf(hf).as_deref(), Some(gguf));
            assert_eq!(LLAMA.hf_from_gguf(gguf).as_deref(), Some(hf));
        }
        for family in FAMILIES {
            for spec in family.block {
                let (hf, gguf) = (block_name(7, spec.hf), format!("blk.7.{}", spec.gguf));
                assert_eq!(family.gguf_from_hf(&hf).as_deref(), Some(gguf.as_str()));
                assert_eq!(family.hf_from_gguf(&gguf).as_deref(), Some(hf.as_str()));
            }
        }
    }

    #[test]
    fn other_names_have_no_translation() {
        for name in [
            "",
            "blk.0.attn_q.bias",
            "blk.01.attn_q.weight",
            "blk.+1.attn_q.weight",
            "blk..attn_q.weight",
            "blk.0",
            "rope_freqs.weight",
        ] {
            assert_eq!(LLAMA.hf_from_gguf(name), None, "{name}");
        }
        for name in ["embeddings.word_embeddings.weight", "blk.0.attn_q.weight"] {
            assert_eq!(LLAMA.gguf_from_hf(name), None, "{name}");
        }
    }

    #[test]
    fn families_are_told_apart_by_each_of_their_names() {
        for family in FAMILIES {
            assert_eq!(
                Architecture::of_model_type(family.model_type),
                Some(*family)
            );
            assert_eq!(Architecture::of_class(family.class), Some(*family));
            assert_eq!(Architecture::of_gguf(family.gguf), Some(*family));
        }
    }

    #[test]
    fn every_family_has_every_projection() {
        for family in FAMILIES {
            for module in TargetModule::ALL {
                let name = format!("{}.weight", module.path());
                assert!(family.block_tensor(&name).is_some(), "{family:?}");
            }
        }
        // llama.cpp's converter permutes the rows of its own family alone.
        for family in FAMILIES {
            let is_llama = family.gguf == "llama";
            assert_eq!(family.is_interleaved(TargetModule::KProj), is_llama);
        }
        assert!(!LLAMA.is_interleaved(TargetModule::VProj));
    }
}
