//! The header of a merged GGUF file.
//!
//! A base in GGUF passes on its pairs unchanged, except those about the file itself; so rarely used keys survive. From
//! a Hugging Face base they are written as `convert_hf_to_gguf.py` does:
//!
//! ```text
//! general.architecture, general.type, general.name
//! llama.block_count, llama.embedding_length, ...     the shape; the prefix is the architecture
//! tokenizer.ggml.model = "gpt2"                      byte-level BPE
//! tokenizer.ggml.pre                                 the pre-tokenizer, by llama.cpp's name
//! tokenizer.ggml.tokens, token_type, merges          the vocabulary by id
//! tokenizer.ggml.eos_token_id, eot_token_id, ...     where answers end
//! tokenizer.chat_template
//! ```

use protocol::MergedKind;
use serde_json::Value;

use super::{Planned, RefusedMerge};
use crate::{
    export::gguf::Header,
    tokenizer::{Tokenizer, pre_of},
    weights::{
        checkpoint::{ModelFiles, TokenizerSource},
        config::ModelConfig,
        error::ModelError,
    },
};

/// The version of the block layouts of GGUF's quantized types.
const QUANTIZATION_VERSION: u32 = 2;
/// Types of tokens, as `llama_token_type` in llama.h numbers them. A normal token is part of BPE's vocabulary.
const NORMAL: i32 = 1;
/// A special token, which llama.cpp does not print.
const CONTROL: i32 = 3;
/// An added token that is printed like text.
const USER_DEFINED: i32 = 4;
/// An id of the embedding without a token.
const UNUSED: i32 = 5;

/// Whether a pair of the base does not apply to the merged file: its types, its layout, how it was quantized, and in
/// how many parts it was split.
fn is_of_file(key: &str) -> bool {
    let exact = [
        "general.file_type",
        "general.quantization_version",
        "general.alignment",
    ];
    exact.contains(&key) || key.starts_with("split.") || key.starts_with("quantize.")
}

