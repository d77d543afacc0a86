//! What the components of a tokenizer may do together.
//!
//! What one of them may do, many of them do in turn, so a budget counts over all of a kind: how many there are,
//! how much text may grow in all of them, how large their patterns are. Ten replacements that double a text
//! make it a thousand times as long, and `\p{L}{1,1000}` takes tens of megabytes once it is compiled.

use tokenizers::normalizers::{self, replace::ReplacePattern};

use super::{
    super::TokenizerError,
    component::{Pattern, unsupported},
};

/// The maximum number of bytes of all patterns of a kind; no real tokenizer has longer ones.
const MAX_PATTERN_BYTES: usize = 1 << 13;
/// The maximum number of bytes of one replacement, or of one text that is put before others.
const MAX_REPLACEMENT_BYTES: usize = 64;
/// The maximum number of components of one kind, in sequences or not; the most in use are 8.
const MAX_COMPONENTS: usize = 32;
/// How many times its length a text may take after all replacements; Llama 2's `" "` to `"\u{2581}"` takes 3.
const MAX_GROWTH: f64 = 8.0;
/// The maximum number of bytes that may be put before a text.
const MAX_PREPENDED_BYTES: usize = 256;
/// How often a counted repetition may repeat what it repeats, all repetitions of a pattern multiplied, since
/// they may be inside each other. Real ones are `{1,3}`.
const MAX_REPETITIONS: u64 = 1_000;
/// The maximum number of classes of characters in all patterns, each counted as often as its pattern's repetitions
/// repeat. A class such as `\p{L}` takes some 60 KB once its pattern is compiled; real patterns have up to 90.
const MAX_CLASSES: u64 = 500;

/// What the components of one kind have used up so far.
pub(super) struct Budget {
    /// Such as "normalizers", for messages.
    kind: &'static str,
    /// Their number, nested ones included.
    components: usize,
    /// How many times its length a text may have after all replacements.
    growth: f64,
    /// Bytes put before a text.
    prepended_bytes: usize,
    /// Bytes of all patterns.
    pattern_bytes: usize,
    /// Classes of characters in all patterns, with repetitions.
    classes: u64,
}

impl Budget {
    /// Starts with nothing used.
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            components: 0,
            growth: 1.0,
            prepended_bytes: 0,
            pattern_bytes: 0,
            classes: 0,
        }
    }

    /// Counts one more component.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] beyond the limit; the same holds for the methods below.
    pub(super) fn component(&mut self) -> Result<(), TokenizerError> {
        self.components += 1;
        match self.components > MAX_COMPONENTS {
            true => Err(unsupported(format!(
                "it has more than {MAX_COMPONENTS} {}",
                self.kind
            ))),
            false => Ok(()),
        }
    }

    /// Counts a text that is put before each text.
    ///
    /// # Errors
    /// As [`Self::component`].
    pub(super) fn prepended(&mut self, text: &str) -> Result<(), TokenizerError> {
        self.prepended_bytes += replacement(text)?.len();
        match self.prepended_bytes > MAX_PREPENDED_BYTES {
            true => Err(unsupported(format!(
                "its {} put more than {MAX_PREPENDED_BYTES} bytes before a text",
                self.kind
            ))),
            false => Ok(()),
        }
    }

    /// Counts a pattern and returns it.
    ///
    /// # Errors
    /// As [`Self::component`]; also an empty pattern.
    pub(super) fn pattern<'a>(
        &mut self,
        pattern: &'a Pattern,
    ) -> Result<&'a Pattern, TokenizerError> {
        let (Pattern::String(text) | Pattern::Regex(text)) = pattern;
        self.pattern_bytes += text.len();
        if text.is_empty() || self.pattern_bytes > MAX_PATTERN_BYTES {
            return Err(unsupported(format!(
                "its {} have an empty pattern, or patterns of more than {MAX_PATTERN_BYTES} bytes",
                self.kind
            )));
        }
        let Pattern::Regex(regex) = pattern else {
            return Ok(pattern);
        };
        let repetitions = repetitions(regex);
        if repetitions > MAX_REPETITIONS {
            return Err(unsupported(format!(
                "one of its {} repeats a pattern more than {MAX_REPETITIONS} times",
                self.kind
            )));
        }
        let classes = ["\\p", "\\P", "\\w", "\\W", "\\d", "\\D", "\\s", "\\S"];
        let classes = classes.map(|class| regex.matches(class).count() as u64);
        self.classes += repetitions * classes.iter().sum::<u64>();
        match self.classes > MAX_CLASSES {
            true => Err(unsupported(format!(
                "its {} have more than {MAX_CLASSES} classes of characters in their patterns",
                self.kind
            ))),
            false => Ok(pattern),
        }
    }

    /// Counts a replacement and builds it.
    ///
    /// Only plain patterns are taken: `tokenizers` overruns its alignments if a regular expression matches
    /// nothing, and no model of the families that are built uses one.
    ///
    /// # Errors
    /// As [`Self::component`].
    pub(super) fn replace(
        &mut self,
        pattern: &Pattern,
        content: &str,
    ) -> Result<normalizers::Replace, TokenizerError> {
        let Pattern::String(text) = self.pattern(pattern)? else {
            return Err(unsupported(
                "it replaces text with a regular expression, which is not supported",
            ));
        };
        let content = replacement(content)?;
        self.growth *= (content.len() as f64 / text.len() as f64).max(1.0);
        if self.growth > MAX_GROWTH {
            return Err(unsupported(format!(
                "its {} make a text more than {MAX_GROWTH} times as long",
                self.kind
            )));
        }
        let pattern = ReplacePattern::String(text.clone());
        normalizers::Replace::new(pattern, content).map_err(unsupported)
    }
}

/// Returns how often the counted repetitions of a pattern (`{3}`, `{1,3}`, `{2,}`) repeat at most, multiplied.
///
/// ```text
/// \p{N}{1,3}        3: the braces of a class do not count
/// (a{2,4}){10}     40
/// ```
fn repetitions(pattern: &str) -> u64 {
    let mut product = 1u64;
    for (start, _) in pattern.match_indices('{') {
        // `\x{41}` and `\p{L}` are characters.
        let is_character = pattern[..start].ends_with(['x', 'u', 'p', 'P', 'U']);
        let Some((inside, _)) = pattern[start + 1..].split_once('}') else {
            continue;
        };
        let is_count = !is_character || !pattern[..start - 1].ends_with('\\');
        let bounds = inside.split(',').map(str::trim);
        let numbers: Option<Vec<u64>> = bounds
            .filter(|bound| !bound.is_empty())
            .map(
                |bound| match bound.bytes().all(|byte| byte.is_ascii_digit()) {
                    true => Some(bound.parse().unwrap_or(u64::MAX)),
                    false => None,
                },
            )
            .collect();
        if let Some(most) = numbers.and_then(|numbers| numbers.into_iter().max())
            && is_count
        {
            product = product.saturating_mul(most.max(1));
        }
    }
    product
}

/// Checks the length of a text that is put into another.
///
/// # Errors
/// [`TokenizerError::Unsupported`] beyond `MAX_REPLACEMENT_BYTES`.
fn replacement(content: &str) -> Result<&str, TokenizerError> {
    if content.len() > MAX_REPLACEMENT_BYTES {
        return Err(unsupported(format!(
            "it replaces a text with {} bytes",
            content.len()
        )));
    }
    Ok(content)
}
