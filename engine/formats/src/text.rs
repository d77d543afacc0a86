//! Helpers for JSON of untrusted files (its depth, and lone surrogates in it), and bytes in hexadecimal.

use std::borrow::Cow;

/// How deep the brackets in JSON of untrusted files may be nested. Real configs nest four deep, tokenizers eight.
pub const MAX_DEPTH: usize = 64;

/// The bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a JSON string or any other JSON value, with U+FFFD for every escaped lone surrogate.
///
/// # Errors
/// Those of serde_json, with positions in `json` itself.
pub fn parse_json<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(&without_lone_surrogates(json))
}

/// Replaces every `\ud800`..`\udfff` that is not part of a pair with `\ufffd`. Lengths, and thus positions, stay the
/// same.
pub fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    if !json.contains("\\ud") && !json.contains("\\uD") {
        return Cow::Borrowed(json);
    }
    let bytes = json.as_bytes();
    let mut output = json.to_owned();
    let mut offset = 0;
    while let Some(found) = json[offset..].find('\\') {
        offset += found;
        match (code_unit(bytes, offset), code_unit(bytes, offset + 6)) {
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => offset += 12,
            (Some(0xD800..0xE000), _) => {
                output.replace_range(offset..offset + 6, "\\ufffd");
                offset += 6;
            }
            // The escaped character may be a backslash, which does not start another escape.
            _ => {
                let escaped = json[offset + 1..].chars().next();
                offset += 1 + escaped.map_or(0, char::len_utf8);
            }
        }
    }
    Cow::Owned(output)
}

/// The code unit that the escape `\uXXXX` at `offset` stands for.
fn code_unit(json: &[u8], offset: usize) -> Option<u32> {
    let escape = json.get(offset..offset + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |value, &digit| {
        Some(value * 16 + char::from(digit).to_digit(16)?)
    })
}
