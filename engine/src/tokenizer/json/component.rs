//! What a `tokenizer.json` may contain around its model: one enum per kind of component lists those that are
//! supported.
//!
//! Names and fields are those of HF's `tokenizers`, which the `type` of each object selects; an unknown `type`
//! fails in serde with its name. Parameters that make `tokenizers` panic or grow without bound are refused
//! here. A [`Budget`] is kept for all components of a kind together.
//!
//! | component | what it does | in use |
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

/// The maximum number of special tokens that may be put around a text; real tokenizers put up to 3.
const MAX_SPECIAL_TOKENS: usize = 64;

/// What changes a text before it is split.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Normalizer {
    /// Runs several, one after the other.
    Sequence {
        normalizers: Vec<Self>,
    },
    /// Brings the text into a Unicode normal form; this one composes letters and their accents.
    #[serde(rename = "NFC")]
    Nfc,
    /// Takes letters and their accents apart.
    #[serde(rename = "NFD")]
    Nfd,
    /// Like [`Self::Nfc`], and replaces variants of a character (`ﬁ`, `²`) by the plain one.
    #[serde(rename = "NFKC")]
    Nfkc,
    /// Like [`Self::Nfd`], with plain characters in place of variants.
    #[serde(rename = "NFKD")]
    Nfkd,
    Lowercase,
    /// Removes combining marks; useful only after NFD or NFKD, which separate them.
    StripAccents,
    /// Removes whitespace from the ends of the text.
    Strip {
        strip_left: bool,
        strip_right: bool,
    },
    /// Puts a text before the text, such as Llama 2's U+2581. It must not be empty.
    Prepend {
        prepend: String,
    },
    /// Replaces each match; only plain patterns are accepted, see [`Budget::replace`].
    Replace {
        pattern: Pattern,
        content: String,
    },
}

/// What splits a text into pieces; merges never cross their borders.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum PreTokenizer {
    /// Each splits the pieces of the one before it.
    Sequence {
        pretokenizers: Vec<Self>,
    },
    /// Writes the pieces in GPT-2's alphabet, so that merges work on bytes.
    ByteLevel {
        /// Whether a text that does not begin with a space gets one.
        #[serde(default)]
        add_prefix_space: bool,
        /// Whether it first splits by GPT-2's own pattern; off where a [`Self::Split`] comes before it.
        #[serde(default = "yes")]
        use_regex: bool,
    },
    /// Separates digits from everything else.
    Digits {
        /// Whether each digit is a piece of its own; otherwise a run of digits is one.
        #[serde(default)]
        individual_digits: bool,
    },
    /// Splits at the matches of a pattern.
    Split {
        pattern: Pattern,
        /// What becomes of a match: a piece of its own (`Isolated`), removed, or joined to a neighbor.
        behavior: SplitDelimiterBehavior,
        /// Whether the matches are the pieces, and what lies between them the separators.
        #[serde(default)]
        invert: bool,
    },
    Metaspace(MetaspaceFields),
    /// Splits at punctuation.
    Punctuation {
        #[serde(default = "isolated")]
        behavior: SplitDelimiterBehavior,
    },
    /// Takes words and runs of other visible characters (`\w+|[^\w\s]+`) as pieces and drops whitespace.
    Whitespace,
    /// Splits at whitespace alone and drops it.
    WhitespaceSplit,
}

/// What makes text of tokens.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Decoder {
    /// Runs several, one after the other.
    Sequence {
        decoders: Vec<Self>,
    },
    /// Turns GPT-2's alphabet back into bytes, and these into text.
    ByteLevel,
    /// Turns runs of tokens such as `<0xE2>` into the characters of their bytes.
    ByteFallback,
    /// Joins all tokens into one, so that what follows it sees the whole text.
    Fuse,
    /// Removes up to `start` times `content` from the beginning of each token.
    Strip {
        content: char,
        start: usize,
        /// How many to remove from the end; anything but 0 is refused.
        stop: usize,
    },
    /// Replaces each match in each token; only plain patterns are accepted.
    Replace {
        pattern: Pattern,
        content: String,
    },
    Metaspace(MetaspaceFields),
}

/// What adds special tokens around a text. It is never run: [`collect_special`] reads from it which tokens these are,
/// so that the engine decides where they are wanted. `ByteLevel` trims offsets and adds nothing.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum PostProcessor {
    /// Runs several; each adds its tokens to those of the ones before it.
    Sequence {
        processors: Vec<Self>,
    },
    ByteLevel,
    /// Puts tokens around a text as a template says.
    TemplateProcessing {
        /// The template for one text; the one for a pair of texts is not read.
        single: Vec<Piece>,
        special_tokens: SpecialTokens,
    },
    /// Puts `cls` before a text and `sep` after it, each given as token and id.
    RobertaProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
    /// As [`Self::RobertaProcessing`].
    BertProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
}

/// A piece of a template: the text, or a special token before or after it.
#[derive(Deserialize)]
pub(super) enum Piece {
    /// The text.
    Sequence {},
    /// A token by its key in `special_tokens`, despite the name of the field.
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
    /// U+2581 in practice, which looks like a low line.
    replacement: char,
    /// In older files; `false` is `never`, whatever `prepend_scheme` says.
    #[serde(default)]
    add_prefix_space: Option<bool>,
    /// Where a space is put: `always`, `never`, or `first`, before the text but not after special tokens.
    #[serde(default)]
    prepend_scheme: Option<PrependScheme>,
    /// Whether each word becomes a piece of its own; a decoder ignores it.
    #[serde(default = "yes")]
    split: bool,
}

/// What is looked for: a text as it is, or a regular expression.
#[derive(Deserialize)]
pub(super) enum Pattern {
    /// Matched character by character.
    String(String),
    /// In the syntax of Oniguruma, as far as the engine's regular expressions support it.
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
    ///
    /// # Errors
    /// As [`Self::build`].
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
    ///
    /// # Errors
    /// As [`Self::build`].
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
    ///
    /// # Errors
    /// As [`Self::build`].
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
