//! A tokenizer from HF's `tokenizer.json` and `tokenizer_config.json`.
//!
//! The file is read into our own types, and the tokenizer is built from them, so nothing reaches `tokenizers`
//! unchecked. [`component`] lists what such a file may contain; anything else is refused by name. [`extent`]
//! bounds the size of its parts before they are parsed, [`budget`] what its components can do together.
//!
//! ```text
//! {"added_tokens": [{"id": 0, "content": "<|endoftext|>", "special": true, ...}],
//!  "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", ...}, "post_processor": ..., "decoder": ...,
//!  "model": {"type": "BPE", "vocab": {"!": 5, ...}, "merges": ["Ġ t", ...]}}
//! ```

mod budget;
mod component;
mod extent;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, de::DeserializeOwned};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, models::bpe::BPE,
};

use component::{Decoder, Normalizer, PostProcessor, PreTokenizer, collect_special};

use super::{
    MAX_MERGES, MAX_VOCAB_SIZE, Parts, SpecialIds, TokenizerError, gguf::build_bpe,
    plain::check_added,
};
use crate::weights::json;

/// Bytes of either file. The largest in use have 34 MB.
const MAX_FILE_BYTES: usize = 64 << 20;
/// Bytes of one token of the vocabulary.
const MAX_TOKEN_BYTES: usize = 1 << 14;

/// `tokenizer.json`. Truncation and padding are left out on purpose: batches are padded by the engine.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Option<Normalizer>,
    #[serde(default)]
    pre_tokenizer: Option<PreTokenizer>,
    #[serde(default)]
    post_processor: Option<PostProcessor>,
    #[serde(default)]
    decoder: Option<Decoder>,
    model: Model,
}

/// Only the kind of its model, which decides whether the rest can be read at all.
#[derive(Deserialize)]
struct FileKind {
    model: ModelKind,
}

/// The model's `type` alone.
#[derive(Deserialize)]
struct ModelKind {
    /// Such as `BPE`, which is also assumed for older files that leave it out.
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// A token that is matched whole, with the flags of `tokenizers::AddedToken`.
#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

/// A BPE model. Dropout is only for training tokenizers, so it is left out.
#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// Old files join the pair with a space; new ones list it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair((String, String)),
}

/// The part of `tokenizer_config.json` that matters here.
#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    bos_token: Option<NamedToken>,
    #[serde(default)]
    eos_token: Option<NamedToken>,
    #[serde(default)]
    unk_token: Option<NamedToken>,
    #[serde(default)]
    pad_token: Option<NamedToken>,
    #[serde(default)]
    add_bos_token: Option<bool>,
    #[serde(default)]
    chat_template: Option<NamedTemplates>,
}

/// A special token: its text, or an object that holds it.
#[derive(Deserialize)]
#[serde(untagged)]
enum NamedToken {
    Text(String),
    Token { content: String },
}

/// One chat template, or several with names.
#[derive(Deserialize)]
#[serde(untagged)]
enum NamedTemplates {
    One(String),
    Several(Vec<NamedTemplate>),
}

/// One of several chat templates.
#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

/// Checks both files and builds what [`super::Tokenizer::from_json`] needs.
///
/// `add_bos_token` of the config overrules the post-processor, as in transformers' `LlamaTokenizerFast`.
///
/// # Errors
/// [`TokenizerError::Unsupported`] for a model other than BPE and for components that are not supported,
/// [`TokenizerError::Damaged`] for the rest.
pub(super) fn parts(tokenizer: &[u8], config: Option<&[u8]>) -> Result<Parts, TokenizerError> {
    extent::check(tokenizer)?;
    let kind: FileKind = read("tokenizer.json", tokenizer)?;
    match kind.model.kind.as_deref() {
        None | Some("BPE") => {}
        Some(other) => {
            return Err(TokenizerError::Unsupported(format!(
                "its model is {other}; only BPE is supported"
            )));
        }
    }
    let file: File = read("tokenizer.json", tokenizer)?;
    let config: Config = match config {
        Some(bytes) => read("tokenizer_config.json", bytes)?,
        None => Config::default(),
    };
    let (inner, vocab_size) = build(
        &file.added_tokens,
        file.model,
        &file.normalizer,
        &file.pre_tokenizer,
        &file.decoder,
    )?;
    let special = special_ids(&inner, &config)?;
    let (mut prefix, suffix) = collect_special(file.post_processor.as_ref(), vocab_size)?;
    match (config.add_bos_token, special.bos) {
        (Some(true), Some(bos)) if !prefix.contains(&bos) => prefix.insert(0, bos),
        (Some(false), Some(bos)) => prefix.retain(|&id| id != bos),
        _ => {}
    }
    Ok(Parts {
        inner,
        special,
        end_of_turn: Vec::new(),
        prefix,
        suffix,
        vocab_size,
        is_byte_level: file.decoder.as_ref().is_some_and(Decoder::is_byte_level),
        chat_template: config.chat_template.and_then(default_template),
    })
}

/// Reads JSON within limits of size and depth. `name` is the file's, for messages.
///
/// # Errors
/// [`TokenizerError::Damaged`]
fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, TokenizerError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(TokenizerError::Damaged(format!(
            "{name} has {} bytes, too many for a tokenizer",
            bytes.len()
        )));
    }
    json::from_slice(bytes).map_err(|error| TokenizerError::Damaged(format!("{name}: {error}")))
}

