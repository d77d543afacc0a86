//! JSON of untrusted files: nesting is bounded before anything is parsed.
//!
//! serde_json parses nested values recursively, up to 128 levels, and a worker's stack in wasm is small. So the
//! brackets are counted in a flat loop first; the limit is [`formats::text::MAX_DEPTH`].

use formats::text::MAX_DEPTH;
use serde::de::DeserializeOwned;

/// The byte order mark, U+FEFF, in UTF-8.
pub const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why JSON cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Brackets are nested deeper than [`MAX_DEPTH`]; nothing was parsed.
    #[error("the JSON is nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A syntax error, or a value of another type than the reader expects.
    #[error("{message}")]
    Invalid {
        /// serde's message, which names line and column.
        message: String,
        /// The line of the error, from 1 on.
        line: usize,
        /// The column of the error, in bytes.
        column: usize,
    },
}

/// Parses `bytes` as a `T`.
///
/// # Errors
/// [`JsonError::TooDeep`], or [`JsonError::Invalid`] for whatever serde_json refuses.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    if depth(bytes) > MAX_DEPTH {
        return Err(JsonError::TooDeep);
    }
    serde_json::from_slice(bytes).map_err(|error| JsonError::Invalid {
        message: error.to_string(),
        line: error.line(),
        column: error.column(),
    })
}

/// Returns a file's bytes without the byte order mark that some editors put before the text, and that no JSON may
/// begin with.
pub fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    bytes
}

/// Returns the deepest nesting of brackets outside of strings. It is exact for valid JSON, and never too small
/// for invalid JSON that a parser would enter.
///
/// ```text
/// {"a": [[1], "[[["]}    3: the brackets of the string do not count
/// ```
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        assert_eq!(depth(br#"{"a": [[1], "[[[\"[[\\"], "b": {}}"#), 3);
        let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert!(from_slice::<Value>(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(
            from_slice::<Value>(&nested(MAX_DEPTH + 1)),
            Err(JsonError::TooDeep)
        );
    }

    #[test]
    fn errors_name_the_place() {
        let error = from_slice::<Value>(b"{\n  \"a\": tru }").unwrap_err();
        assert!(
            matches!(error, JsonError::Invalid { line: 2, .. }),
            "{error:?}"
        );
    }
}
