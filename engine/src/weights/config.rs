//! Hyper-parameters of the base model, from GGUF metadata or from HF's config.json.
//!
//! | field | config.json | GGUF (`{arch}` is `general.architecture`) |
//! |---|---|---|
//! | `hidden_size`, d | `hidden_size` | `{arch}.embedding_length` |
//! | `intermediate_size`, f | `intermediate_size` | `{arch}.feed_forward_length` |
//! | `num_hidden_layers` | `num_hidden_layers` | `{arch}.block_count` |
//! | `num_attention_heads`, h | `num_attention_heads` | `{arch}.attention.head_count` |
//! | `num_key_value_heads`, kv | `num_key_value_heads` | `{arch}.attention.head_count_kv` |
//! | `head_dim`, hd | `head_dim`, else d / h | `{arch}.attention.key_length`, else d / h |
//! | `vocab_size`, v | `vocab_size` | `{arch}.vocab_size`, else the number of tokens |
//! | `max_position_embeddings` | `max_position_embeddings` | `{arch}.context_length` |
//! | `rope_theta` | `rope_parameters.rope_theta`, else `rope_theta` | `{arch}.rope.freq_base` |
//! | `rms_norm_eps` | `rms_norm_eps` | `{arch}.attention.layer_norm_rms_epsilon` |
//! | `tie_word_embeddings` | `tie_word_embeddings` | whether `output.weight` is missing |
//!
//! Both readers refuse what would change the model's output and is not built, as far as the format tells: scaled
//! RoPE in either; windows, other activations and quantized weights in config.json; experts in GGUF. A model that
//! loads and answers wrongly is worse than one that is refused.

mod architecture;
mod from_gguf;
mod from_json;

use protocol::TargetModule;

use super::{gguf::GgufError, json::JsonError};
use crate::arch::{
    Architecture, EMBEDDING, FINAL_NORM, HEAD, RowOrder, Size, TensorSpec, block_name,
};

pub use self::{
    architecture::{architecture_remedy, is_encoder, looks_like_encoder},
    from_json::quantized_by,
};

/// A decoder's sizes and constants, named as in HF's configs. Its numbers were checked: see
/// [`ConfigError::Invalid`].
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family, which knows the names and shapes of the tensors.
    pub arch: &'static Architecture,
    /// Width of the residual stream, `d`.
    pub hidden_size: usize,
    /// Width inside the MLP, `f`.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads, `h`.
    pub num_attention_heads: usize,
    /// Key heads, and as many value heads, `kv`; divides `h`.
    pub num_key_value_heads: usize,
    /// Size of a head, `hd`, an even number. `h hd` need not be `d` (Qwen3).
    pub head_dim: usize,
    /// Rows of the embedding, `v`. The tokenizer may have fewer tokens, or more.
    pub vocab_size: usize,
    /// The longest context in tokens that the model was made for.
    pub max_position_embeddings: usize,
    /// The base of the rotary angles: pair `i` of a head turns by `position / rope_theta^(2 i / hd)`.
    pub rope_theta: f64,
    /// What RMSNorm adds to the mean of the squares.
    pub rms_norm_eps: f64,
    /// Whether the head is the embedding, so that the file has no matrix of its own for it.
    pub tie_word_embeddings: bool,
    /// The token that begins a text, as the model's settings say; it may be beyond the vocabulary.
    pub bos_token_id: Option<u32>,
    /// The tokens that end a text or a turn, the main one first; they may be beyond the vocabulary.
    pub eos_token_ids: Vec<u32>,
}

impl ModelConfig {
    /// Returns the input and output features of a projection.
    ///
    /// # Shapes
    /// - `q_proj`: `d -> h hd`
    /// - `k_proj`, `v_proj`: `d -> kv hd`
    /// - `o_proj`: `h hd -> d`
    /// - `gate_proj`, `up_proj`: `d -> f`
    /// - `down_proj`: `f -> d`
    pub fn projection_features(&self, module: TargetModule) -> (usize, usize) {
        let query = self.num_attention_heads * self.head_dim;
        let key_value = self.num_key_value_heads * self.head_dim;
        module.features(self.hidden_size, query, key_value, self.intermediate_size)
    }
}

