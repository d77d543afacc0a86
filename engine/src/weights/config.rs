//! Hyper-parameters of the base model, from GGUF metadata or HF's config.json.

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

/// A decoder, fields named as in HF's configs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub arch: &'static Architecture,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub rope_theta: f64,
    pub rms_norm_eps: f64,
    pub tie_word_embeddings: bool,
    pub bos_token_id: Option<u32>,
    pub eos_token_ids: Vec<u32>,
}

impl ModelConfig {
    /// Input and output features of a projection.
    pub fn projection_features(&self, module: TargetModule) -> (usize, usize) {
        let query = self.num_attention_heads * self.head_dim;
        let key_value = self.num_key_value_heads * self.head_dim;
        module.features(self.hidden_size, query, key_value, self.intermediate_size)
    }
}

/// Hyper-parameters that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error("{field} is missing")]
    Missing { field: String },
    #[error("{field} is {value}, which is impossible: {reason}")]
    Invalid {
        field: String,
        value: String,
        reason: String,
    },
    #[error("the model's architecture is not named (config.json has no model_type)")]
    NoArchitecture,
    #[error("{}", architecture::refusal(architecture))]
    Architecture { architecture: String },
    #[error("{architecture} is an encoder; it turns text into vectors and cannot write text")]
    Encoder { architecture: String },
    #[error("{}", feature_refusal(field, value))]
    Feature { field: String, value: String },
    #[error("its weights are quantized by {method}, which Inlay does not read")]
    Quantized { method: String },
}

/// What a feature is, in words where its name alone does not say.
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
    /// Checks that the numbers are sane and fit each other.
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

    /// What the user is told of the special ids that the model has no embedding for, and which are therefore passed over.
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

    /// The length of a dimension.
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

    /// Every tensor of the model and its shape, slowest dimension first, under HF names.
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

    /// The head size, of a tensor whose heads' rows are interleaved in GGUF files.
    pub fn interleaved_head_dim(&self, hf_name: &str) -> Option<usize> {
        let spec = self.arch.tensor(hf_name)?;
        (spec.gguf_rows == RowOrder::Interleaved).then_some(self.head_dim)
    }

    /// Number of weights, a tied head counted once.
    pub fn num_parameters(&self) -> u64 {
        let sizes = self.tensors().into_iter();
        sizes.map(|(_, shape)| shape.iter().product::<u64>()).sum()
    }
}

fn invalid(field: &str, value: impl ToString, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        field: field.to_owned(),
        value: value.to_string(),
        reason: reason.into(),
    }
}

/// The size of a head where the file does not give it.
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
