//! How large the parts of a `tokenizer.json` are, before it is parsed: parsed, a part takes several times its
//! text.
//!
//! One flat pass over the bytes finds the top-level parts and counts what decides their size in memory: commas
//! in the model and the added tokens, bytes in all others. It must never count too little for a file that
//! serde accepts; for anything else the parser fails later.

use super::super::{MAX_MERGES, MAX_VOCAB_SIZE, TokenizerError, plain::MAX_ADDED_TOKENS};

/// The maximum number of bytes of a part other than the model and its added tokens: patterns and a few names. They are
/// read into values that take ten times their text.
const MAX_PART_BYTES: usize = 1 << 20;
/// The maximum number of commas in the model: one for each token, two for each merge that is a list.
const MAX_MODEL_COMMAS: usize = MAX_VOCAB_SIZE + 2 * MAX_MERGES + 64;
/// The maximum number of commas in the list of added tokens: seven fields each.
const MAX_ADDED_COMMAS: usize = 8 * MAX_ADDED_TOKENS;

/// Refuses a file with a part that is larger than any real one.
///
/// ```text
/// {"version": "1.0", "model": {"vocab": {"a": 0, "b": 1}, "merges": []}}
///            15 bytes         2 commas             a part ends where the colon of the next one is
/// ```
///
/// # Errors
/// [`TokenizerError::Unsupported`] with the name of the part.
pub(super) fn check(json: &[u8]) -> Result<(), TokenizerError> {
    let mut part = Part::default();
    let (mut depth, mut is_text, mut is_escaped) = (0usize, false, false);
    // Where the text began that may be the name of the next part.
    let mut name = 0..0;
    for (at, &byte) in json.iter().enumerate() {
        part.num_bytes += 1;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => {
                is_text = !is_text;
                match is_text {
                    true => name = at + 1..at + 1,
                    false => name.end = at,
                }
            }
            _ if is_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => {
                part = Part {
                    name: &json[name.clone()],
                    ..Part::default()
                };
            }
            b',' => part.commas += 1,
            _ => {}
        }
        part.check()?;
    }
    Ok(())
}

/// A top-level part of the file so far.
#[derive(Default)]
struct Part<'a> {
    /// Its key, escapes and all: an escaped `model` counts as any other part, with the tighter limit.
    name: &'a [u8],
    /// Bytes since the colon after the key.
    num_bytes: usize,
    /// Commas outside of strings.
    commas: usize,
}

impl Part<'_> {
    /// Compares the part with its limit. Called after every byte, so a hostile file is left as soon as it
    /// shows.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] beyond the limit.
    fn check(&self) -> Result<(), TokenizerError> {
        let (most, counted, is_beyond) = match self.name {
            b"model" => (MAX_MODEL_COMMAS, "entries", self.commas > MAX_MODEL_COMMAS),
            b"added_tokens" => (MAX_ADDED_COMMAS, "entries", self.commas > MAX_ADDED_COMMAS),
            _ => (MAX_PART_BYTES, "bytes", self.num_bytes > MAX_PART_BYTES),
        };
        match is_beyond {
            true => Err(TokenizerError::Unsupported(format!(
                "the part {:?} of tokenizer.json has more than {most} {counted}",
                String::from_utf8_lossy(self.name)
            ))),
            false => Ok(()),
        }
    }
}