/// Why hyper-parameters cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// config.json or generation_config.json is damaged, or a field has another type.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A key of the metadata has another type than its meaning needs.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A field or key without which there is no model, and without a default.
    #[error("{field} is missing")]
    Missing { field: String },
    /// A number that is out of range, or does not fit the others.
    #[error("{field} is {value}, which is impossible: {reason}")]
    Invalid {
        field: String,
        value: String,
        reason: String,
    },
    /// Neither `model_type` nor `architectures`, or no `general.architecture`.
    #[error("the model's architecture is not named (config.json has no model_type)")]
    NoArchitecture,
    /// A family that is not built, or a built one with a classifier's head.
    #[error("{}", architecture::refusal(architecture))]
    Architecture { architecture: String },
    /// A family of encoders, which cannot write text.
    #[error("{architecture} is an encoder; it turns text into vectors and cannot write text")]
    Encoder { architecture: String },
    /// A setting that would change the model's output and is not built.
    #[error("{}", feature_refusal(field, value))]
    Feature { field: String, value: String },
    /// Weights in a packing of other tools, such as bitsandbytes or GPTQ; `method` is its name for the user.
    #[error("its weights are quantized by {method}, which Inlay does not read")]
    Quantized { method: String },
}

/// Says what a feature is, in words where its name alone does not say: most users of Llama 3.x meet scaled RoPE
/// first.
fn feature_refusal(field: &str, value: &str) -> String {
    const SCALED: &str = "its positions are scaled for long texts";
    match field {
        "rope_freqs.weight" => {
            format!(
                "{SCALED}, as those of Llama 3.1 and 3.2 are ({field}), which is not supported yet"
            )
        }
        "rope_scaling" | "rope_parameters" if value == "llama3" => {
            format!(
                "{SCALED}, as those of Llama 3.1 and 3.2 are ({field} of the type llama3), which is not supported yet"
            )
        }
        _ if field.starts_with("rope_") || field.ends_with(".rope.scaling.type") => {
            format!("{SCALED} ({field} of the type {value}), which is not supported yet")
        }
        _ => format!("{field} = {value} is not supported yet"),
    }
}

impl ModelConfig {
    /// Checks that every number is in its range and that they fit each other.
    ///
    /// The upper limits are well above the largest models known. With them no product of two sizes overflows 64
    /// bits; whatever is allocated is still compared with the file.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for the first field that does not fit.
    fn validated(self) -> Result<Self, ConfigError> {
        let sizes = [
            ("hidden_size", self.hidden_size, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("num_key_value_heads", self.num_key_value_heads, 1 << 10),
            ("head_dim", self.head_dim, 1 << 10),
            ("vocab_size", self.vocab_size, 1 << 22),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                1 << 26,
            ),
        ];
        for (field, value, limit) in sizes {
            if !(1..=limit).contains(&value) {
                return Err(invalid(field, value, format!("1 to {limit} are possible")));
            }
        }
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        if !heads.is_multiple_of(kv_heads) {
            let reason = format!("it must divide num_attention_heads = {heads}");
            return Err(invalid("num_key_value_heads", kv_heads, reason));
        }
        if !self.head_dim.is_multiple_of(2) {
            let reason = "rotary embeddings need an even number";
            return Err(invalid("head_dim", self.head_dim, reason));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            let reason = "it must be finite and above zero";
            return Err(invalid("rope_theta", self.rope_theta, reason));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            let reason = "it must be between 0 and 1";
            return Err(invalid("rms_norm_eps", self.rms_norm_eps, reason));
        }
        Ok(self)
    }

