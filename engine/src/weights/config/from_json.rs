//! Hyper-parameters from HF's config.json, with the defaults of the family's config class in transformers.
//!
//! A config.json says only what differs from the class's defaults, so [`Architecture::defaults`] fills the
//! gaps. Files of transformers 4 and 5 differ: 5 moves `rope_theta` and `rope_scaling` into `rope_parameters`
//! and lists `layer_types`.
//!
//! ```text
//! {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536,
//!  "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
//!  "max_position_embeddings": 8192, "rope_theta": 100000, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, ...}
//! ```

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{ConfigError, ModelConfig, architecture, head_dim_from};
use crate::{arch::Architecture, weights::json};

/// What names the family. Read first, so that another architecture's odd fields cannot hide which architecture
/// it is.
#[derive(Deserialize)]
struct Identity {
    /// The family, such as `llama`.
    model_type: Option<String>,
    /// The classes that the weights were saved from, such as `LlamaForCausalLM`; most often one.
    architectures: Option<Vec<String>>,
}

/// The fields that are read. Whatever else a config has is ignored, unless it is a switch of the family.
#[derive(Deserialize)]
struct Fields {
    hidden_size: Option<u32>,
    intermediate_size: Option<u32>,
    num_hidden_layers: Option<u32>,
    num_attention_heads: Option<u32>,
    /// `None` if absent, which means the family's default; `Some(None)` for null, which transformers takes as one for
    /// each query head, in every family.
    #[serde(default, deserialize_with = "present")]
    num_key_value_heads: Option<Option<u32>>,
    head_dim: Option<u32>,
    vocab_size: Option<u32>,
    max_position_embeddings: Option<u32>,
    rope_theta: Option<f64>,
    rms_norm_eps: Option<f64>,
    /// Absent in many files, since a default decides in transformers.
    tie_word_embeddings: Option<bool>,
    /// `None` if absent, which means HF's default; `Some(None)` for null, which means no such token.
    #[serde(default, deserialize_with = "present")]
    bos_token_id: Option<Option<u32>>,
    /// As `bos_token_id`; one id or several.
    #[serde(default, deserialize_with = "present")]
    eos_token_id: Option<Option<TokenIds>>,
    /// The activation of the gate; only SiLU is built.
    hidden_act: Option<String>,
    /// Where transformers 5 says what each layer's attention sees.
    layer_types: Option<Vec<String>>,
    /// Where transformers 4 writes how positions are scaled.
    rope_scaling: Option<Rope>,
    /// Where transformers 5 writes rope_theta and what was rope_scaling.
    rope_parameters: Option<Rope>,
    /// Where transformers writes how the weights were quantized.
    quantization_config: Option<Quantization>,
    /// Where mlx-lm writes it.
    quantization: Option<Quantization>,
}

/// How the weights were quantized, as transformers and mlx-lm say it. It only names the method in the refusal,
/// since no such weights are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Quantization {
    quant_method: Option<String>,
    /// bitsandbytes' two flags, which older files have without a `quant_method`.
    load_in_4bit: Option<bool>,
    load_in_8bit: Option<bool>,
    /// mlx-lm's weights per scale, which tells its quantization from the others'.
    group_size: Option<serde_json::Value>,
    bits: Option<serde_json::Value>,
}

impl Quantization {
    /// Returns what the user knows the method by, with the bits where they are given.
    fn method(&self) -> String {
        let bits = self.bits.as_ref().map(|bits| format!(" ({bits}-bit)"));
        let bits = bits.unwrap_or_default();
        match self.quant_method.as_deref() {
            Some("bitsandbytes") => "bitsandbytes".to_owned() + self.loaded_bits(),
            Some("gptq") => format!("GPTQ{bits}"),
            Some("awq") => format!("AWQ{bits}"),
            Some("fp8" | "fbgemm_fp8" | "modelopt") => "FP8".to_owned(),
            Some(other) => other.to_owned(),
            None if !self.loaded_bits().is_empty() => {
                "bitsandbytes".to_owned() + self.loaded_bits()
            }
            None if self.group_size.is_some() => format!("MLX{bits}"),
            None => "a method that config.json does not name".to_owned(),
        }
    }

    /// Returns the bits of bitsandbytes, with a space before them; empty if the config does not say.
    fn loaded_bits(&self) -> &'static str {
        match (self.load_in_4bit, self.load_in_8bit) {
            (Some(true), _) => " (4-bit)",
            (_, Some(true)) => " (8-bit)",
            _ => "",
        }
    }
}

