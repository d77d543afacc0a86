//! The vocabulary that a GGUF file carries, as `gguf-py` writes it under `tokenizer.ggml.*`.
//!
//! ```text
//! model       gpt2                        tokens       ["<|endoftext|>", ..., "Ġthe", ...]      by id
//! pre         smollm                      token_type   [3, ..., 1, ...]
//! merges      ["Ġ t", "Ġ a", ...]         bos_token_id, eos_token_id, eot_token_id, ...
//! ```
//!
//! Here it is only read and bounded; [`crate::tokenizer`] knows what the keywords mean.

use crate::weights::gguf::{GgufError, Metadata, StringList};

/// Tokens, and merges, that are read: twice as many tokens as the largest vocabularies have.
const MAX_ENTRIES: usize = 1 << 19;
/// The type of a token that is text like any other.
const NORMAL_TOKEN: i32 = 1;

/// Values of `tokenizer.ggml.pre` for which llama.cpp adds a BOS where the file does not say (`llama-vocab.cpp`).
const BEGIN_WITH_BOS: [&str; 6] = [
    "llama-bpe",
    "llama3",
    "llama-v3",
    "falcon3",
    "pixtral",
    "tekken",
];

/// What a tokenizer is built from. Ids are positions in `tokens` and were checked against its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufVocabulary {
    /// `gpt2` (byte-level BPE) or `llama` (SentencePiece), as the file says.
    pub model: String,
    /// The pre-tokenizer's name; empty where the file gives none.
    pub pre: String,
    /// All tokens by id. In byte-level BPE they are written in GPT-2's alphabet, where `Ġ` is a space.
    pub tokens: Vec<String>,
    /// As many as `tokens`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// Pairs of tokens with a space between them, the most frequent first.
    pub merges: Vec<String>,
    /// The token that begins a text.
    pub bos_token_id: Option<u32>,
    /// The token that ends a text.
    pub eos_token_id: Option<u32>,
    /// The token that ends a turn, where it differs from the end of a text.
    pub eot_token_id: Option<u32>,
    /// The token for what the vocabulary cannot write.
    pub unk_token_id: Option<u32>,
    /// The token that fills up batches.
    pub pad_token_id: Option<u32>,
    /// Whether each text begins with the `bos_token_id`.
    pub add_bos_token: bool,
    /// Whether a space is put before each text; only SentencePiece does.
    pub add_space_prefix: bool,
}

/// Why a vocabulary cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VocabularyError {
    /// A key of another type.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// More tokens or merges than are read.
    #[error("{key} has {count} entries, at most {limit} are possible")]
    TooMany {
        key: &'static str,
        count: usize,
        limit: usize,
    },
    /// The lists of tokens and of their types differ in length.
    #[error("there are {num_types} token types for {num_tokens} tokens")]
    TokenTypes { num_types: usize, num_tokens: usize },
}

impl GgufVocabulary {
    /// Reads the vocabulary; `None` where the file has none. It may be larger than the model's embedding.
    /// Special ids beyond it are passed over, as llama.cpp does.
    ///
    /// # Errors
    /// A [`VocabularyError`].
    pub fn from_metadata(metadata: &Metadata) -> Result<Option<Self>, VocabularyError> {
        let model = metadata.text("tokenizer.ggml.model")?;
        let tokens = metadata.strings("tokenizer.ggml.tokens")?;
        let (Some(model), Some(tokens)) = (model, tokens.filter(|list| !list.is_empty())) else {
            return Ok(None);
        };
        let num_tokens = tokens.len();
        let tokens = owned("tokenizer.ggml.tokens", tokens, MAX_ENTRIES)?;
        let merges = match metadata.strings("tokenizer.ggml.merges")? {
            Some(merges) => owned("tokenizer.ggml.merges", merges, MAX_ENTRIES)?,
            None => Vec::new(),
        };
        let token_types = match metadata.integers("tokenizer.ggml.token_type")? {
            Some(types) if types.len() != num_tokens => {
                return Err(VocabularyError::TokenTypes {
                    num_types: types.len(),
                    num_tokens,
                });
            }
            Some(types) => types.to_vec(),
            None => vec![NORMAL_TOKEN; num_tokens],
        };
        let is_token = |id: &u32| (*id as usize) < num_tokens;
        let id = |key| metadata.token_id(key).filter(is_token);
        let pre = metadata.text("tokenizer.ggml.pre")?.unwrap_or_default();
        // SentencePiece adds both unless told otherwise; byte-level BPE no space, and a BOS only for some vocabularies; as in
        // llama.cpp.
        let is_sentencepiece = model == "llama";
        let begins = is_sentencepiece || BEGIN_WITH_BOS.contains(&pre);
        let flag = |key, first| Ok::<_, GgufError>(metadata.bool(key)?.unwrap_or(first));
        Ok(Some(Self {
            model: model.to_owned(),
            pre: pre.to_owned(),
            tokens,
            token_types,
            merges,
            bos_token_id: id("tokenizer.ggml.bos_token_id"),
            eos_token_id: id("tokenizer.ggml.eos_token_id"),
            eot_token_id: id("tokenizer.ggml.eot_token_id"),
            unk_token_id: id("tokenizer.ggml.unknown_token_id"),
            pad_token_id: id("tokenizer.ggml.padding_token_id"),
            add_bos_token: flag("tokenizer.ggml.add_bos_token", begins)?,
            add_space_prefix: flag("tokenizer.ggml.add_space_prefix", is_sentencepiece)?,
        }))
    }
}

/// Copies the strings of a key.
///
/// # Errors
/// [`VocabularyError::TooMany`] beyond `limit`.
fn owned(
    key: &'static str,
    list: &StringList,
    limit: usize,
) -> Result<Vec<String>, VocabularyError> {
    let count = list.len();
    if count > limit {
        return Err(VocabularyError::TooMany { key, count, limit });
    }
    Ok(list.iter().map(str::to_owned).collect())
}
