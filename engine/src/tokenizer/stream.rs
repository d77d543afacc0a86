//! The text of tokens as they arrive, in whole characters.
//!
//! A token may hold a part of a character only, and some decoders treat the first token of a text differently
//! (they drop its space). So a window of the last tokens is decoded again with each new one, and what is new at
//! its end is returned:
//!
//! ```text
//! push  "Hel"  "lo"  E2 82   AC
//!       "Hel"  "lo"  ""      "€"
//! ```

use super::{Tokenizer, TokenizerError};

/// The maximum number of tokens that may arrive without completing a character. A character has at most four bytes and
/// a token at least one, so whatever waits longer is invalid.
const MAX_WAITING: usize = 4;

/// Turns ids into text one at a time; a character split over several tokens comes with the last one.
///
/// Everything that [`Self::push`] and [`Self::finish`] return, joined, equals the result of
/// [`Tokenizer::decode`] for all ids, except that invalid bytes may become more or fewer U+FFFD.
#[derive(Debug)]
pub struct DecodeStream<'tokenizer> {
    tokenizer: &'tokenizer Tokenizer,
    /// Whether control tokens give no text.
    skip_special_tokens: bool,
    /// The tokens since the second-to-last position at which the text ended with a whole character. The last position
    /// would be enough for the bytes; the one before it is needed because some decoders treat the first token of a text
    /// differently.
    window: Vec<u32>,
    /// The number of tokens of the window up to the last such position.
    num_whole: usize,
    /// The text of the window that was already returned.
    returned: String,
    /// The number of tokens since a character was last completed.
    num_waiting: usize,
}

impl<'tokenizer> DecodeStream<'tokenizer> {
    /// Starts with no text before the first token.
    pub(super) fn new(tokenizer: &'tokenizer Tokenizer, skip_special_tokens: bool) -> Self {
        Self {
            tokenizer,
            skip_special_tokens,
            window: Vec::new(),
            num_whole: 0,
            returned: String::new(),
            num_waiting: 0,
        }
    }

    /// Adds an id and returns the text that it completes: often a word, sometimes nothing.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the ids cannot be decoded.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        self.window.push(id);
        let mut text = self.decode()?;
        let num_bytes = text.len();
        let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER).len();
        self.num_waiting = if whole > self.returned.len() {
            0
        } else {
            self.num_waiting + 1
        };
        // Trailing U+FFFD may become a character with the next token, but not for ever.
        if self.num_waiting < MAX_WAITING {
            text.truncate(whole);
        }
        let new = self.unreturned(&text).to_owned();
        if text.len() == num_bytes {
            self.window.drain(..self.num_whole);
            self.num_whole = self.window.len();
            self.num_waiting = 0;
            self.returned = self.decode()?;
        } else if text.len() > self.returned.len() {
            self.returned = text;
        }
        Ok(new)
    }

    /// Returns what is left; incomplete characters become U+FFFD.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(self) -> Result<String, TokenizerError> {
        let text = self.decode()?;
        Ok(self.unreturned(&text).to_owned())
    }

    /// Returns the text of the window.
    fn decode(&self) -> Result<String, TokenizerError> {
        self.tokenizer
            .decode(&self.window, self.skip_special_tokens)
    }

    /// Returns the part of the window's text that was not returned yet: what follows the common beginning,
    /// character by character, so that the slice never cuts one.
    fn unreturned<'text>(&self, text: &'text str) -> &'text str {
        let shared: usize = self
            .returned
            .chars()
            .zip(text.chars())
            .take_while(|(returned, now)| returned == now)
            .map(|(character, _)| character.len_utf8())
            .sum();
        &text[shared..]
    }
}
