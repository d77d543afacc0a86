//! Text of tokens as they come, whole characters only.

use super::{Tokenizer, TokenizerError};

/// Tokens that may wait for the rest of a character. A character has four bytes at most and a token holds one byte at
/// least, so whatever waits longer is broken for good.
const MAX_WAITING: usize = 4;

/// Turns ids into text one at a time; a character that is split over several tokens comes with its last one. All that
/// [`Self::push`] and [`Self::finish`] returned, joined, is what [`Tokenizer::decode`] gives for all ids, save that
/// runs of bytes that make no character may come as more or fewer U+FFFD.
#[derive(Debug)]
pub struct DecodeStream<'tokenizer> {
    tokenizer: &'tokenizer Tokenizer,
    skip_special_tokens: bool,
    /// The last tokens that were emitted, then the waiting ones. The emitted ones stay because some decoders treat
    /// the first token of a text differently.
    window: Vec<u32>,
    num_emitted: usize,
}

impl<'tokenizer> DecodeStream<'tokenizer> {
    pub(super) fn new(tokenizer: &'tokenizer Tokenizer, skip_special_tokens: bool) -> Self {
        Self {
            tokenizer,
            skip_special_tokens,
            window: Vec::new(),
            num_emitted: 0,
        }
    }

    /// Adds an id and returns the text that is complete with it, often one word, sometimes nothing.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where the ids cannot be decoded.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        self.window.push(id);
        let text = self.pending()?;
        let is_waiting = text.ends_with(char::REPLACEMENT_CHARACTER)
            && self.window.len() - self.num_emitted < MAX_WAITING;
        if is_waiting || text.is_empty() {
            return Ok(String::new());
        }
        self.window.drain(..self.num_emitted);
        self.num_emitted = self.window.len();
        Ok(text)
    }

    /// Returns what still waits; bytes without the rest of their character come as U+FFFD.
    pub fn finish(self) -> Result<String, TokenizerError> {
        self.pending()
    }

    /// Text of the waiting tokens.
    fn pending(&self) -> Result<String, TokenizerError> {
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, self.skip_special_tokens);
        let emitted = decode(&self.window[..self.num_emitted])?;
        let all = decode(&self.window)?;
        let shared: usize = emitted
            .chars()
            .zip(all.chars())
            .take_while(|(before, now)| before == now)
            .map(|(character, _)| character.len_utf8())
            .sum();
        Ok(all[shared..].to_owned())
    }
}
