//! Finds texts that were decoded wrongly before they arrived here.

use encoding_rs::{Encoding, WINDOWS_1251, WINDOWS_1252};

/// What is wrong with the characters of a text.
pub fn broken(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    if text.contains('\u{FFFD}') {
        return Some("contains the replacement character for lost characters".to_owned());
    }
    let is_control = |character: char| ('\u{80}'..='\u{9F}').contains(&character);
    if text
        .chars()
        .any(|character| is_control(character) && character != '\u{85}')
    {
        return Some(
            "contains control characters where letters were, so its encoding was probably misread"
                .to_owned(),
        );
    }
    // Runs of consecutive characters beyond ASCII.
    let runs = text.split(|character: char| character.is_ascii());
    for run in runs.filter(|run| !run.is_empty()) {
        for encoding in [WINDOWS_1252, WINDOWS_1251] {
            if let Some(meant) = misread(run, encoding) {
                return Some(format!("contains {run:?}, which was probably {meant:?}"));
            }
        }
    }
    None
}

/// The original of a run of characters whose UTF-8 was read as `encoding`. A run that a person wrote is not valid UTF-8
/// when encoded that way.
fn misread(run: &str, encoding: &'static Encoding) -> Option<String> {
    let (bytes, _, has_unmappable) = encoding.encode(run);
    if has_unmappable || bytes.len() < 2 {
        return None;
    }
    let meant = std::str::from_utf8(&bytes).ok()?;
    // Characters such as a soft hyphen are sometimes intended.
    meant
        .chars()
        .all(|character| character.is_alphanumeric() || is_common(character))
        .then(|| meant.to_owned())
}

/// Quotes, dashes, the ellipsis, bullets, currencies.
fn is_common(character: char) -> bool {
    matches!(
        character,
        '\u{2010}'..='\u{2026}' | '€' | '£' | '°' | '«' | '»' | '\u{A0}' | '™' | '©' | '®'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misread_texts_are_told_from_foreign_ones() {
        for text in [
            "cafÃ© au lait",
            "itâ€™s",
            "РџСЂРёРІРµС‚",
            "5 â‚¬",
            "lost \u{FFFD} sign",
        ] {
            assert!(broken(text).is_some(), "{text}");
        }
        for text in [
            "plain",
            "café",
            "naïve façade",
            "Größe",
            "Привет, мир",
            "œuvre",
            "日本語",
            "£5 – “so”…",
            "Ãtá",
            "İstanbul",
            "żółw",
            "Ñandú",
            "Â",
            "100 °C",
        ] {
            assert_eq!(broken(text), None, "{text}");
        }
    }
}
