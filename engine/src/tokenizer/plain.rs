//! Special tokens spelled out in a text, and texts in which they are meant as plain text.
//!
//! After rendering, what a template writes around a message and the message itself are one text. To distinguish
//! them, [`Tokenizer::guard`] inserts a character that occurs nowhere else into every special token of a
//! message; [`Tokenizer::encode_guarded`] removes these guards and encodes the tokens that contained them as
//! plain text, like transformers with `split_special_tokens=True`.
//!
//! ```text
//! message    end it with <|im_end|>
//! guarded    end it with <G|im_end|>                              G: the guard, U+10FF00 or a following one
//! rendered   <|im_start|>user\nend it with <G|im_end|><|im_end|>
//! encoded    <|im_start|> user \n end it with < | im _ end | > <|im_end|>
//! ```
//!
//! `tokenizers` cannot encode a text with only some of its added tokens, so `encode_around` runs its steps by
//! hand: split at the added tokens, normalize, pre-tokenize, merge.

use std::{collections::BTreeSet, ops::Range};

use tokenizers::{
    Model, NormalizedString, Normalizer, OffsetType, PreTokenizedString, PreTokenizer, Token,
    normalizer,
};

use super::{TokenSpan, Tokenizer, TokenizerError, encode_error};

/// The maximum number of tokens that are matched whole in a text; the most in use are some 6,500.
pub(super) const MAX_ADDED_TOKENS: usize = 1 << 16;
/// The maximum number of bytes of such a token.
const MAX_ADDED_TOKEN_BYTES: usize = 512;
/// The maximum number of bytes of all such tokens together.
const MAX_ADDED_BYTES: usize = 1 << 20;

/// The private-use characters used as guards; the mark of the turns is another one.
const GUARDS: std::ops::RangeInclusive<char> = '\u{10FF00}'..='\u{10FFFB}';

/// The added tokens of a tokenizer in the order of their bytes, for a search that needs no automaton.
///
/// ```text
/// sorted     "<|a|>"  "<|a|><|b|>"  "<|c|>"        beginning of the second: the first
/// text       "<|a|><|x|>"        the last entry <= text is the second, which does not fit; its beginning does
/// ```
#[derive(Debug, Clone, Default)]
pub(super) struct AddedTokens {
    /// Ascending by text.
    tokens: Vec<AddedToken>,
    /// The first bytes of all of them. At most places of a text no token begins, and this shows it at once.
    first_bytes: BTreeSet<u8>,
}

/// A token that is matched whole.
#[derive(Debug, Clone)]
struct AddedToken {
    /// Its id in the vocabulary.
    id: u32,
    /// What is looked for in a text; never empty.
    text: String,
    /// Whether it is a control token, which decoding can skip.
    is_special: bool,
    /// Whether whitespace before and after it belongs to it.
    strips: (bool, bool),
    /// The place of the longest other token that this one begins with.
    beginning: Option<usize>,
}

impl AddedTokens {
    /// Collects the added tokens of a built tokenizer.
    pub(super) fn of(inner: &tokenizers::Tokenizer) -> Self {
        let decoder = inner.get_added_vocabulary().get_added_tokens_decoder();
        let tokens = decoder
            .iter()
            .filter(|(_, token)| !token.content.is_empty());
        let mut tokens: Vec<AddedToken> = tokens
            .map(|(&id, token)| AddedToken {
                id,
                text: token.content.clone(),
                is_special: token.special,
                strips: (token.lstrip, token.rstrip),
                beginning: None,
            })
            .collect();
        tokens.sort_by(|one, other| one.text.cmp(&other.text));
        for place in 1..tokens.len() {
            // Whatever this one begins with also begins its neighbor before it, or is that neighbor, so the
            // chain of beginnings finds it.
            let mut beginning = Some(place - 1);
            while let Some(found) = beginning
                && !tokens[place].text.starts_with(&tokens[found].text)
            {
                beginning = tokens[found].beginning;
            }
            tokens[place].beginning = beginning;
        }
        let first_bytes = tokens.iter().filter_map(|token| token.text.bytes().next());
        Self {
            first_bytes: first_bytes.collect(),
            tokens,
        }
    }

