//! Text of tokens as they come, whole characters only.

use super::{Tokenizer, TokenizerError};

/// Tokens that may come without completing a character. A character has four bytes at most and a token holds one at
/// least, so whatever waits longer is broken for good.
const MAX_WAITING: usize = 4;

/// Turns ids into text one at a time; a character that is split over several tokens comes with its last one. All that
/// [`Self::push`] and [`Self::finish`] returned, joined, is what [`Tokenizer::decode`] gives for all ids, save that
/// runs of bytes that make no character may come as more or fewer U+FFFD.
#[derive(Debug)]
pub struct DecodeStream<'tokenizer> {
    tokenizer: &'tokenizer Tokenizer,
    skip_special_tokens: bool,
    /// The tokens from the last but one place on where the text ended with a whole character. The last place would do
    /// for the bytes; the one before it is there because some decoders treat the first token of a text differently.
    window: Vec<u32>,
    /// Tokens of the window up to the last such place.
    num_whole: usize,
    /// Text of the window that was returned already.
    returned: String,
    num_waiting: usize,
}

impl<'tokenizer> DecodeStream<'tokenizer> {
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

    /// Adds an id and returns the text that is complete with it, often one word, sometimes nothing.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where the ids cannot be decoded.
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

    /// Returns what still waits; bytes without the rest of their character come as U+FFFD.
    pub fn finish(self) -> Result<String, TokenizerError> {
        let text = self.decode()?;
        Ok(self.unreturned(&text).to_owned())
    }

    fn decode(&self) -> Result<String, TokenizerError> {
        self.tokenizer
            .decode(&self.window, self.skip_special_tokens)
    }

    /// The part of the window's text behind what was returned.
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