/// The pairs of the base, or, if it is not a GGUF file, pairs made from its settings and tokenizer; then the tensors.
///
/// # Errors
/// A base that can no longer be read, or a tokenizer that GGUF has no name for.
pub(super) async fn header(
    files: &ModelFiles,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    kind: MergedKind,
    tensors: &[Planned],
) -> Result<Header, HeaderError> {
    let mut header = Header::default();
    match &files.tokenizer {
        TokenizerSource::Gguf(_) => {
            for (key, value) in files.gguf_pairs().await? {
                if !is_of_file(&key) {
                    header.stored(&key, &value);
                }
            }
        }
        TokenizerSource::Json { tokenizer_json, .. } => {
            settings(&mut header, &files.name, config);
            vocabulary(&mut header, tokenizer_json, config.vocab_size, tokenizer)?;
            let eos = tokenizer.special_ids().eos;
            // GGUF names two end tokens; llama.cpp recognizes others by their texts.
            if let Some(&end) = config.eos_token_ids.iter().find(|&&id| Some(id) != eos) {
                header.unsigned("tokenizer.ggml.eot_token_id", end);
            }
            if let Some(template) = &files.chat_template {
                header.text("tokenizer.chat_template", template);
            }
        }
    }
    header.unsigned("general.file_type", file_type(kind));
    header.unsigned("general.quantization_version", QUANTIZATION_VERSION);
    for tensor in tensors {
        let name = config
            .arch
            .gguf_from_hf(&tensor.hf_name)
            .unwrap_or_default();
        header.tensor(&name, &tensor.shape, tensor.kind, tensor.num_bytes);
    }
    Ok(header)
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// The base's file cannot be read any more.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// GGUF has no name for the tokenizer.
    #[error(transparent)]
    Refused(#[from] RefusedMerge),
}

/// llama.cpp's number for the type that most weights have (`llama_ftype`).
fn file_type(kind: MergedKind) -> u32 {
    match kind {
        MergedKind::Safetensors => 0,
        MergedKind::GgufF16 => 1,
        MergedKind::GgufQ4_0 => 2,
        MergedKind::GgufQ8_0 => 7,
    }
}

/// Writes the shape of the model and the constants of its norms and RoPE. Sizes are u32, constants f32.
fn settings(header: &mut Header, name: &str, config: &ModelConfig) {
    let prefix = config.arch.gguf;
    header.text("general.architecture", prefix);
    header.text("general.type", "model");
    header.text("general.name", name);
    for (key, value) in [
        ("vocab_size", config.vocab_size),
        ("context_length", config.max_position_embeddings),
        ("embedding_length", config.hidden_size),
        ("block_count", config.num_hidden_layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_attention_heads),
        ("attention.head_count_kv", config.num_key_value_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.head_dim),
    ] {
        // The sizes of a config were read as 32-bit numbers.
        header.unsigned(&format!("{prefix}.{key}"), value as u32);
    }
    header.float(
        &format!("{prefix}.rope.freq_base"),
        config.rope_theta as f32,
    );
    let epsilon = format!("{prefix}.attention.layer_norm_rms_epsilon");
    header.float(&epsilon, config.rms_norm_eps as f32);
}

/// Writes the tokens, their types and the merges of a `tokenizer.json`, as `convert_hf_to_gguf.py` writes them. There
/// are as many tokens as the embedding has rows: ids without a token become `[PAD7]` and are unused, and tokens without
/// a row are left out.
///
/// # Errors
/// [`RefusedMerge::Tokenizer`] for a pre-tokenizer that llama.cpp has no name for, or damaged JSON.
fn vocabulary(
    header: &mut Header,
    tokenizer_json: &[u8],
    vocab_size: usize,
    tokenizer: &Tokenizer,
) -> Result<(), RefusedMerge> {
    let refuse = |what: &str| RefusedMerge::Tokenizer(what.to_owned());
    let file: Value =
        serde_json::from_slice(tokenizer_json).map_err(|_| refuse("it is damaged"))?;
    let pre = pre_of(&file).ok_or_else(|| {
        refuse("GGUF identifies a pre-tokenizer by name, and no known name matches this one")
    })?;
    let mut tokens: Vec<String> = (0..vocab_size).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; vocab_size];
    // Added tokens come last: one that is in the vocabulary, too, gets their type.
    let mut put = |token: &str, id: Option<u64>, kind: i32| {
        if let Some(id) = id.filter(|&id| id < vocab_size as u64) {
            tokens[id as usize] = token.to_owned();
            types[id as usize] = kind;
        }
    };
    for (token, id) in file["model"]["vocab"].as_object().into_iter().flatten() {
        put(token, id.as_u64(), NORMAL);
    }
    for added in file["added_tokens"].as_array().into_iter().flatten() {
        let is_special = added["special"].as_bool().unwrap_or(false);
        let kind = if is_special { CONTROL } else { USER_DEFINED };
        let content = added["content"].as_str().unwrap_or_default();
        put(content, added["id"].as_u64(), kind);
    }
    let merges = file["model"]["merges"].as_array().into_iter().flatten();
    let merges: Vec<String> = merges
        .filter_map(|merge| match merge {
            Value::Array(pair) => Some(format!(
                "{} {}",
                pair.first()?.as_str()?,
                pair.get(1)?.as_str()?
            )),
            one => one.as_str().map(str::to_owned),
        })
        .collect();
    header.text("tokenizer.ggml.model", "gpt2");
    header.text("tokenizer.ggml.pre", pre);
    header.texts("tokenizer.ggml.tokens", &tokens);
    header.integers("tokenizer.ggml.token_type", &types);
    header.texts("tokenizer.ggml.merges", &merges);
    let special = tokenizer.special_ids();
    for (role, id) in [
        ("bos", special.bos),
        ("eos", special.eos),
        ("unknown", special.unk),
        ("padding", special.pad),
    ] {
        if let Some(id) = id {
            header.unsigned(&format!("tokenizer.ggml.{role}_token_id"), id);
        }
    }
    header.flag(
        "tokenizer.ggml.add_bos_token",
        !tokenizer.prefix_ids().is_empty(),
    );
    header.flag("tokenizer.ggml.add_space_prefix", false);
    Ok(())
}
