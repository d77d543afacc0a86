//! A tokenizer from a GGUF's metadata, and back: the keyword for a `tokenizer.json`.
//!
//! GGUF stores the vocabulary and the merges, but identifies the pre-tokenizer (`tokenizer.ggml.pre`) only by a
//! keyword; [`splitting`] is the table of known keywords. The expressions are those of the models' own
//! `tokenizer.json`, which llama.cpp repeats in `llama-vocab.cpp`.
//!
//! | keyword | pieces of "abc 12345" |
//! |---|---|
//! | `gpt-2` | `abc`, ` 12345` |
//! | `smollm` | `abc`, ` `, `1`, `2`, `3`, `4`, `5` |
//! | `llama-bpe` | `abc`, ` `, `123`, `45` |
//! | `qwen2`, `tekken` | `abc`, ` `, `1`, `2`, `3`, `4`, `5` |
//!
//! An unknown keyword is refused: another split gives ids that the model was not trained on.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use tokenizers::{
    AddedToken, SplitDelimiterBehavior,
    models::bpe::{BPE, BpeBuilder, Vocab},
    normalizers::NFC,
    pre_tokenizers::{
        PreTokenizerWrapper,
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::{
    MAX_MERGES, MAX_VOCAB_SIZE, Parts, SpecialIds, TokenizerError, byte_level, plain::check_added,
};
use crate::weights::checkpoint::GgufVocabulary;

/// The type of control tokens, such as `<|im_end|>` (`LLAMA_TOKEN_TYPE_CONTROL` in llama.cpp).
const CONTROL: i32 = 3;
/// The type of words that are matched whole and are ordinary text otherwise (`LLAMA_TOKEN_TYPE_USER_DEFINED`).
const USER_DEFINED: i32 = 4;

/// How text is split into pieces before the merges, which never cross the borders of a piece.
enum Splitting {
    /// GPT-2's own pattern: contractions, words and runs of digits, each with the space before it.
    Gpt2,
    /// Each digit separately, then GPT-2's pattern.
    Digits,
    /// The model's own pattern; the flag says whether a piece that is itself a token stays whole
    /// (`ignore_merges`).
    Pattern(&'static str, bool),
}

/// Llama 3's pattern: up to three digits are one piece.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
/// Qwen 2's pattern, which differs from Llama 3's only in that each digit is a piece.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
/// The pattern of Mistral's Tekken, which splits words before capitals.
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Returns the splitting for a keyword of `tokenizer.ggml.pre`; `None` for unknown ones. A file without the keyword,
/// as converters wrote them before there was one, counts as GPT-2's.
fn splitting(pre: &str) -> Option<Splitting> {
    match pre {
        "" | "default" | "gpt-2" | "mpt" | "olmo" => Some(Splitting::Gpt2),
        "smollm" | "starcoder" | "refact" | "codeshell" => Some(Splitting::Digits),
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "pixtral" | "smaug-bpe" => {
            Some(Splitting::Pattern(LLAMA3, true))
        }
        "qwen2" | "deepseek-r1-qwen" | "megrez" => Some(Splitting::Pattern(QWEN2, false)),
        "tekken" => Some(Splitting::Pattern(TEKKEN, true)),
        _ => None,
    }
}

/// Returns whether text is brought into the normal form NFC before it is split. GGUF files do not say so and
/// llama.cpp does not do it, but Qwen's own tokenizers do, and their models were trained on what these make.
fn is_normalized(pre: &str) -> bool {
    pre == "qwen2"
}

/// Returns the normalizer for a keyword in the form of `tokenizer.json`: NFC or `null`.
fn normalizer_json(pre: &str) -> Value {
    match is_normalized(pre) {
        true => json!({"type": "NFC"}),
        false => Value::Null,
    }
}

/// The keywords written for each splitting when a vocabulary goes into a GGUF file. The first that fits counts,
/// so `deepseek-r1-qwen` stands for Qwen's pattern without the normal form.
const WRITTEN: [&str; 6] = [
    "smollm",
    "llama-bpe",
    "qwen2",
    "deepseek-r1-qwen",
    "tekken",
    "gpt-2",
];

/// Returns the pre-tokenizer for a splitting, in the form of `tokenizer.json`.
fn pre_tokenizer_json(splitting: &Splitting) -> Value {
    let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let sequence = |steps: [Value; 2]| json!({"type": "Sequence", "pretokenizers": steps});
    match splitting {
        Splitting::Gpt2 => byte_level(true),
        Splitting::Digits => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            sequence([digits, byte_level(true)])
        }
        Splitting::Pattern(pattern, _) => {
            let split = json!({
                "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
            });
            sequence([split, byte_level(false)])
        }
    }
}

/// Returns the keyword of `tokenizer.ggml.pre` for a parsed `tokenizer.json`; `None` if its model is not BPE or
/// no known keyword matches its pre-tokenizer and normalizer exactly.
///
/// ```text
/// {"normalizer": null, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
///     {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false, ...}]}}
/// -> "smollm"
/// ```
pub fn pre_of(tokenizer: &Value) -> Option<&'static str> {
    // Trimming offsets does not change ids.
    fn plain(value: &Value) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .filter(|(key, _)| *key != "trim_offsets")
                .map(|(key, value)| (key.clone(), plain(value)))
                .collect(),
            Value::Array(items) => items.iter().map(plain).collect(),
            other => other.clone(),
        }
    }
    if tokenizer["model"]["type"] != "BPE" {
        return None;
    }
    let own = plain(&tokenizer["pre_tokenizer"]);
    let is_own = |pre: &&str| {
        tokenizer["normalizer"] == normalizer_json(pre)
            && splitting(pre).is_some_and(|splitting| plain(&pre_tokenizer_json(&splitting)) == own)
    };
    WRITTEN.into_iter().find(is_own)
}

