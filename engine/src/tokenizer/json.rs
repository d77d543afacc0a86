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
//!
//! The steps, cheapest first, so that a hostile file is refused before it costs memory:
//!
//! | step | refuses |
//! |---|---|
//! | [`extent::check`] | parts that are larger than any real one |
//! | [`FileKind`] | models other than BPE, by their name |
//! | [`File`] | components and fields that are unknown or of another type |
//! | [`build`] | vocabularies and merges that contradict themselves |

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

/// The maximum number of bytes of either file. The largest in use have 34 MB.
const MAX_FILE_BYTES: usize = 64 << 20;
/// The maximum number of bytes of one token of the vocabulary.
const MAX_TOKEN_BYTES: usize = 1 << 14;

/// `tokenizer.json`, as HF's `tokenizers` saves it. Truncation and padding are left out on purpose: the engine pads
/// batches itself, and a text that is cut without a word would train on something else.
#[derive(Deserialize)]
struct File {
    /// Control tokens and other words that are cut out of a text before anything else happens to it.
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

/// The part of the file that is read first: the kind of its model decides whether the rest can be read at all. A
/// WordPiece or Unigram model has other fields, and would otherwise be called damaged.
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
    /// The id that the model was trained with; see [`add_tokens`].
    id: u32,
    /// The text that is matched.
    content: String,
    /// Whether it is matched only where no letter, digit or underscore touches it.
    #[serde(default)]
    single_word: bool,
    /// Whether whitespace before it belongs to it.
    #[serde(default)]
    lstrip: bool,
    /// Whether whitespace after it belongs to it.
    #[serde(default)]
    rstrip: bool,
    /// Whether it is matched in the normalized text rather than in the text as it is.
    #[serde(default)]
    normalized: bool,
    /// Whether it is a control token, which decoding can skip.
    #[serde(default)]
    special: bool,
}

/// A BPE model. `dropout` is left out: it skips merges at random, so that a text would have other ids each time.
#[derive(Deserialize)]
struct Model {
    /// Ids by tokens. Ids may have gaps.
    vocab: HashMap<String, u32>,
    /// The pairs that are joined, the most frequent first: a pair's place is its rank.
    merges: Vec<Merge>,
    /// The token for what the vocabulary cannot write; byte-level models need none.
    #[serde(default)]
    unk_token: Option<String>,
    /// A mark such as `##` on pieces inside of a word, which is not supported; see [`bpe`].
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    /// A mark such as `</w>` on the last piece of a word, which is not supported; see [`bpe`].
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    /// Whether several unknown characters in a row become one unknown token.
    #[serde(default)]
    fuse_unk: bool,
    /// Whether characters outside of the vocabulary are written as tokens of their bytes, such as `<0xE2>`.
    #[serde(default)]
    byte_fallback: bool,
    /// Whether a piece that is a token as it is keeps its own id, even where no merges lead to it (Llama 3).
    #[serde(default)]
    ignore_merges: bool,
}

/// A pair of tokens that are joined. A list can hold tokens with a space in them, the older form cannot.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    /// Such as `"Ġ t"`, in older files.
    Joined(String),
    /// Such as `["Ġ", "t"]`, in newer ones.
    Pair((String, String)),
}

/// The part of `tokenizer_config.json` that matters here. It gives tokens their roles, which `tokenizer.json` does
/// not: there, all control tokens look alike.
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
    /// Whether a text begins with `bos_token`; without it the post-processor decides.
    #[serde(default)]
    add_bos_token: Option<bool>,
    /// Jinja, as transformers' `apply_chat_template` runs it.
    #[serde(default)]
    chat_template: Option<NamedTemplates>,
}

/// A special token: its text, or an object that holds it.
#[derive(Deserialize)]
#[serde(untagged)]
enum NamedToken {
    /// Such as `"</s>"`.
    Text(String),
    /// Such as `{"__type": "AddedToken", "content": "</s>", ...}`.
    Token { content: String },
}

/// One chat template, or several with names.
#[derive(Deserialize)]
#[serde(untagged)]
enum NamedTemplates {
    /// The template itself.
    One(String),
    /// Such as `default`, `tool_use` and `rag`.
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
/// ```text
/// post-processor  add_bos_token   prefix
/// <s> A           not given       [<s>]
/// <s> A           false           []
/// A               true            [<s>]      nothing where the config names no `bos_token`
/// ```
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

/// Builds the tokenizer; returns it and one past its highest id, which is not the number of tokens where ids have
/// gaps. Models index their embedding by ids, so the highest is what counts.
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
///
/// # Errors
/// None.
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
