//! Text to token ids and back, exactly as HF's tokenizers do it.
//!
//! One [`Tokenizer`] over HF's own `tokenizers` crate, built from a GGUF's vocabulary
//! ([`Tokenizer::from_gguf`]) or from a `tokenizer.json` ([`Tokenizer::from_json`]). Only byte-pair encoding
//! (arXiv 1508.07909) is read, which is what the models of the families that are built use, those with SentencePiece aside.
//! Files are untrusted and `tokenizers` panics on some crafted ones, so both ways check first and hand over only what was
//! checked; truncation, padding and post-processing of the file are never run.
//!
//! ```text
//! "Hi<|im_end|>" -> added tokens cut out -> normalizer -> pre-tokenizer -> merges within each piece -> ids
//!                   [Hi] [<|im_end|>]       NFC or none   words, digits    ["H", "i"] -> "Hi"
//! ```
//!
//! Three kinds of id need care: special tokens spelled out in someone's text (`plain`), tokens that a template
//! or the file adds around a text ([`Tokenizer::prefix_ids`]), and tokens for which the model has no embedding,
//! which are refused by name ([`TokenizerError::NotEmbedded`]) instead of reaching the device.
//!
//! A Rust string holds no lone surrogates. Where a file escapes one (`"\ud800"`), the reader of that file puts
//! U+FFFD in its place, one for each; Python's tokenizer would refuse such a string.

mod byte_level;
mod gguf;
mod json;
mod plain;
mod stream;

use std::{collections::BTreeSet, ops::Range};

pub use gguf::{pre_of, to_json as json_from_gguf};
pub use stream::DecodeStream;

use protocol::{Failure, FailureKind};

use crate::weights::checkpoint::{GgufVocabulary, TokenizerSource};

/// The maximum number of tokens, and of the highest id plus one. Larger vocabularies are taken for damaged
/// files; the largest in use have 262,144 tokens.
const MAX_VOCAB_SIZE: usize = 400_000;
/// The maximum number of merges; the most in use are 514,906.
const MAX_MERGES: usize = 1 << 19;

/// The maximum number of tokens without an embedding that a note names; of more, only the number is told.
const NUM_NAMED_TOKENS: usize = 5;

/// Tokens that end a turn or a text in the models in use, besides the one that the file names as `eos`. They
/// count only where the file lists them as added tokens, so that ordinary text cannot end an answer.
const END_OF_TURN_TOKENS: [&str; 9] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "</s>",
];

/// What helps where a text holds a token that the model has no embedding for.
pub const NOT_EMBEDDED_REMEDY: &str = "Take that token out of the text, or use a model whose embedding was resized when the token was added \
     (`model.resize_token_embeddings(len(tokenizer))`).";

/// Why there is no tokenizer, or why it refuses a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The file breaks its own format.
    #[error("the tokenizer is damaged: {0}")]
    Damaged(String),
    /// A sound file that asks for something this engine does not do.
    #[error("the tokenizer cannot be used: {0}")]
    Unsupported(String),
    /// `tokenizers` refused a text or ids.
    #[error("the text could not be tokenized: {0}")]
    Encode(String),
    /// The tokenizer is larger than the model's embedding, and the text holds a token beyond it.
    #[error("it holds `{token}`, token {id}, which the model has no embedding for")]
    NotEmbedded { token: String, id: u32 },
}

impl From<TokenizerError> for Failure {
    fn from(error: TokenizerError) -> Self {
        let remedy = match &error {
            TokenizerError::Damaged(_) => "Download the model's files again.",
            TokenizerError::Unsupported(_) => {
                "Use a Llama or Qwen model with a byte-pair tokenizer, such as SmolLM2 or Qwen3."
            }
            TokenizerError::Encode(_) => "Remove the text that could not be tokenized.",
            TokenizerError::NotEmbedded { .. } => NOT_EMBEDDED_REMEDY,
        };
        Failure::new(FailureKind::Tokenizer, error.to_string()).remedy(remedy)
    }
}

