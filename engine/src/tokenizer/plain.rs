//! Special tokens spelled out in a text, and texts in which they are meant as plain text.
//!
//! After rendering, what a template writes around a message and the message itself are one text. To distinguish them,
//! [`Tokenizer::guard`] inserts a character that occurs nowhere else into every special token of a message;
//! [`Tokenizer::encode_guarded`] removes these guards and encodes the tokens that contained them as plain text, like
//! transformers with `split_special_tokens=True`.

use std::{collections::BTreeMap, ops::Range};

use tokenizers::{
    Model, NormalizedString, Normalizer, OffsetType, PreTokenizedString, PreTokenizer, Token,
    normalizer,
};

use super::{TokenSpan, Tokenizer, TokenizerError, encode_error};

/// The private-use characters used as guards; the mark of the turns is another one.
const GUARDS: std::ops::RangeInclusive<char> = '\u{10FF00}'..='\u{10FFFB}';

/// The added tokens of a tokenizer by their first byte, longest first.
#[derive(Debug, Clone, Default)]
pub(super) struct AddedTokens(BTreeMap<u8, Vec<AddedToken>>);

#[derive(Debug, Clone)]
struct AddedToken {
    id: u32,
    text: String,
    is_special: bool,
    /// Whether whitespace before and after it belongs to it.
    strips: (bool, bool),
}

impl AddedTokens {
    pub(super) fn of(inner: &tokenizers::Tokenizer) -> Self {
        let mut by_first: BTreeMap<u8, Vec<AddedToken>> = BTreeMap::new();
        let decoder = inner.get_added_vocabulary().get_added_tokens_decoder();
        for (&id, token) in decoder {
            if let Some(&first) = token.content.as_bytes().first() {
                by_first.entry(first).or_default().push(AddedToken {
                    id,
                    text: token.content.clone(),
                    is_special: token.special,
                    strips: (token.lstrip, token.rstrip),
                });
            }
        }
        for tokens in by_first.values_mut() {
            tokens.sort_by(|one, other| {
                let by_length = other.text.len().cmp(&one.text.len());
                by_length.then_with(|| one.text.cmp(&other.text))
            });
        }
        Self(by_first)
    }

    /// The longest token at every position where one begins, in the order of the text.
    fn all<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, &'a AddedToken)> {
        let bytes = text.as_bytes().iter().enumerate();
        bytes.filter_map(|(at, first)| {
            let token = self.0.get(first)?.iter().find(|token| {
                // The first byte of a character never occurs inside another character.
                text.as_bytes()[at..].starts_with(token.text.as_bytes())
            })?;
            Some((at, token))
        })
    }

    fn special<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, &'a AddedToken)> {
        self.all(text).filter(|(_, token)| token.is_special)
    }
}

impl Tokenizer {
    /// The first special token spelled out in the text.
    pub fn special_token_in(&self, text: &str) -> Option<String> {
        let (_, token) = self.added.special(text).next()?;
        Some(token.text.clone())
    }

    /// A character that occurs in none of the texts.
    pub fn free_guard<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Option<char> {
        GUARDS
            .into_iter()
            .find(|guard| texts.clone().all(|text| !text.contains(*guard)))
    }

    /// The text with a guard after the first character of each special token.
    pub fn guard(&self, text: &str, guard: char) -> String {
        let mut guarded = String::with_capacity(text.len());
        let mut done = 0;
        for (start, token) in self.added.special(text) {
            let first = token.text.chars().next().map_or(0, char::len_utf8);
            guarded.push_str(&text[done..start + first]);
            guarded.push(guard);
            done = start + first;
        }
        guarded.push_str(&text[done..]);
        guarded
    }

