//! Hyper-parameters from GGUF metadata, by the keys of llama.cpp (`gguf-py/gguf/constants.py`).
//!
//! Defaults are llama.cpp's: 10,000 for `rope.freq_base`, as many key heads as query heads, and d / h for the
//! size of a head. What llama.cpp needs (`block_count`, `context_length`, `embedding_length`,
//! `feed_forward_length`, the epsilon) is needed here, too. The kind of position scaling is a key, but Llama
//! 3's factors are a tensor (`rope_freqs.weight`), which
//! [`ModelFiles::check`](crate::weights::checkpoint::ModelFiles::check) refuses.

use super::{ConfigError, ModelConfig, architecture, head_dim_from, invalid};
use crate::{
    arch::Architecture,
    weights::gguf::{Metadata, Value},
};

/// The base of the rotary angles where `rope.freq_base` is absent.
const DEFAULT_ROPE_THETA: f64 = 10_000.0;

impl ModelConfig {
    /// Reads the metadata of a GGUF file. `tie_word_embeddings` is true where the file has no `output.weight`:
    /// the metadata does not say.
    ///
    /// # Errors
    /// [`ConfigError::Architecture`] or [`ConfigError::Encoder`] for families that are not built,
    /// [`ConfigError::Feature`], and what is missing, of another type or impossible.
    pub fn from_gguf(metadata: &Metadata, tie_word_embeddings: bool) -> Result<Self, ConfigError> {
        let name = metadata
            .text("general.architecture")?
            .ok_or(ConfigError::NoArchitecture)?;
        let arch = Architecture::of_gguf(name).ok_or_else(|| architecture::refused(name))?;
        let key = |tail: &str| format!("{}.{tail}", arch.gguf);
        refuse_features(metadata, key)?;
        let hidden_size = required(metadata, &key("embedding_length"))?;
        let num_attention_heads = required(metadata, &key("attention.head_count"))?;
        let head_dim = match optional(metadata, &key("attention.key_length"))? {
            Some(head_dim) => head_dim,
            None => head_dim_from(hidden_size, num_attention_heads)?,
        };
        // Rotation of a part of each head, or value heads of another size, are not built.
        for field in ["rope.dimension_count", "attention.value_length"].map(key) {
            if let Some(size) = optional(metadata, &field)?.filter(|&size| size != head_dim) {
                let reason = format!("only the head size, {head_dim}, is supported");
                return Err(invalid(&field, size, reason));
            }
        }
        let vocab_size = match optional(metadata, &key("vocab_size"))? {
            Some(size) => size,
            None => match metadata.strings("tokenizer.ggml.tokens")? {
                Some(tokens) => tokens.len(),
                None => return Err(missing(&key("vocab_size"))),
            },
        };
        let theta = metadata.float(&key("rope.freq_base"))?;
        let epsilon = key("attention.layer_norm_rms_epsilon");
        Self {
            arch,
            hidden_size,
            intermediate_size: required(metadata, &key("feed_forward_length"))?,
            num_hidden_layers: required(metadata, &key("block_count"))?,
            num_attention_heads,
            num_key_value_heads: optional(metadata, &key("attention.head_count_kv"))?
                .unwrap_or(num_attention_heads),
            head_dim,
            vocab_size,
            max_position_embeddings: required(metadata, &key("context_length"))?,
            rope_theta: theta.unwrap_or(DEFAULT_ROPE_THETA),
            rms_norm_eps: metadata.float(&epsilon)?.ok_or_else(|| missing(&epsilon))?,
            tie_word_embeddings,
            bos_token_id: metadata.token_id("tokenizer.ggml.bos_token_id"),
            eos_token_ids: end_ids(metadata),
        }
        .validated()
    }
}

/// Refuses what would change the model's output and is not built: scaled positions and mixtures of experts. A
/// scaling of type `none`, a linear factor of 1 and zero experts are no features.
///
/// `rope.scale_linear` is the old key for the factor, and stands alone. The new one, `rope.scaling.factor`, is
/// expected next to `rope.scaling.type`, which alone decides.
///
/// # Errors
/// [`ConfigError::Feature`] with the key and its value.
fn refuse_features(metadata: &Metadata, key: impl Fn(&str) -> String) -> Result<(), ConfigError> {
    let refuse = |field: &str, value: String| {
        Err(ConfigError::Feature {
            field: field.to_owned(),
            value,
        })
    };
    for field in ["rope.scaling.type", "rope.scale_linear"].map(&key) {
        let field = field.as_str();
        match metadata.get(field) {
            None => {}
            Some(Value::Text(kind)) if kind == "none" => {}
            Some(Value::Text(kind)) => return refuse(field, kind.clone()),
            Some(_) => match metadata.float(field)? {
                None | Some(1.0) => {}
                Some(factor) => return refuse(field, factor.to_string()),
            },
        }
    }
    // A factor without a kind scales, too: llama.cpp takes it as linear.
    let factor = key("rope.scaling.factor");
    if metadata.text(&key("rope.scaling.type"))?.is_none() {
        match metadata.float(&factor)? {
            None | Some(0.0 | 1.0) => {}
            Some(value) => return refuse(&factor, value.to_string()),
        }
    }
    match metadata.unsigned(&key("expert_count"))? {
        None | Some(0) => Ok(()),
        Some(count) => refuse(&key("expert_count"), count.to_string()),
    }
}

/// Returns the end of a text and, where the file names another one, the end of a turn.
fn end_ids(metadata: &Metadata) -> Vec<u32> {
    let mut ids = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
        ids.extend(metadata.token_id(key).filter(|id| !ids.contains(id)));
    }
    ids
}

/// Reads a size; `None` if the key is absent.
///
/// # Errors
/// [`ConfigError::Invalid`] beyond 32 bits, or a key of another type.
fn optional(metadata: &Metadata, key: &str) -> Result<Option<usize>, ConfigError> {
    let number = metadata.unsigned(key)?;
    number
        .map(|number| {
            // No size we use needs more than 32 bits, which is what wasm has.
            let size = u32::try_from(number).map(|size| size as usize);
            size.map_err(|_| invalid(key, number, "it is too large"))
        })
        .transpose()
}

/// Reads a size that must be there.
///
/// # Errors
/// [`ConfigError::Missing`], and those of [`optional`].
fn required(metadata: &Metadata, key: &str) -> Result<usize, ConfigError> {
    optional(metadata, key)?.ok_or_else(|| missing(key))
}

/// Makes a [`ConfigError::Missing`].
fn missing(key: &str) -> ConfigError {
    ConfigError::Missing {
        field: key.to_owned(),
    }
}