/// A token of a text: its id and the bytes of the text that it stands for.
///
/// ```text
/// "naïve" may become  (12, 0..2) "na"   (7, 2..4) the first byte of ï   (8, 2..4) its second   (30, 4..6) "ve"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpan {
    /// The id in the vocabulary.
    pub id: u32,
    /// Byte range in the text. Tokens that share one character have the same range.
    pub range: Range<usize>,
}

/// The special tokens by their roles, as far as the file names them. Whether the model has an embedding for
/// them is not decided here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpecialIds {
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Stands for what the vocabulary cannot write.
    pub unk: Option<u32>,
    /// Fills up batches.
    pub pad: Option<u32>,
}

/// Text to ids and back. It is built once per model; [`Self::with_num_embeddings`] and [`Self::with_model_ids`]
/// then fit it to that model.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The added tokens, sorted for the search in texts.
    added: plain::AddedTokens,
    special: SpecialIds,
    /// Special tokens that a text starts with where they are asked for.
    prefix: Vec<u32>,
    /// Special tokens that a text ends with where they are asked for.
    suffix: Vec<u32>,
    /// Tokens after which generation stops.
    end_of_turn: BTreeSet<u32>,
    /// One past the highest id.
    vocab_size: usize,
    /// Whether tokens are written in GPT-2's alphabet; otherwise with U+2581 for spaces.
    is_byte_level: bool,
    /// Rows of the model's embedding: ids from here on must never reach it.
    num_embeddings: usize,
    /// The chat template that came with a `tokenizer_config.json`.
    chat_template: Option<String>,
}

/// What a file says about a tokenizer, checked, before [`Tokenizer::assemble`]. Both formats end here. The fields
/// without a comment are those of [`Tokenizer`].
struct Parts {
    /// Normalizer, pre-tokenizer, model, decoder and added tokens; no truncation, padding or post-processor.
    inner: tokenizers::Tokenizer,
    special: SpecialIds,
    /// Ids that the file itself names as ends of a turn.
    end_of_turn: Vec<u32>,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    vocab_size: usize,
    is_byte_level: bool,
    /// A GGUF's template is read with the checkpoint, so this is `None` for one.
    chat_template: Option<String>,
}

impl Tokenizer {
    /// Builds the tokenizer that a model's files describe.
    ///
    /// # Errors
    /// As [`Self::from_gguf`] and [`Self::from_json`].
    pub fn from_source(source: &TokenizerSource) -> Result<Self, TokenizerError> {
        match source {
            TokenizerSource::Gguf(vocabulary) => Self::from_gguf(vocabulary),
            TokenizerSource::Json {
                tokenizer_json,
                config_json,
            } => Self::from_json(tokenizer_json, config_json.as_deref()),
        }
    }

    /// Builds the tokenizer that a GGUF's metadata describes.
    ///
    /// # Errors
    /// An unknown vocabulary or pre-tokenizer, or metadata that contradicts itself.
    pub fn from_gguf(vocabulary: &GgufVocabulary) -> Result<Self, TokenizerError> {
        gguf::parts(vocabulary).map(Self::assemble)
    }

    /// Reads a `tokenizer.json` and, if there is one, the `tokenizer_config.json` next to it.
    ///
    /// # Errors
    /// A file that is no tokenizer, is damaged, or uses another model than byte-pair encoding.
    pub fn from_json(tokenizer: &[u8], config: Option<&[u8]>) -> Result<Self, TokenizerError> {
        json::parts(tokenizer, config).map(Self::assemble)
    }

    /// Builds the tokenizer, with the ends of a turn by name added to those that the file gives. Until
    /// [`Self::with_num_embeddings`] is called, every id counts as embedded.
    fn assemble(parts: Parts) -> Self {
        let added = parts.inner.get_added_vocabulary();
        let named = END_OF_TURN_TOKENS
            .iter()
            .filter(|token| added.get_vocab().contains_key(**token))
            .filter_map(|token| parts.inner.token_to_id(token));
        let end_of_turn = parts
            .special
            .eos
            .into_iter()
            .chain(parts.end_of_turn)
            .chain(named)
            .collect();
        Self {
            added: plain::AddedTokens::of(&parts.inner),
            inner: parts.inner,
            special: parts.special,
            prefix: parts.prefix,
            suffix: parts.suffix,
            end_of_turn,
            vocab_size: parts.vocab_size,
            is_byte_level: parts.is_byte_level,
            num_embeddings: usize::MAX,
            chat_template: parts.chat_template,
        }
    }