/// Returns the vocabulary as a `tokenizer.json` that HF's `tokenizers` reads, for a merged model in HF's form.
///
/// It makes the same ids as the tokenizer that [`super::Tokenizer::from_gguf`] builds. A BOS becomes a
/// `TemplateProcessing`, and only where the file asks for one.
///
/// # Errors
/// Those of [`super::Tokenizer::from_gguf`].
pub fn to_json(vocabulary: &GgufVocabulary) -> Result<Value, TokenizerError> {
    let splitting = known_splitting(vocabulary)?;
    check_sizes(vocabulary)?;
    let special = special_ids(vocabulary)?;
    let mut vocab = Map::new();
    for (token, id) in entries(vocabulary, special).zip(0u32..) {
        vocab.insert(token, id.into());
    }
    let added: Vec<Value> = added_tokens(vocabulary, special)
        .iter()
        .map(|token| {
            json!({
                "id": vocab.get(&token.content), "content": token.content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": token.special,
            })
        })
        .collect();
    let bos = special.bos.filter(|_| vocabulary.add_bos_token);
    let post_processor = bos.map(|id| {
        let token = &vocabulary.tokens[id as usize];
        let first = json!({"SpecialToken": {"id": token, "type_id": 0}});
        let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
        let mut tokens = Map::new();
        let ids = json!({"id": token, "ids": [id], "tokens": [token]});
        tokens.insert(token.clone(), ids);
        json!({
            "type": "TemplateProcessing", "single": [first, text("A", 0)],
            "pair": [first, text("A", 0), text("B", 1)], "special_tokens": tokens,
        })
    });
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer_json(&vocabulary.pre),
        "pre_tokenizer": pre_tokenizer_json(&splitting), "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": matches!(splitting, Splitting::Pattern(_, true)), "vocab": vocab,
            "merges": vocabulary.merges,
        },
    }))
}

/// Returns the splitting of a vocabulary.
///
/// # Errors
/// [`TokenizerError::Unsupported`] with the keyword.
fn known_splitting(vocabulary: &GgufVocabulary) -> Result<Splitting, TokenizerError> {
    splitting(&vocabulary.pre).ok_or_else(|| {
        TokenizerError::Unsupported(format!(
            "its pre-tokenizer `{}` is not supported",
            vocabulary.pre
        ))
    })
}