/// Builds the tokenizer; returns it and one past its highest id.
///
/// # Errors
/// [`TokenizerError::Damaged`] for no vocabulary or an id beyond the limit, and those of the components.
fn build(
    added: &[Added],
    model: Model,
    normalizer: &Option<Normalizer>,
    pre_tokenizer: &Option<PreTokenizer>,
    decoder: &Option<Decoder>,
) -> Result<(tokenizers::Tokenizer, usize), TokenizerError> {
    let highest = model
        .vocab
        .values()
        .chain(added.iter().map(|token| &token.id))
        .max()
        .map_or(0, |&id| id as usize);
    if model.vocab.is_empty() || highest >= MAX_VOCAB_SIZE {
        return Err(TokenizerError::Damaged(format!(
            "it has {} tokens, {} added tokens, and {highest} as its highest id",
            model.vocab.len(),
            added.len()
        )));
    }
    let mut inner = tokenizers::Tokenizer::new(bpe(model)?);
    let damaged = |error: tokenizers::Error| TokenizerError::Damaged(error.to_string());
    if let Some(normalizer) = normalizer {
        let normalizer: NormalizerWrapper = normalizer.build()?;
        inner.with_normalizer(Some(normalizer)).map_err(damaged)?;
    }
    if let Some(pre_tokenizer) = pre_tokenizer {
        let pre_tokenizer: PreTokenizerWrapper = pre_tokenizer.build()?;
        inner.with_pre_tokenizer(Some(pre_tokenizer));
    }
    if let Some(decoder) = decoder {
        let decoder: DecoderWrapper = decoder.build()?;
        inner.with_decoder(Some(decoder));
    }
    add_tokens(&mut inner, added)?;
    Ok((inner, highest + 1))
}

/// Builds the model.
///
/// # Errors
/// [`TokenizerError::Unsupported`] for marks on pieces (a prefix such as `##`, a suffix such as `</w>`),
/// [`TokenizerError::Damaged`] for ids that occur twice, merges that are no pairs, and an unknown token that
/// does not exist.
fn bpe(model: Model) -> Result<BPE, TokenizerError> {
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
        return Err(TokenizerError::Unsupported(
            "its model marks pieces with a prefix or suffix, which is not supported".into(),
        ));
    }
    if let Some(unk) = model
        .unk_token
        .as_ref()
        .filter(|unk| !model.vocab.contains_key(*unk))
    {
        return Err(TokenizerError::Damaged(format!(
            "its unknown token {unk:?} is not in the vocabulary"
        )));
    }
    if let Some(token) = model
        .vocab
        .keys()
        .find(|token| token.len() > MAX_TOKEN_BYTES)
    {
        return Err(TokenizerError::Damaged(format!(
            "it has a token of {} bytes",
            token.len()
        )));
    }
    let mut seen = HashSet::new();
    if let Some(id) = model.vocab.values().find(|id| !seen.insert(**id)) {
        return Err(TokenizerError::Damaged(format!(
            "two tokens have the id {id}"
        )));
    }
    if model.merges.len() > MAX_MERGES {
        return Err(TokenizerError::Damaged(format!(
            "it has {} merges; up to {MAX_MERGES} are possible",
            model.merges.len()
        )));
    }
    let merges = model
        .merges
        .into_iter()
        .enumerate()
        .map(|(index, merge)| match merge {
            Merge::Pair(pair) => Ok(pair),
            Merge::Joined(joined) => joined
                .split_once(' ')
                .map(|(left, right)| (left.to_owned(), right.to_owned()))
                .ok_or_else(|| {
                    TokenizerError::Damaged(format!("merge {index} is not a pair of tokens"))
                }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut builder = BPE::builder()
        .fuse_unk(model.fuse_unk)
        .byte_fallback(model.byte_fallback)
        .ignore_merges(model.ignore_merges);
    if let Some(unk) = model.unk_token {
        builder = builder.unk_token(unk);
    }
    build_bpe(builder, model.vocab.into_iter().collect(), merges)
}

/// Adds the tokens that are matched whole. `tokenizers` numbers them itself: one that is in the vocabulary
/// keeps its id, the others follow the highest. A file that gives a token another id is refused, as the model
/// was trained with that one.
///
/// # Errors
/// [`TokenizerError::Damaged`] with the first such token.
fn add_tokens(inner: &mut tokenizers::Tokenizer, added: &[Added]) -> Result<(), TokenizerError> {
    check_added(added.iter().map(|token| token.content.as_str()))?;
    let tokens = added.iter().map(|token| {
        AddedToken::from(token.content.as_str(), token.special)
            .normalized(token.normalized)
            .single_word(token.single_word)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
    });
    inner
        .add_tokens(tokens)
        .map_err(|error| TokenizerError::Damaged(error.to_string()))?;
    match added
        .iter()
        .find(|token| inner.token_to_id(&token.content) != Some(token.id))
    {
        Some(token) => Err(TokenizerError::Damaged(format!(
            "its added token {:?} cannot have the id {}",
            token.content, token.id
        ))),
        None => Ok(()),
    }
}

/// Returns the special ids by the names that the config gives; a name that is not in the vocabulary gives none.
fn special_ids(
    inner: &tokenizers::Tokenizer,
    config: &Config,
) -> Result<SpecialIds, TokenizerError> {
    let id = |token: &Option<NamedToken>| {
        let (NamedToken::Text(content) | NamedToken::Token { content }) = token.as_ref()?;
        inner.token_to_id(content)
    };
    Ok(SpecialIds {
        bos: id(&config.bos_token),
        eos: id(&config.eos_token),
        unk: id(&config.unk_token),
        pad: id(&config.pad_token),
    })
}

/// Returns the template named `default`, as in HF, or else the first.
fn default_template(templates: NamedTemplates) -> Option<String> {
    match templates {
        NamedTemplates::One(template) => Some(template),
        NamedTemplates::Several(mut templates) => {
            let index = templates
                .iter()
                .position(|template| template.name == "default")
                .unwrap_or(0);
            (index < templates.len()).then(|| templates.swap_remove(index).template)
        }
    }
}
