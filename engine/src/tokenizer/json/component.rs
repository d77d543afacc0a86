//! What a `tokenizer.json` may contain around its model: one enum per kind of component lists those that are
//! supported.
//!
//! Names and fields are those of HF's `tokenizers`, which the `type` of each object selects; an unknown `type`
//! fails in serde with its name. Parameters that make `tokenizers` panic or grow without bound are refused
//! here. A [`Budget`] is kept for all components of a kind together.
//!
//! | component | does | of these, one per model |
//! |---|---|---|
//! | [`Normalizer`] | changes the text | NFC for Qwen, none for Llama 3 |
//! | [`PreTokenizer`] | splits it into pieces | a pattern, then bytes |
//! | [`PostProcessor`] | adds special tokens | a BOS, or nothing |
//! | [`Decoder`] | makes text of tokens | bytes to UTF-8 |

use serde::Deserialize;
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    decoders::{
        byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence as DecoderSequence,
        strip::Strip as StripDecoder,
    },
    normalizers,
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        metaspace::{Metaspace, PrependScheme},
        punctuation::Punctuation,
        sequence::Sequence as PreTokenizerSequence,
        split::{Split, SplitPattern},
        whitespace::{Whitespace, WhitespaceSplit},
    },
};

use super::{super::TokenizerError, budget::Budget};

/// Special tokens that may be put around a text; real tokenizers put up to 3.
const MAX_SPECIAL_TOKENS: usize = 64;

/// What changes a text before it is split.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Normalizer {
    Sequence {
        normalizers: Vec<Self>,
    },
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFD")]
    Nfd,
    #[serde(rename = "NFKC")]
    Nfkc,
    #[serde(rename = "NFKD")]
    Nfkd,
    Lowercase,
    StripAccents,
    Strip {
        strip_left: bool,
        strip_right: bool,
    },
    Prepend {
        prepend: String,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
}

/// What splits a text into pieces; merges never cross their borders.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum PreTokenizer {
    Sequence {
        pretokenizers: Vec<Self>,
    },
    ByteLevel {
        #[serde(default)]
        add_prefix_space: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    Split {
        pattern: Pattern,
        behavior: SplitDelimiterBehavior,
        #[serde(default)]
        invert: bool,
    },
    Metaspace(MetaspaceFields),
    Punctuation {
        #[serde(default = "isolated")]
        behavior: SplitDelimiterBehavior,
    },
    Whitespace,
    WhitespaceSplit,
}

/// What makes text of tokens.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Decoder {
    Sequence {
        decoders: Vec<Self>,
    },
    ByteLevel,
    ByteFallback,
    Fuse,
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Metaspace(MetaspaceFields),
}

/// What adds special tokens around a text. Only read for these; see [`collect_special`].
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum PostProcessor {
    Sequence {
        processors: Vec<Self>,
    },
    ByteLevel,
    TemplateProcessing {
        single: Vec<Piece>,
        special_tokens: SpecialTokens,
    },
    RobertaProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
    BertProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
}

/// A piece of a template: the text, or a special token before or after it.
#[derive(Deserialize)]
pub(super) enum Piece {
    Sequence {},
    SpecialToken { id: String },
}

/// The special tokens of a template by name.
type SpecialTokens = std::collections::HashMap<String, SpecialToken>;

/// The ids that a special token of a template stands for.
#[derive(Deserialize)]
pub(super) struct SpecialToken {
    ids: Vec<u32>,
}

/// SentencePiece's way with spaces: each becomes `replacement` (U+2581), and one may be put before the text.
#[derive(Deserialize)]
pub(super) struct MetaspaceFields {
    replacement: char,
    /// In older files; `false` is `never`, whatever `prepend_scheme` says.
    #[serde(default)]
    add_prefix_space: Option<bool>,
    /// Where a space is put: `always`, `never`, or `first`, before the text but not after special tokens.
    #[serde(default)]
    prepend_scheme: Option<PrependScheme>,
    #[serde(default = "yes")]
    split: bool,
}

/// What is looked for: a text as it is, or a regular expression.
#[derive(Deserialize)]
pub(super) enum Pattern {
    String(String),
    Regex(String),
}

/// The default of flags that are on.
fn yes() -> bool {
    true
}