/// Checks a vocabulary and builds what [`super::Tokenizer::from_gguf`] needs.
///
/// The parts are those that [`to_json`] writes: normalizer, pre-tokenizer, model, decoder, added tokens. The chat
/// template is a key of its own in GGUF, outside of the vocabulary, so there is none here.
///
/// # Errors
/// [`TokenizerError::Unsupported`] for SentencePiece and unknown keywords, [`TokenizerError::Damaged`] for
/// metadata that contradicts itself.
pub(super) fn parts(vocabulary: &GgufVocabulary) -> Result<Parts, TokenizerError> {
    if vocabulary.model != "gpt2" {
        return Err(TokenizerError::Unsupported(format!(
            "its vocabulary is of the kind `{}`; only `gpt2` (byte-level BPE) is supported",
            vocabulary.model
        )));
    }
    let splitting = known_splitting(vocabulary)?;
    check_sizes(vocabulary)?;
    let special = special_ids(vocabulary)?;
    let model = model(
        vocabulary,
        special,
        matches!(splitting, Splitting::Pattern(_, true)),
    )?;
    let mut inner = tokenizers::Tokenizer::new(model);
    inner.with_pre_tokenizer(Some(pre_tokenizer(&splitting)?));
    if is_normalized(&vocabulary.pre) {
        inner
            .with_normalizer(Some(NFC))
            .map_err(|error| TokenizerError::Unsupported(error.to_string()))?;
    }
    inner.with_decoder(Some(ByteLevel::default()));
    let added = added_tokens(vocabulary, special);
    check_added(added.iter().map(|token| token.content.as_str()))?;
    inner
        .add_tokens(added)
        .map_err(|error| TokenizerError::Damaged(error.to_string()))?;
    let prefix = special.bos.filter(|_| vocabulary.add_bos_token);
    Ok(Parts {
        inner,
        special,
        end_of_turn: vocabulary.eot_token_id.into_iter().collect(),
        prefix: prefix.into_iter().collect(),
        suffix: Vec::new(),
        vocab_size: vocabulary.tokens.len(),
        is_byte_level: true,
        chat_template: None,
    })
}

/// Checks the lengths of the lists against the limits and each other. A file may leave the types out altogether.
///
/// # Errors
/// [`TokenizerError::Damaged`]
fn check_sizes(vocabulary: &GgufVocabulary) -> Result<(), TokenizerError> {
    let num_tokens = vocabulary.tokens.len();
    let num_types = vocabulary.token_types.len();
    if num_tokens == 0 || num_tokens > MAX_VOCAB_SIZE {
        return Err(TokenizerError::Damaged(format!(
            "it has {num_tokens} tokens; 1 to {MAX_VOCAB_SIZE} are possible"
        )));
    }
    if num_types != 0 && num_types != num_tokens {
        return Err(TokenizerError::Damaged(format!(
            "it has {num_tokens} tokens but {num_types} token types"
        )));
    }
    if vocabulary.merges.len() > MAX_MERGES {
        return Err(TokenizerError::Damaged(format!(
            "it has {} merges",
            vocabulary.merges.len()
        )));
    }
    Ok(())
}

/// Returns the special ids.
///
/// # Errors
/// [`TokenizerError::Damaged`] for one beyond the vocabulary.
fn special_ids(vocabulary: &GgufVocabulary) -> Result<SpecialIds, TokenizerError> {
    let checked = |role: &str, id: Option<u32>| match id {
        Some(id) if id as usize >= vocabulary.tokens.len() => Err(TokenizerError::Damaged(
            format!("its {role} token is {id}, beyond the vocabulary"),
        )),
        id => Ok(id),
    };
    checked("end-of-turn", vocabulary.eot_token_id)?;
    Ok(SpecialIds {
        bos: checked("BOS", vocabulary.bos_token_id)?,
        eos: checked("EOS", vocabulary.eos_token_id)?,
        unk: checked("unknown", vocabulary.unk_token_id)?,
        pad: checked("padding", vocabulary.pad_token_id)?,
    })
}

/// Builds the BPE model. Tokens outside the byte alphabet are spelled in it, as in transformers.
///
/// ```text
/// "Ġthe"     as it is
/// "a b"      "aĠb"       a plain space is not in the alphabet
/// ```
///
/// # Errors
/// [`TokenizerError::Damaged`] for a merge that is no pair, and those of [`build_bpe`].
fn model(
    vocabulary: &GgufVocabulary,
    special: SpecialIds,
    ignore_merges: bool,
) -> Result<BPE, TokenizerError> {
    let ids: Vocab = entries(vocabulary, special).zip(0..).collect();
    let merges = vocabulary
        .merges
        .iter()
        .enumerate()
        .map(|(index, merge)| {
            merge
                .split_once(' ')
                .filter(|(_, right)| !right.contains(' '))
                .map(|(left, right)| (left.to_owned(), right.to_owned()))
                .ok_or_else(|| {
                    TokenizerError::Damaged(format!("merge {index} is not a pair of tokens"))
                })
        })
        .collect::<Result<Vec<_>, _>>()?;
    build_bpe(BPE::builder().ignore_merges(ignore_merges), ids, merges)
}