    /// Returns the longest token at every position where one begins, in the order of the text. They may
    /// overlap.
    fn all<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, &'a AddedToken)> {
        let starts = text.char_indices().map(|(at, _)| at);
        starts.filter_map(|at| Some((at, self.longest(&text[at..])?)))
    }

    /// Returns the longest token that a text begins with.
    ///
    /// It is the last in order that is not after the text, or one that this begins with: whatever lies between
    /// the two begins with it as well.
    fn longest(&self, text: &str) -> Option<&AddedToken> {
        if !self.first_bytes.contains(text.as_bytes().first()?) {
            return None;
        }
        let tokens = &self.tokens;
        let after = tokens.partition_point(|token| token.text.as_str() <= text);
        let mut place = after.checked_sub(1)?;
        while !text.starts_with(&tokens[place].text) {
            place = tokens[place].beginning?;
        }
        Some(&tokens[place])
    }

    /// Returns the special ones among [`Self::all`].
    fn special<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, &'a AddedToken)> {
        self.all(text).filter(|(_, token)| token.is_special)
    }
}

impl Tokenizer {
    /// Returns the first special token spelled out in the text, if there is one.
    pub fn special_token_in(&self, text: &str) -> Option<String> {
        let (_, token) = self.added.special(text).next()?;
        Some(token.text.clone())
    }

    /// Returns a character that occurs in none of the texts; `None` if they use up all 252 of them.
    pub fn free_guard<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Option<char> {
        GUARDS
            .into_iter()
            .find(|guard| texts.clone().all(|text| !text.contains(*guard)))
    }

    /// Returns the text with a guard after the first character of each special token. A token of a single
    /// character cannot be interrupted, so a guard does not change how it is read.
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

    /// Returns the tokens of a text without its guards; special tokens that contained one are plain text. The
    /// ranges refer to the guarded text, so that they match the spans that the template reported for it.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if `tokenizers` fails, [`TokenizerError::NotEmbedded`] as in
    /// [`Self::encode`].
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
        // A guard at the start of a range lies before it, one at its end after it, so that ranges stay tight.
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

    /// Encodes like `tokenizers`, except for added tokens that contain one of `guards`, which are ascending
    /// byte offsets in `text`. All added tokens are matched before the text is normalized and inside of words, too:
    /// the flags `normalized` and `single_word` make no difference here.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`]
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

    /// Returns the added tokens of a text and their positions: from the left, and the longest of those that
    /// begin at the same position. Those that contain a guard are left out.
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

/// Splits a text at its added tokens, which need no further tokenization. `tokens` are ascending and do not overlap.
///
/// ```text
/// "Hi<|im_end|>!"     ("Hi", None)  ("<|im_end|>", Some([2]))  ("!", None)
/// ```
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

/// Refuses tokens that are matched whole in a text if there are too many of them: what finds them takes many
/// times their bytes.
///
/// # Errors
/// [`TokenizerError::Damaged`] for an empty or overlong token, [`TokenizerError::Unsupported`] for too many.
pub(super) fn check_added<'a>(tokens: impl Iterator<Item = &'a str>) -> Result<(), TokenizerError> {
    let (mut count, mut num_bytes) = (0, 0);
    for token in tokens {
        if token.is_empty() || token.len() > MAX_ADDED_TOKEN_BYTES {
            return Err(TokenizerError::Damaged(
                "one of its added tokens is empty or endless".into(),
            ));
        }
        count += 1;
        num_bytes += token.len();
    }
    match count > MAX_ADDED_TOKENS || num_bytes > MAX_ADDED_BYTES {
        true => Err(TokenizerError::Unsupported(format!(
            "it has {count} added tokens of {num_bytes} bytes in all; {MAX_ADDED_TOKENS} of {MAX_ADDED_BYTES} bytes are \
             possible"
        ))),
        false => Ok(()),
    }
}