/// Returns by which tool the weights whose tensors have these names were quantized, where the names alone tell.
/// A config.json that someone stripped of its `quantization_config` does not hide it.
pub fn quantized_by<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    const MARKS: [(&str, &str); 5] = [
        ("quant_state.bitsandbytes", "bitsandbytes"),
        (".weight.absmax", "bitsandbytes"),
        (".qweight", "GPTQ or AWQ"),
        (".weight_packed", "compressed-tensors"),
        (".scales", "MLX"),
    ];
    let mut found = names.into_iter().filter_map(|name| {
        let mut marks = MARKS.iter();
        marks.find(|(mark, _)| name.contains(mark))
    });
    found.next().map(|(_, method)| *method)
}

/// Reads a field that is there, be it null; serde calls it only for fields that are.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// `rope_scaling` or `rope_parameters`.
#[derive(Deserialize)]
struct Rope {
    /// How positions are scaled. Only `default` and `none` are built.
    rope_type: Option<String>,
    /// The older name of `rope_type`, which transformers 4 keeps next to the newer one.
    r#type: Option<String>,
    /// The base of the rotary angles in transformers 5.
    rope_theta: Option<f64>,
    /// The part of each head that is rotated; only 1 is built.
    partial_rotary_factor: Option<f64>,
}

/// One id or several, as config.json and generation_config.json have them.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenIds {
    /// `2`
    One(u32),
    /// `[2, 32000]`: an answer ends with any of them.
    Many(Vec<u32>),
}

impl TokenIds {
    /// Returns the ids in the order of the file.
    fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

impl ModelConfig {
    /// Reads config.json. Where it does not say whether the head is the embedding, the two are taken as
    /// separate.
    ///
    /// # Errors
    /// As [`Self::from_json_of`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::from_json_of(bytes, false)
    }

    /// Returns whether config.json says if head and embedding are one, either way.
    pub fn says_tied(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Tied {
            tie_word_embeddings: Option<bool>,
        }
        json::from_slice(bytes).is_ok_and(
            |Tied {
                 tie_word_embeddings,
             }| tie_word_embeddings.is_some(),
        )
    }

    /// Reads config.json; where it does not say whether the head is the embedding, `is_tied_by_default`
    /// decides.
    ///
    /// # Errors
    /// [`ConfigError::Architecture`] or [`ConfigError::Encoder`] for families that are not built,
    /// [`ConfigError::Feature`], [`ConfigError::Quantized`], damaged JSON, and sizes that are missing or
    /// impossible.
    pub fn from_json_of(bytes: &[u8], is_tied_by_default: bool) -> Result<Self, ConfigError> {
        // Parsed three times: the family first, then its fields, then all keys by name for the switches.
        let arch = family(&json::from_slice(bytes)?)?;
        let fields: Fields = json::from_slice(bytes)?;
        refuse_features(&fields, &json::from_slice(bytes)?, arch)?;
        let defaults = &arch.defaults;
        let hidden_size = required("hidden_size", fields.hidden_size)?;
        let num_attention_heads = required("num_attention_heads", fields.num_attention_heads)?;
        let size = |value: Option<u32>, default: usize| value.map_or(default, |size| size as usize);
        let head_dim = fields.head_dim.map(|size| size as usize);
        let head_dim = match head_dim.or(defaults.head_dim) {
            Some(head_dim) => head_dim,
            None => head_dim_from(hidden_size, num_attention_heads)?,
        };
        let default_key_value_heads = defaults.num_key_value_heads.map(|size| size as u32);
        let num_key_value_heads = fields
            .num_key_value_heads
            .unwrap_or(default_key_value_heads);
        let default_eos = defaults.eos_token_id.map(TokenIds::One);
        let theta = fields.rope_parameters.and_then(|rope| rope.rope_theta);
        Self {
            arch,
            hidden_size,
            intermediate_size: required("intermediate_size", fields.intermediate_size)?,
            num_hidden_layers: required("num_hidden_layers", fields.num_hidden_layers)?,
            num_attention_heads,
            num_key_value_heads: size(num_key_value_heads, num_attention_heads),
            head_dim,
            vocab_size: required("vocab_size", fields.vocab_size)?,
            max_position_embeddings: size(
                fields.max_position_embeddings,
                defaults.max_position_embeddings,
            ),
            rope_theta: theta.or(fields.rope_theta).unwrap_or(10_000.0),
            rms_norm_eps: fields.rms_norm_eps.unwrap_or(1e-6),
            tie_word_embeddings: fields.tie_word_embeddings.unwrap_or(is_tied_by_default),
            bos_token_id: fields.bos_token_id.unwrap_or(defaults.bos_token_id),
            eos_token_ids: fields
                .eos_token_id
                .unwrap_or(default_eos)
                .map_or(Vec::new(), TokenIds::into_vec),
        }
        .validated()
    }