/// The default of splitting at punctuation: each match is a piece of its own.
fn isolated() -> SplitDelimiterBehavior {
    SplitDelimiterBehavior::Isolated
}

/// Makes a [`TokenizerError::Unsupported`].
pub(super) fn unsupported(error: impl std::fmt::Display) -> TokenizerError {
    TokenizerError::Unsupported(error.to_string())
}

impl Normalizer {
    /// Builds it with a fresh budget.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] for what is refused or beyond the budget.
    pub(super) fn build(&self) -> Result<NormalizerWrapper, TokenizerError> {
        self.build_within(&mut Budget::new("normalizers"))
    }

    /// Builds it and everything in it, within what is left of the budget.
    fn build_within(&self, budget: &mut Budget) -> Result<NormalizerWrapper, TokenizerError> {
        budget.component()?;
        Ok(match self {
            Self::Sequence { normalizers } => {
                let steps = normalizers.iter().map(|step| step.build_within(budget));
                normalizers::Sequence::new(steps.collect::<Result<_, _>>()?).into()
            }
            Self::Nfc => normalizers::NFC.into(),
            Self::Nfd => normalizers::NFD.into(),
            Self::Nfkc => normalizers::NFKC.into(),
            Self::Nfkd => normalizers::NFKD.into(),
            Self::Lowercase => normalizers::Lowercase.into(),
            Self::StripAccents => normalizers::StripAccents.into(),
            Self::Strip {
                strip_left,
                strip_right,
            } => normalizers::Strip::new(*strip_left, *strip_right).into(),
            // `tokenizers` overruns its alignments if nothing is prepended.
            Self::Prepend { prepend } if prepend.is_empty() => {
                return Err(unsupported("it prepends an empty text"));
            }
            Self::Prepend { prepend } => {
                budget.prepended(prepend)?;
                normalizers::Prepend::new(prepend.clone()).into()
            }
            Self::Replace { pattern, content } => budget.replace(pattern, content)?.into(),
        })
    }
}

impl PreTokenizer {
    /// Builds it with a fresh budget.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] for what is refused or beyond the budget, and for an expression that
    /// does not compile.
    pub(super) fn build(&self) -> Result<PreTokenizerWrapper, TokenizerError> {
        self.build_within(&mut Budget::new("pre-tokenizers"))
    }

    /// Builds it and everything in it, within what is left of the budget.
    fn build_within(&self, budget: &mut Budget) -> Result<PreTokenizerWrapper, TokenizerError> {
        budget.component()?;
        Ok(match self {
            Self::Sequence { pretokenizers } => {
                let steps = pretokenizers.iter().map(|step| step.build_within(budget));
                PreTokenizerSequence::new(steps.collect::<Result<_, _>>()?).into()
            }
            Self::ByteLevel {
                add_prefix_space,
                use_regex,
            } => ByteLevel::new(*add_prefix_space, true, *use_regex).into(),
            Self::Digits { individual_digits } => Digits::new(*individual_digits).into(),
            Self::Split {
                pattern,
                behavior,
                invert,
            } => {
                let pattern = match budget.pattern(pattern)? {
                    Pattern::String(text) => SplitPattern::String(text.clone()),
                    Pattern::Regex(regex) => SplitPattern::Regex(regex.clone()),
                };
                Split::new(pattern, *behavior, *invert)
                    .map_err(unsupported)?
                    .into()
            }
            Self::Metaspace(fields) => fields.build().into(),
            Self::Punctuation { behavior } => Punctuation::new(*behavior).into(),
            Self::Whitespace => Whitespace {}.into(),
            Self::WhitespaceSplit => WhitespaceSplit.into(),
        })
    }
}

impl Decoder {
    /// Builds it with a fresh budget.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] for what is refused or beyond the budget.
    pub(super) fn build(&self) -> Result<DecoderWrapper, TokenizerError> {
        self.build_within(&mut Budget::new("decoders"))
    }