    /// Limits the tokenizer to a model with `num_embeddings` rows in its embedding. From then on a text that
    /// holds a token beyond them is refused, and what is put around texts without being asked for (a BOS, an
    /// EOS) is put there only where the model has an embedding for it.
    pub fn with_num_embeddings(mut self, num_embeddings: usize) -> Self {
        self.num_embeddings = num_embeddings;
        let is_embedded = |id: &u32| (*id as usize) < num_embeddings;
        self.prefix.retain(is_embedded);
        self.suffix.retain(is_embedded);
        self.end_of_turn.retain(is_embedded);
        self
    }

    /// Returns the ids of the tokens that the model has no embedding for, ascending.
    pub fn ids_without_embedding(&self) -> Vec<u32> {
        let is_known = |id: &u32| self.inner.id_to_token(*id).is_some();
        let first = u32::try_from(self.num_embeddings).unwrap_or(u32::MAX);
        let end = u32::try_from(self.vocab_size).unwrap_or(u32::MAX);
        (first..end.max(first)).filter(is_known).collect()
    }

    /// Returns what the user is told of the tokens that the model has no embedding for; `None` where it has
    /// all.
    pub fn unembedded_note(&self) -> Option<String> {
        let ids = self.ids_without_embedding();
        let shown = ids.iter().take(NUM_NAMED_TOKENS);
        let shown: Vec<String> = shown
            .map(|&id| format!("`{}` ({id})", self.token_text(id)))
            .collect();
        let more = match ids.len().saturating_sub(NUM_NAMED_TOKENS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let tokens = shown.join(", ") + &more;
        match ids.len() {
            0 => None,
            1 => Some(format!(
                "The tokenizer has a token that the model has no embedding for: {tokens}. Rows and prompts that hold \
                 it are refused; everything else works."
            )),
            count => Some(format!(
                "The tokenizer has {count} tokens that the model has no embedding for: {tokens}. Rows and prompts \
                 that hold one of them are refused; everything else works."
            )),
        }
    }

    /// Returns the token that ends a text, where the model has an embedding for it.
    pub fn embedded_eos(&self) -> Option<u32> {
        let is_embedded = |id: &u32| (*id as usize) < self.num_embeddings;
        self.special.eos.filter(is_embedded)
    }

    /// Refuses ids that the model has no embedding for.
    ///
    /// # Errors
    /// [`TokenizerError::NotEmbedded`] with the first of them.
    fn check_embedded(&self, ids: &[u32]) -> Result<(), TokenizerError> {
        match ids.iter().find(|&&id| id as usize >= self.num_embeddings) {
            None => Ok(()),
            Some(&id) => Err(TokenizerError::NotEmbedded {
                token: self.inner.id_to_token(id).unwrap_or_default(),
                id,
            }),
        }
    }

    /// Fills in from a model's own configuration what the tokenizer's files leave open: `bos` and `eos`. All of
    /// `eos` end a turn from then on. Ids beyond the vocabulary are passed over, but not those beyond the
    /// embedding: call [`Self::with_num_embeddings`] afterwards.
    pub fn with_model_ids(mut self, bos: Option<u32>, eos: &[u32]) -> Self {
        let is_known = |id: &u32| (*id as usize) < self.vocab_size;
        let eos: Vec<u32> = eos.iter().copied().filter(is_known).collect();
        self.special.bos = self.special.bos.or(bos.filter(is_known));
        self.special.eos = self.special.eos.or(eos.first().copied());
        self.end_of_turn.extend(eos);
        self
    }

    /// Returns the ids of the text alone. Special tokens that are spelled out in it are recognized, as in HF;
    /// text that is meant literally goes through [`Self::guard`] and [`Self::encode_guarded`].
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where `tokenizers` gives up, [`TokenizerError::NotEmbedded`] where the model
    /// has no embedding for a token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false).map_err(encode_error)?;
        self.check_embedded(encoding.get_ids())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Returns the ids as [`Self::encode`] does, with the special tokens that the tokenizer itself adds (a BOS,
    /// say) around the text.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_with_special_tokens(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let ids = self.encode(text)?;
        Ok([self.prefix.as_slice(), &ids, &self.suffix].concat())
    }

    /// Returns the ids as [`Self::encode`] does, with the place of each token in the text. Loss masks are made
    /// of these: which tokens belong to an answer follows from where they are in the rendered text.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_with_ranges(&self, text: &str) -> Result<Vec<TokenSpan>, TokenizerError> {
        let encoding = self.inner.encode(text, false).map_err(encode_error)?;
        self.check_embedded(encoding.get_ids())?;
        let spans = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(spans
            .map(|(&id, &(start, end))| TokenSpan {
                id,
                range: start..end,
            })
            .collect())
    }

