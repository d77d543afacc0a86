//! Which architectures are supported, and which are encoders.

use super::{ConfigError, LlamaConfig};

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

/// Whether `architecture` (a `model_type`, a class name or `general.architecture`) names an encoder.
pub fn is_encoder(architecture: &str) -> bool {
    let lower = architecture.to_lowercase();
    ENCODERS.iter().any(|family| lower.contains(family))
}

/// Whether tensors of these names are an encoder's.
pub fn looks_like_encoder<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    let is_encoders = |name: &str| ENCODER_TENSORS.iter().any(|part| name.contains(part));
    names.into_iter().any(is_encoders)
}

/// Accepts `llama` alone; encoders get their own error.
pub(super) fn check_architecture(architecture: &str) -> Result<(), ConfigError> {
    let owned = architecture.to_owned();
    if architecture == LlamaConfig::ARCHITECTURE {
        Ok(())
    } else if is_encoder(architecture) {
        Err(ConfigError::Encoder {
            architecture: owned,
        })
    } else {
        Err(ConfigError::Architecture {
            architecture: owned,
        })
    }
}
