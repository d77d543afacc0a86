//! What a file is, by its first bytes and (for JSON) by its keys; hardly ever by its name.
//!
//! | first bytes | content |
//! |---|---|
//! | `GGUF` | [`Content::Gguf`] |
//! | a length up to 100 MB as u64, then `{` | [`Content::Safetensors`] |
//! | `{`, after spaces or a byte order mark | JSON: one of eight kinds, by its top-level keys |
//! | anything else | a template or SentencePiece model by its name or first piece, else [`Content::Other`] |
//!
//! Names are of little use: browsers rename downloads (`config (1).json`), and people collect files in one
//! folder. They decide only for templates (`.jinja`, `chat_template.json`), for `tokenizer.model`, for damaged JSON (an
//! error if a model is loaded with a file of that name), and for how an unusable file is described. A byte order mark
//! before JSON is passed over, here and wherever the file is read.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::{
    NamedSource,
    foreign::{Foreign, foreign, is_tokenizer_model},
};
use crate::weights::{error::ModelError, gguf, json, safetensors};

/// Bytes of a JSON file that is read at all: larger than any tokenizer.json known.
pub(super) const MAX_JSON_BYTES: u64 = 64 << 20;
/// config.json and generation_config.json of real models have a few KB. They are read into values that take ten times
/// the file.
pub(super) const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// tokenizer_config.json of real models has up to 3 MB, as it may list every added token. Parts of it are read into
/// values that take ten times their text.
pub(super) const MAX_TOKENIZER_CONFIG_BYTES: u64 = 8 << 20;
/// Templates of real models have some 10 KB.
pub(super) const MAX_TEMPLATE_BYTES: u64 = 1 << 20;
/// Bytes of a file that are looked at first: enough for every signature and the first lines of a text.
const HEAD_BYTES: u64 = 512;

/// What a dropped file is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A GGUF file, of whatever purpose.
    Gguf,
    /// A safetensors file: weights or an adapter's.
    Safetensors,
    /// `config.json`
    Config,
    /// `tokenizer.json`
    Tokenizer,
    /// `tokenizer_config.json`
    TokenizerConfig,
    /// `generation_config.json`
    GenerationConfig,
    /// `model.safetensors.index.json`
    ShardIndex,
    /// `chat_template.jinja`
    Template,
    /// `chat_template.json`: the template of a processor, as transformers wrote it before there were `.jinja` files.
    ProcessorTemplate,
    /// `tokenizer.model`: SentencePiece's, or Llama 3's own.
    TokenizerModel,
    /// `adapter_config.json`
    AdapterConfig,
    /// JSON that we have no use for, such as special_tokens_map.json.
    OtherJson,
    /// No bytes.
    Empty,
    /// Nothing we can use.
    Other(Foreign),
}

/// Looks at the file's head and, where that is JSON, at its top-level keys.
///
/// # Errors
/// [`ModelError::Source`], and [`ModelError::Json`] for a damaged file that a model is loaded with.
pub(super) async fn sniff(file: &NamedSource) -> Result<Content, ModelError> {
    let num_bytes = file.source.num_bytes();
    let head = file.read(0, num_bytes.min(HEAD_BYTES) as usize).await?;
    if head.is_empty() {
        return Ok(Content::Empty);
    }
    if head.starts_with(gguf::MAGIC) {
        return Ok(Content::Gguf);
    }
    if safetensors::is_start(&head) {
        return Ok(Content::Safetensors);
    }
    if file.name.ends_with(".jinja") && !is_additional(&file.name) {
        return Ok(Content::Template);
    }
    if is_tokenizer_model(&file.name, &head) {
        return Ok(Content::TokenizerModel);
    }
    let text = head.strip_prefix(json::MARK).unwrap_or(&head);
    if text.trim_ascii_start().starts_with(b"{") {
        return sniff_json(file, &head).await;
    }
    Ok(Content::Other(foreign(&file.name, &head)))
}

/// Returns whether a template lies in the folder where transformers keeps those for other purposes (`tool_use`,
/// `rag`); the template of every chat is next to that folder.
fn is_additional(name: &str) -> bool {
    let folder = name.rsplit(['/', '\\']).nth(1);
    folder == Some("additional_chat_templates")
}

/// JSON files that a model is loaded with. A damaged one is an error; whatever else is damaged is passed over.
const NEEDED: [&str; 4] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Tells JSON files apart by their keys.
///
/// The order of the questions matters: config.json has token ids and `transformers_version`, too, so
/// generation_config.json, which has hardly anything else, comes last. `model` alone is too common a key for
/// tokenizer.json.
///
/// # Errors
/// [`ModelError::Json`] for a damaged file among `NEEDED`.
async fn sniff_json(file: &NamedSource, head: &[u8]) -> Result<Content, ModelError> {
    let name = file.name.rsplit(['/', '\\']).next().unwrap_or_default();
    if file.source.num_bytes() > MAX_JSON_BYTES && !NEEDED.contains(&name) {
        return Ok(Content::OtherJson);
    }
    let bytes = file.read_json(MAX_JSON_BYTES).await?;
    let keys = match json::from_slice::<Keys>(&bytes) {
        Ok(Keys(keys)) => keys,
        Err(error) if NEEDED.contains(&name) => {
            return Err(ModelError::Json {
                file: file.name.clone(),
                error,
            });
        }
        Err(_) if name.ends_with(".json") => return Ok(Content::OtherJson),
        Err(_) => return Ok(Content::Other(foreign(&file.name, head))),
    };
    let has = |names: &[&str]| names.iter().any(|&name| keys.contains(name));
    Ok(if has(&["weight_map"]) {
        Content::ShardIndex
    } else if has(&["peft_type", "fine_tune_type"]) {
        Content::AdapterConfig
    } else if has(&["model"]) && has(&["added_tokens", "pre_tokenizer", "normalizer"]) {
        Content::Tokenizer
    } else if has(&["model_type", "architectures", "hidden_size"]) {
        Content::Config
    } else if has(&["chat_template"])
        && !has(&["tokenizer_class", "added_tokens_decoder"])
        && name.starts_with("chat_template")
    {
        Content::ProcessorTemplate
    } else if has(&["tokenizer_class", "added_tokens_decoder", "chat_template"]) {
        Content::TokenizerConfig
    } else if has(&["transformers_version", "eos_token_id", "bos_token_id"]) {
        Content::GenerationConfig
    } else {
        Content::OtherJson
    })
}

/// The top-level keys that tell what a file is; no other is kept.
const TELLING: [&str; 16] = [
    "weight_map",
    "peft_type",
    "fine_tune_type",
    "model",
    "added_tokens",
    "pre_tokenizer",
    "normalizer",
    "model_type",
    "architectures",
    "hidden_size",
    "tokenizer_class",
    "added_tokens_decoder",
    "chat_template",
    "transformers_version",
    "eos_token_id",
    "bos_token_id",
];

/// Those of an object's top-level keys that tell what it is. The values are skipped, for a tokenizer's would
/// take ten times the file.
struct Keys(BTreeSet<&'static str>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

/// Reads an object's keys one by one.
struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
            keys.extend(TELLING.iter().filter(|telling| **telling == key));
        }
        Ok(Keys(keys))
    }
}
