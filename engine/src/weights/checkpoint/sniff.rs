//! What a file is, by its first bytes and (for JSON) by its keys; hardly ever by its name.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::NamedSource;
use crate::weights::{error::ModelError, gguf, json, safetensors};

/// Larger than any tokenizer.json known.
pub(super) const MAX_JSON_BYTES: u64 = 64 << 20;
/// Templates of real models have some 10 KB.
pub(super) const MAX_TEMPLATE_BYTES: u64 = 1 << 20;
const HEAD_BYTES: u64 = 512;

/// What a dropped file is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Gguf,
    Safetensors,
    Config,
    Tokenizer,
    TokenizerConfig,
    GenerationConfig,
    /// `model.safetensors.index.json`
    ShardIndex,
    Template,
    /// JSON that we have no use for, such as special_tokens_map.json.
    OtherJson,
    Empty,
    /// Nothing of ours; what it looks like.
    Other(&'static str),
}

/// First bytes of files that people drop by mistake.
const SIGNATURES: [(&[u8], &str); 16] = [
    (
        b"PK\x03\x04",
        "a zip archive (a PyTorch checkpoint is one, too)",
    ),
    (b"\x80\x02", "a Python pickle (an old PyTorch checkpoint)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xFF\xD8\xFF", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1F\x8B", "a gzip archive"),
    (b"7z\xBC\xAF", "a 7z archive"),
    (b"\x28\xB5\x2F\xFD", "a zstd archive"),
    (b"lmgg", "a model in the GGML format that came before GGUF"),
    (b"fmgg", "a model in the GGML format that came before GGUF"),
    (b"tjgg", "a model in the GGML format that came before GGUF"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer instead of the file itself",
    ),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
];

/// Looks at the file's head and, where that is JSON, at its top-level keys.
pub(super) async fn sniff(file: &NamedSource) -> Result<Content, ModelError> {
    let num_bytes = file.source.num_bytes();
    let head = file.read(0, num_bytes.min(HEAD_BYTES) as usize).await?;
    if head.is_empty() {
        return Ok(Content::Empty);
    }
    if head.starts_with(gguf::MAGIC) {
        return Ok(Content::Gguf);
    }
    if is_safetensors(&head) {
        return Ok(Content::Safetensors);
    }
    if let Some((_, name)) = SIGNATURES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Ok(Content::Other(name));
    }
    if file.name.ends_with(".jinja") {
        return Ok(Content::Template);
    }
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&head);
    if text.trim_ascii_start().starts_with(b"{") {
        return sniff_json(file).await;
    }
    Ok(Content::Other(if looks_like_text(&head) {
        "a text file"
    } else {
        "a binary file of another kind"
    }))
}

/// A plausible length, then a JSON object.
fn is_safetensors(head: &[u8]) -> bool {
    head.split_first_chunk::<8>().is_some_and(|(length, rest)| {
        u64::from_le_bytes(*length) <= safetensors::MAX_HEADER_BYTES && rest.starts_with(b"{")
    })
}

fn looks_like_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The head may end within a character.
        Err(error) => error.error_len().is_none(),
    };
    valid && !head.contains(&0)
}

async fn sniff_json(file: &NamedSource) -> Result<Content, ModelError> {
    let bytes = file.read_whole(MAX_JSON_BYTES).await?;
    let keys = match json::from_slice::<Keys>(&bytes) {
        Ok(Keys(keys)) => keys,
        Err(error) if file.name.ends_with(".json") => {
            return Err(ModelError::Json {
                file: file.name.clone(),
                error,
            });
        }
        Err(_) => return Ok(Content::Other("a text file")),
    };
    let has = |names: &[&str]| names.iter().any(|&name| keys.contains(name));
    Ok(if has(&["weight_map"]) {
        Content::ShardIndex
    } else if has(&["model"]) && has(&["added_tokens", "pre_tokenizer", "normalizer"]) {
        Content::Tokenizer
    } else if has(&["model_type", "architectures", "hidden_size"]) {
        Content::Config
    } else if has(&["tokenizer_class", "added_tokens_decoder", "chat_template"]) {
        Content::TokenizerConfig
    } else if has(&["transformers_version", "eos_token_id", "bos_token_id"]) {
        Content::GenerationConfig
    } else {
        Content::OtherJson
    })
}

/// The top-level keys of an object; the values are skipped, for a tokenizer's would take ten times the file.
struct Keys(BTreeSet<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
            keys.insert(key);
        }
        Ok(Keys(keys))
    }
}