    /// Returns what the user is told of the special ids that the model has no embedding for, and which are
    /// therefore passed over; `None` if all have one.
    pub fn unembedded_ids_note(&self) -> Option<String> {
        let special = self.bos_token_id.iter().map(|&id| ("bos_token_id", id));
        let ends = self.eos_token_ids.iter().map(|&id| ("eos_token_id", id));
        let beyond = special
            .chain(ends)
            .filter(|(_, id)| *id as usize >= self.vocab_size);
        let beyond: Vec<String> = beyond.map(|(key, id)| format!("{key} {id}")).collect();
        (!beyond.is_empty()).then(|| {
            format!(
                "The model's settings name tokens that it has no embedding for, and they are passed over: {} ({} \
                 tokens have one).",
                beyond.join(", "),
                self.vocab_size
            )
        })
    }

    /// Returns the length of a dimension that [`crate::arch`] describes by its [`Size`].
    fn size(&self, size: Size) -> usize {
        match size {
            Size::Vocabulary => self.vocab_size,
            Size::Hidden => self.hidden_size,
            Size::Intermediate => self.intermediate_size,
            Size::Query => self.num_attention_heads * self.head_dim,
            Size::KeyValue => self.num_key_value_heads * self.head_dim,
            Size::Head => self.head_dim,
        }
    }

    /// Returns every tensor of the model and its shape, under HF names: the embedding, the blocks in order, the
    /// final norm, and the head unless it is tied.
    ///
    /// # Shapes
    /// - `model.embed_tokens.weight`, `lm_head.weight`: `[v, d]`
    /// - `model.norm.weight`: `[d]`
    /// - of a block: what [`Architecture::block`] lists, projections as `[out, in]`
    pub fn tensors(&self) -> Vec<(String, Vec<u64>)> {
        let described = |name: String, spec: &TensorSpec| {
            let sizes = spec.shape.iter();
            (name, sizes.map(|&size| self.size(size) as u64).collect())
        };
        let mut tensors = vec![described(EMBEDDING.hf.to_owned(), &EMBEDDING)];
        for layer in 0..self.num_hidden_layers {
            let block = self.arch.block.iter();
            tensors.extend(block.map(|spec| described(block_name(layer, spec.hf), spec)));
        }
        tensors.push(described(FINAL_NORM.hf.to_owned(), &FINAL_NORM));
        if !self.tie_word_embeddings {
            tensors.push(described(HEAD.hf.to_owned(), &HEAD));
        }
        tensors
    }

    /// Returns the head size for a tensor whose heads' rows are interleaved in GGUF files (see [`RowOrder`]);
    /// `None` for all others.
    pub fn interleaved_head_dim(&self, hf_name: &str) -> Option<usize> {
        let spec = self.arch.tensor(hf_name)?;
        (spec.gguf_rows == RowOrder::Interleaved).then_some(self.head_dim)
    }

    /// Returns the number of weights; a tied head counts once.
    pub fn num_parameters(&self) -> u64 {
        let sizes = self.tensors().into_iter();
        sizes.map(|(_, shape)| shape.iter().product::<u64>()).sum()
    }
}

/// Makes a [`ConfigError::Invalid`].
fn invalid(field: &str, value: impl ToString, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        field: field.to_owned(),
        value: value.to_string(),
        reason: reason.into(),
    }
}

/// Returns the size of a head where the file does not give it.
///
/// # Errors
/// [`ConfigError::Invalid`] if the heads do not divide the width.
fn head_dim_from(hidden_size: usize, num_attention_heads: usize) -> Result<usize, ConfigError> {
    match hidden_size.checked_rem(num_attention_heads) {
        Some(0) => Ok(hidden_size / num_attention_heads),
        _ => Err(invalid(
            "num_attention_heads",
            num_attention_heads,
            format!("it must divide hidden_size = {hidden_size}"),
        )),
    }
}

#[cfg(test)]
mod tests;
