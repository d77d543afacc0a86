//! What keeps an architecture from loading, by its name, and what to bring in its place.
//!
//! Which families are built is the list [`crate::arch::FAMILIES`]; this file only words the refusals of all
//! others. Names come as `model_type` (`qwen3_moe`), as a class (`Qwen3MoeForCausalLM`) or as
//! `general.architecture` (`qwen3moe`), so they are compared in lower case and in part. An unknown name gives
//! the plain reason that it is not supported yet.

use super::ConfigError;

/// Parts of the names of encoder families (`BertModel`, `nomic-bert`, `xlm-roberta`, `T5EncoderModel`).
const ENCODERS: [&str; 8] = [
    "bert",
    "electra",
    "deberta",
    "mpnet",
    "albert",
    "t5encoder",
    "clip",
    "gemma-embedding",
];

/// Parts of tensor names that only encoders have (BERT, MPNet and GGUF's bert).
const ENCODER_TENSORS: [&str; 4] = [
    "embeddings.word_embeddings",
    "embeddings.token_type_embeddings",
    "encoder.layer.0.",
    "token_embd_norm",
];

/// Returns whether `architecture` (a `model_type`, a class name or `general.architecture`) names an encoder.
pub fn is_encoder(architecture: &str) -> bool {
    let lower = architecture.to_lowercase();
    ENCODERS.iter().any(|family| lower.contains(family))
}

/// Returns whether tensors of these names are an encoder's, for files that come without a config.json.
pub fn looks_like_encoder<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    let is_encoders = |name: &str| ENCODER_TENSORS.iter().any(|part| name.contains(part));
    names.into_iter().any(is_encoders)
}

/// Returns the error for a family that is not built. Encoders have one of their own, since they cannot write text
/// at all.
pub(super) fn refused(architecture: &str) -> ConfigError {
    let owned = architecture.to_owned();
    if is_encoder(architecture) {
        ConfigError::Encoder {
            architecture: owned,
        }
    } else {
        ConfigError::Architecture {
            architecture: owned,
        }
    }
}

/// Why a family of models does not run here; each has a reason in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// A decoder of another architecture, or a name that nothing is known of.
    NotYet,
    /// Mixtures of experts.
    Experts,
    /// State-space layers and their hybrids with attention.
    Recurrent,
    /// T5 and its like.
    EncoderDecoder,
    /// Models that read or make images.
    Images,
    /// Models that read or make sound.
    Audio,
    /// A classifier or a reward model over a decoder.
    OtherHead,
}

/// What keeps families out, by parts of their names. The order matters: the first hit counts, so a vision model
/// made of experts is refused for its images.
const OBSTACLES: [(Obstacle, &[&str]); 6] = [
    (
        Obstacle::OtherHead,
        &[
            "forsequenceclassification",
            "fortokenclassification",
            "forquestionanswering",
            "rewardmodel",
        ],
    ),
    (
        Obstacle::Images,
        &[
            "vl",
            "llava",
            "clip",
            "mllama",
            "idefics",
            "smolvlm",
            "paligemma",
            "vision",
            "gemma3n",
            "gemma4",
            "pixtral",
            "internvl",
            "flux",
            "diffusion",
        ],
    ),
    (
        Obstacle::Audio,
        &["whisper", "wav2vec", "speech", "voxtral", "audio", "csm"],
    ),
    (
        Obstacle::EncoderDecoder,
        &["t5", "bart", "pegasus", "marian", "m2m_100"],
    ),
    (
        Obstacle::Recurrent,
        &[
            "mamba",
            "rwkv",
            "jamba",
            "zamba",
            "bamba",
            "falcon_h1",
            "falcon-h1",
            "nemotron_h",
            "hybrid",
            "qwen3_next",
            "qwen3next",
            "qwen3_5",
            "qwen35",
            "plamo2",
        ],
    ),
    (
        Obstacle::Experts,
        &[
            "moe", "mixtral", "deepseek", "gpt_oss", "gpt-oss", "gptoss", "llama4", "dbrx", "grok",
            "arctic",
        ],
    ),
];

impl Obstacle {
    /// Returns the first obstacle whose list has a part of the name.
    fn of(architecture: &str) -> Self {
        let lower = architecture.to_lowercase();
        let is_one = |names: &[&str]| names.iter().any(|name| lower.contains(name));
        let found = OBSTACLES.iter().find(|(_, names)| is_one(names));
        found.map_or(Self::NotYet, |(obstacle, _)| *obstacle)
    }

    /// Returns the end of the sentence "the architecture X ...", without a full stop.
    fn reason(self) -> &'static str {
        match self {
            Self::NotYet => "is not supported yet",
            Self::Experts => "is a mixture of experts, which Inlay does not train",
            Self::Recurrent => "has recurrent (state-space) layers, which Inlay does not train",
            Self::EncoderDecoder => "is an encoder with a decoder; Inlay trains decoders alone",
            Self::Images => "works on images, which Inlay does not read",
            Self::Audio => "works on sound, which Inlay does not read",
            Self::OtherHead => "scores or classifies texts; Inlay trains models that write text",
        }
    }
}

/// Says why a model of this architecture does not load.
///
/// ```text
/// qwen3_moe    the architecture qwen3_moe is a mixture of experts, which Inlay does not train
/// olmo2        the architecture olmo2 is not supported yet
/// ```
pub(super) fn refusal(architecture: &str) -> String {
    let reason = Obstacle::of(architecture).reason();
    format!("the architecture {architecture} {reason}")
}

/// Says what would load in place of a model of this architecture.
pub fn architecture_remedy(architecture: &str) -> &'static str {
    match Obstacle::of(architecture) {
        Obstacle::OtherHead => {
            "Choose the language model that it was made from (such as LlamaForCausalLM or Qwen3ForCausalLM), for example SmolLM2-135M-Instruct."
        }
        _ => {
            "Choose a Llama or Qwen model, such as SmolLM2 (135M, 360M or 1.7B), TinyLlama or Qwen3-0.6B."
        }
    }
}