    /// Replaces the end tokens by those of generation_config.json, which HF's `generate` prefers, where it
    /// names any.
    ///
    /// # Errors
    /// JSON that is damaged.
    pub fn with_generation_config(mut self, bytes: &[u8]) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct Generation {
            eos_token_id: Option<TokenIds>,
        }
        let generation: Generation = json::from_slice(bytes)?;
        if let Some(ids) = generation.eos_token_id {
            self.eos_token_ids = ids.into_vec();
        }
        self.validated()
    }
}

/// Returns the family that config.json names, by `model_type` or else by the first class.
///
/// # Errors
/// [`ConfigError::NoArchitecture`], or that of a family, or of a head, that is not built.
fn family(identity: &Identity) -> Result<&'static Architecture, ConfigError> {
    let classes = identity.architectures.as_deref().unwrap_or_default();
    let named = |found: Option<&'static Architecture>, name: &str| {
        found.ok_or_else(|| architecture::refused(name))
    };
    let arch = match (&identity.model_type, classes.first()) {
        (Some(model_type), _) => named(Architecture::of_model_type(model_type), model_type)?,
        (None, Some(class)) => named(Architecture::of_class(class), class)?,
        (None, None) => return Err(ConfigError::NoArchitecture),
    };
    // The family with another head than the language model's: LlamaForSequenceClassification has the same
    // `model_type`.
    match classes.iter().find(|class| *class != arch.class) {
        None => Ok(arch),
        Some(class) => Err(ConfigError::Architecture {
            architecture: class.clone(),
        }),
    }
}

/// Refuses what would change the model's output and is not built: scaled or partial RoPE, a switch of the
/// family at another value, layers with a window, other activations, quantized weights.
///
/// # Errors
/// [`ConfigError::Feature`] with the field and its value, or [`ConfigError::Quantized`].
fn refuse_features(
    fields: &Fields,
    all: &Map<String, Value>,
    arch: &Architecture,
) -> Result<(), ConfigError> {
    let refuse = |field: &str, value: &str| {
        Err(ConfigError::Feature {
            field: field.to_owned(),
            value: value.to_owned(),
        })
    };
    for (name, rope) in [
        ("rope_scaling", &fields.rope_scaling),
        ("rope_parameters", &fields.rope_parameters),
    ] {
        let Some(rope) = rope else { continue };
        for kind in [&rope.rope_type, &rope.r#type].into_iter().flatten() {
            if !["default", "none"].contains(&kind.as_str()) {
                return refuse(name, kind);
            }
        }
        match rope.partial_rotary_factor {
            None | Some(1.0) => {}
            Some(factor) => return refuse("partial_rotary_factor", &factor.to_string()),
        }
    }
    for (name, built) in arch.switches {
        match all.get(*name) {
            None | Some(Value::Null) => {}
            Some(value) if *value == Value::Bool(*built) => {}
            Some(value) => return refuse(name, &value.to_string()),
        }
    }
    let mut layer_types = fields.layer_types.iter().flatten();
    if let Some(kind) = layer_types.find(|kind| *kind != "full_attention") {
        return refuse("layer_types", kind);
    }
    match fields.hidden_act.as_deref() {
        None | Some("silu" | "swish") => {}
        Some(act) => return refuse("hidden_act", act),
    }
    // mlx-lm writes both; what it writes under the common name lacks a method.
    let quantization = [&fields.quantization_config, &fields.quantization];
    match quantization.into_iter().flatten().next() {
        None => Ok(()),
        Some(quantization) => Err(ConfigError::Quantized {
            method: quantization.method(),
        }),
    }
}

/// Returns a field that has no default.
///
/// # Errors
/// [`ConfigError::Missing`].
fn required(field: &str, value: Option<u32>) -> Result<usize, ConfigError> {
    value
        .map(|size| size as usize)
        .ok_or_else(|| ConfigError::Missing {
            field: field.to_owned(),
        })
}
