//! Telling models, datasets and adapters from each other among what is dropped on the window.

/// What a dropped file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    Model,
    Dataset,
    Adapter,
}

/// Bytes of a file's head that [`role`] looks at.
pub const HEAD_BYTES: usize = 16;

/// Files that come with a safetensors model and never are a dataset.
const MODEL_COMPANIONS: [&str; 8] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
    "vocab.json",
    "chat_template.jinja",
];

/// What PEFT calls an adapter's files.
const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// What a file is for, by its first bytes and, where they say nothing, by its name.
pub fn role(name: &str, head: &[u8]) -> FileRole {
    let name = name.to_ascii_lowercase();
    // As the export calls its zip.
    let is_exported = name.starts_with("inlay-") && name.ends_with("-lora.zip");
    if is_exported || ADAPTER_FILES.contains(&name.as_str()) {
        return FileRole::Adapter;
    }
    let is_named_so = name.ends_with(".gguf") || name.ends_with(".safetensors");
    if head.starts_with(b"GGUF")
        || is_safetensors(head)
        || is_named_so
        || MODEL_COMPANIONS.contains(&name.as_str())
    {
        FileRole::Model
    } else {
        FileRole::Dataset
    }
}

/// A safetensors file starts with the length of its JSON header, little-endian in 64 bits, then the header.
fn is_safetensors(head: &[u8]) -> bool {
    let Some((length, rest)) = head.split_first_chunk::<8>() else {
        return false;
    };
    let length = u64::from_le_bytes(*length);
    (2..=100_000_000).contains(&length) && rest.first() == Some(&b'{')
}