    /// Returns the text of the ids. Ids beyond the vocabulary are left out; bytes that make no character become
    /// U+FFFD.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where `tokenizers` gives up.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizerError> {
        self.inner
            .decode(ids, skip_special_tokens)
            .map_err(encode_error)
    }

    /// Returns a decoder for ids that come one by one, as they are generated.
    pub fn decode_stream(&self, skip_special_tokens: bool) -> DecodeStream<'_> {
        DecodeStream::new(self, skip_special_tokens)
    }

    /// Returns one token in a form that a person can read.
    ///
    /// ```text
    /// a word                            " the"
    /// bytes that are no whole character "\xE2\x80"
    /// a control token                   "<|im_end|>"
    /// an id beyond the vocabulary       "<49152>"
    /// ```
    pub fn token_text(&self, id: u32) -> String {
        let Some(token) = self.inner.id_to_token(id) else {
            return format!("<{id}>");
        };
        let is_added = self
            .inner
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .contains_key(&id);
        match (is_added, self.is_byte_level) {
            (true, _) => token,
            (false, true) => byte_level::bytes(&token).map_or(token, |bytes| visible(&bytes)),
            (false, false) => token.replace('\u{2581}', " "),
        }
    }

    /// Returns whether the id is one of the special tokens, which [`Self::decode`] can skip.
    pub fn is_special(&self, id: u32) -> bool {
        self.inner
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .get(&id)
            .is_some_and(|token| token.special)
    }

    /// Returns one past the highest id. Ids below it need not all exist.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Returns the special tokens by their roles.
    pub fn special_ids(&self) -> SpecialIds {
        self.special
    }

    /// Returns the special tokens that the tokenizer itself puts before a text: a BOS, or nothing.
    pub fn prefix_ids(&self) -> &[u32] {
        &self.prefix
    }

    /// Returns the tokens after which generation stops: `eos` and the known ends of a turn.
    pub fn end_of_turn_ids(&self) -> &BTreeSet<u32> {
        &self.end_of_turn
    }

    /// Returns the token as it is written in a chat template; empty where there is none.
    pub fn special_text(&self, id: Option<u32>) -> String {
        id.and_then(|id| self.inner.id_to_token(id))
            .unwrap_or_default()
    }

    /// Returns the chat template that came with a `tokenizer_config.json`.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}

/// Turns a failure of `tokenizers` into ours; their errors are opaque, so the message is all there is.
fn encode_error(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Encode(error.to_string())
}

/// Returns bytes as text, with `\xE2` for what is no character.
fn visible(bytes: &[u8]) -> String {
    bytes
        .utf8_chunks()
        .flat_map(|chunk| {
            let broken = chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}"));
            std::iter::once(chunk.valid().to_owned()).chain(broken)
        })
        .collect()
}