    /// Builds it and everything in it, within what is left of the budget.
    fn build_within(&self, budget: &mut Budget) -> Result<DecoderWrapper, TokenizerError> {
        budget.component()?;
        Ok(match self {
            Self::Sequence { decoders } => {
                let steps = decoders.iter().map(|step| step.build_within(budget));
                DecoderSequence::new(steps.collect::<Result<_, _>>()?).into()
            }
            Self::ByteLevel => ByteLevel::default().into(),
            Self::ByteFallback => ByteFallback::new().into(),
            Self::Fuse => Fuse::new().into(),
            // `tokenizers` counts backward past the start of a short token if `stop` is not 0.
            Self::Strip { stop: 1.., .. } => {
                return Err(unsupported(
                    "its decoder strips the ends of tokens, which is not supported",
                ));
            }
            Self::Strip { content, start, .. } => StripDecoder::new(*content, *start, 0).into(),
            Self::Replace { pattern, content } => budget.replace(pattern, content)?.into(),
            Self::Metaspace(fields) => fields.build().into(),
        })
    }

    /// Returns whether tokens are written in GPT-2's alphabet.
    pub(super) fn is_byte_level(&self) -> bool {
        match self {
            Self::ByteLevel => true,
            Self::Sequence { decoders } => decoders.iter().any(Self::is_byte_level),
            _ => false,
        }
    }
}

impl MetaspaceFields {
    /// Builds it; the same component serves as pre-tokenizer and as decoder.
    fn build(&self) -> Metaspace {
        let scheme = match (self.add_prefix_space, self.prepend_scheme) {
            (Some(false), _) => PrependScheme::Never,
            (_, Some(scheme)) => scheme,
            (_, None) => PrependScheme::Always,
        };
        Metaspace::new(self.replacement, scheme, self.split)
    }
}

/// Returns the ids that the post-processor adds before and after a text.
///
/// ```text
/// TemplateProcessing  single: [<s>, A, </s>]     -> ([1], [2])
/// ByteLevel                                      -> ([], [])
/// ```
///
/// # Errors
/// [`TokenizerError::Damaged`] for an id beyond the vocabulary, [`TokenizerError::Unsupported`] for too many.
pub(super) fn collect_special(
    processor: Option<&PostProcessor>,
    vocab_size: usize,
) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    if let Some(processor) = processor {
        processor.collect(&mut prefix, &mut suffix)?;
    }
    match prefix
        .iter()
        .chain(&suffix)
        .find(|&&id| id as usize >= vocab_size)
    {
        Some(id) => Err(TokenizerError::Damaged(format!(
            "it adds the token {id}, which is not in the vocabulary"
        ))),
        None => Ok((prefix, suffix)),
    }
}

/// Checks that `more` special tokens can be put around a text that has `prefix` and `suffix` already.
///
/// # Errors
/// [`TokenizerError::Unsupported`] beyond `MAX_SPECIAL_TOKENS`.
fn check_special(prefix: &[u32], suffix: &[u32], more: usize) -> Result<(), TokenizerError> {
    match prefix.len() + suffix.len() + more > MAX_SPECIAL_TOKENS {
        true => Err(unsupported(format!(
            "its post-processor puts more than {MAX_SPECIAL_TOKENS} tokens around a text"
        ))),
        false => Ok(()),
    }
}

impl PostProcessor {
    /// Adds what this processor and those in it put around a text.
    ///
    /// # Errors
    /// [`TokenizerError::Damaged`] for a template that names a token without ids, and those of
    /// [`check_special`].
    fn collect(&self, prefix: &mut Vec<u32>, suffix: &mut Vec<u32>) -> Result<(), TokenizerError> {
        match self {
            Self::ByteLevel => {}
            Self::Sequence { processors } => {
                for processor in processors {
                    processor.collect(prefix, suffix)?;
                }
            }
            Self::RobertaProcessing { sep, cls } | Self::BertProcessing { sep, cls } => {
                check_special(prefix, suffix, 2)?;
                prefix.push(cls.1);
                suffix.push(sep.1);
            }
            Self::TemplateProcessing {
                single,
                special_tokens,
            } => {
                let mut is_after_text = false;
                for piece in single {
                    let Piece::SpecialToken { id } = piece else {
                        is_after_text = true;
                        continue;
                    };
                    let token = special_tokens.get(id).ok_or_else(|| {
                        TokenizerError::Damaged(format!("its template names {id:?} without ids"))
                    })?;
                    check_special(prefix, suffix, token.ids.len())?;
                    let side = if is_after_text {
                        &mut *suffix
                    } else {
                        &mut *prefix
                    };
                    side.extend(&token.ids);
                }
            }
        }
        Ok(())
    }
}