    /// Like [`Self::encode_with_ranges`], for a text without its guards; special tokens that contained one are plain
    /// text. The ranges refer to the guarded text.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if `tokenizers` fails.
    pub fn encode_guarded(
        &self,
        guarded: &str,
        guard: char,
    ) -> Result<Vec<TokenSpan>, TokenizerError> {
        let mut text = String::with_capacity(guarded.len());
        let mut guards = Vec::new();
        for piece in guarded.split_inclusive(guard) {
            match piece.strip_suffix(guard) {
                Some(piece) => {
                    text.push_str(piece);
                    guards.push(text.len());
                }
                None => text.push_str(piece),
            }
        }
        let spans = self.encode_around(&text, &guards)?;
        let ids: Vec<u32> = spans.iter().map(|span| span.id).collect();
        self.check_embedded(&ids)?;
        let width = guard.len_utf8();
        let before = |at: usize| guards.partition_point(|&guard| guard < at);
        Ok(spans
            .into_iter()
            .map(|TokenSpan { id, range }| TokenSpan {
                id,
                range: range.start + width * guards.partition_point(|&guard| guard <= range.start)
                    ..range.end + width * before(range.end),
            })
            .collect())
    }

    /// Encodes like `tokenizers`, except for added tokens that contain one of `guards`.
    fn encode_around(
        &self,
        text: &str,
        guards: &[usize],
    ) -> Result<Vec<TokenSpan>, TokenizerError> {
        let tokens = self.tokens_around(text, guards);
        let mut split = PreTokenizedString::from(text);
        let pieces = |_, whole: NormalizedString| Ok(pieces(&whole, &tokens));
        split.split(pieces).map_err(encode_error)?;
        if let Some(normalizer) = self.inner.get_normalizer() {
            let normalized = split.normalize(|piece| normalizer.normalize(piece));
            normalized.map_err(encode_error)?;
        }
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            let split = pre_tokenizer.pre_tokenize(&mut split);
            split.map_err(encode_error)?;
        }
        let model = self.inner.get_model();
        let encoding = split
            .tokenize(|piece| model.tokenize(piece.get()))
            .and_then(|()| split.into_encoding(None, 0, OffsetType::Byte))
            .map_err(encode_error)?;
        let spans = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(spans
            .map(|(&id, &(start, end))| TokenSpan {
                id,
                range: start..end,
            })
            .collect())
    }

    /// The added tokens of a text and their positions: from the left, and the longest of those that begin at the same
    /// position.
    fn tokens_around(&self, text: &str, guards: &[usize]) -> Vec<(Range<usize>, u32)> {
        let mut tokens: Vec<(Range<usize>, u32)> = Vec::new();
        let mut done = 0;
        for (start, token) in self.added.all(text) {
            let mut range = start..start + token.text.len();
            let next = guards.partition_point(|&guard| guard <= range.start);
            let is_guarded = guards.get(next).is_some_and(|&guard| guard < range.end);
            if range.start < done || is_guarded {
                continue;
            }
            if token.strips.0 {
                range.start = done + text[done..range.start].trim_end().len();
            }
            if token.strips.1 {
                range.end = text.len() - text[range.end..].trim_start().len();
            }
            done = range.end;
            tokens.push((range, token.id));
        }
        tokens
    }
}

/// A text split at its added tokens, which need no further tokenization.
fn pieces(
    whole: &NormalizedString,
    tokens: &[(Range<usize>, u32)],
) -> Vec<(NormalizedString, Option<Vec<Token>>)> {
    let slice = |range: Range<usize>| whole.slice(normalizer::Range::Original(range));
    let mut pieces = Vec::new();
    let mut done = 0;
    for (range, id) in tokens {
        pieces.extend(slice(done..range.start).map(|piece| (piece, None)));
        pieces.extend(slice(range.clone()).map(|piece| {
            let value = piece.get().to_owned();
            let len = value.len();
            (piece, Some(vec![Token::new(*id, value, (0, len))]))
        }));
        done = range.end;
    }
    pieces.extend(slice(done..whole.len_original()).map(|piece| (piece, None)));
    pieces
}