/// Builds the model after checking that every merge makes a token of the vocabulary; otherwise `tokenizers`
/// overruns a buffer and panics.
///
/// # Errors
/// [`TokenizerError::Damaged`] with the first merge that does not fit.
pub(super) fn build_bpe(
    builder: BpeBuilder,
    ids: Vocab,
    merges: Vec<(String, String)>,
) -> Result<BPE, TokenizerError> {
    for (index, (left, right)) in merges.iter().enumerate() {
        let missing = [left.clone(), right.clone(), format!("{left}{right}")]
            .into_iter()
            .find(|token| !ids.contains_key(token));
        if let Some(token) = missing {
            return Err(TokenizerError::Damaged(format!(
                "merge {index} needs the token {token:?}, which is not in the vocabulary"
            )));
        }
    }
    builder
        .vocab_and_merges(ids, merges)
        .build()
        .map_err(|error| TokenizerError::Damaged(error.to_string()))
}

/// Builds the pre-tokenizer for a splitting; [`pre_tokenizer_json`] writes the same. No space is put before a text.
///
/// # Errors
/// [`TokenizerError::Unsupported`] for a pattern that does not compile, which none of the table's is.
fn pre_tokenizer(splitting: &Splitting) -> Result<PreTokenizerWrapper, TokenizerError> {
    let byte_level = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, true, use_regex));
    let steps = match splitting {
        Splitting::Gpt2 => return Ok(byte_level(true)),
        Splitting::Digits => vec![Digits::new(true).into(), byte_level(true)],
        Splitting::Pattern(pattern, _) => {
            let pattern = SplitPattern::Regex((*pattern).to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|error| TokenizerError::Unsupported(error.to_string()))?;
            vec![split.into(), byte_level(false)]
        }
    };
    Ok(Sequence::new(steps).into())
}

/// Returns the tokens as a vocabulary has them: written in GPT-2's alphabet, but for those that are found in texts as they
/// stand, such as `<｜User｜>` of DeepSeek's models.
fn entries(vocabulary: &GgufVocabulary, special: SpecialIds) -> impl Iterator<Item = String> {
    let tokens = vocabulary.tokens.iter().zip(0u32..);
    tokens.map(move |(token, id)| match byte_level::bytes(token) {
        None if added(vocabulary, special, id).is_none() => byte_level::spell(token),
        _ => token.clone(),
    })
}

/// Whether a token is found in texts before they are split, and then whether it is special.
fn added(vocabulary: &GgufVocabulary, special: SpecialIds, id: u32) -> Option<bool> {
    let kind = vocabulary.token_types.get(id as usize).copied();
    let roles = [special.bos, special.eos, special.unk, special.pad];
    let is_special = kind == Some(CONTROL) || roles.contains(&Some(id));
    (is_special || kind == Some(USER_DEFINED)).then_some(is_special)
}

/// Returns the tokens that are matched whole in a text: the control tokens and those with a role as special
/// ones, the user-defined ones as plain ones.
///
/// A text that occurs twice is added once.
///
/// ```text
/// id 2   "<|im_end|>"   type 3          added, special
/// id 9   "<tool_call>"  type 4          added, not special: decoding keeps it
/// id 17  "Ġthe"         type 1          made by merges alone
/// id 30  "<｜User｜>"    type 3          added as it stands, though U+FF5C is not in the byte alphabet
/// ```
fn added_tokens(vocabulary: &GgufVocabulary, special: SpecialIds) -> Vec<AddedToken> {
    let mut seen = HashSet::new();
    let tokens = vocabulary.tokens.iter().zip(0u32..);
    tokens
        .filter_map(|(token, id)| {
            let is_special = added(vocabulary, special, id)?;
            let is_wanted = !token.is_empty() && seen.insert(token.as_str());
            is_wanted.then(|| AddedToken::from(token.as_str(), is_special).normalized(false))
        })
        .collect()
}
