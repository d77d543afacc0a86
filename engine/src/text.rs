//! JSON of untrusted files: its depth, and halves of characters in it. Bytes in hexadecimal.

use std::borrow::Cow;

/// Brackets inside one another that JSON of untrusted files may have. Real configs nest four deep, tokenizers eight.
pub const MAX_DEPTH: usize = 64;

/// The bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a JSON string or any other JSON value, with U+FFFD for every lone surrogate that it escapes.
///
/// # Errors
/// serde_json's, with places in `json` itself.
pub fn parse_json<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(&without_lone_surrogates(json))
}

/// Puts `\ufffd` in the place of every `\ud800`..`\udfff` that is half of no pair. Lengths, and so places, stay.
pub(crate) fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
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
            // The escaped character may be a backslash, which starts no escape of its own.
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
