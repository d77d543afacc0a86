//! GPT-2's alphabet: every byte is written as one printable character, so that byte pairs can be written as
//! text.
//!
//! It is `bytes_to_unicode` of openai/gpt-2's `encoder.py`, which byte-level BPE took over everywhere. Bytes
//! that print keep their Latin-1 character; the other 68 take U+0100 and following, in ascending order:
//!
//! | bytes | characters |
//! |---|---|
//! | `0x21..=0x7E`, `0xA1..=0xAC`, `0xAE..=0xFF` | the same code |
//! | `0x00..=0x20` | `U+0100..=U+0120`; a space is `Ġ`, a line feed `Ċ` |
//! | `0x7F..=0xA0` | `U+0121..=U+0142` |
//! | `0xAD` | `U+0143` |

/// Returns the character of a byte.
pub(super) fn char_from_byte(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        // The other bytes take the characters from U+0100 on, in order.
        0..=b' ' => shifted(u32::from(byte)),
        0x7F..=0xA0 => shifted(u32::from(byte) - 0x7F + 33),
        0xAD => shifted(67),
    }
}

/// Returns the character for the `index`-th byte that does not print.
fn shifted(index: u32) -> char {
    char::from_u32(0x100 + index).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Returns the byte of a character, if it belongs to the alphabet.
pub(super) fn byte_from_char(character: char) -> Option<u8> {
    let code = u32::from(character);
    let byte = match code {
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7F,
        0x143 => 0xAD,
        _ => code,
    };
    u8::try_from(byte)
        .ok()
        // A code below 0x100 is in the alphabet only if its byte prints: a plain space, for one, is not.
        .filter(|&byte| char_from_byte(byte) == character)
}

/// Returns the bytes that a token stands for, which need not be whole characters; `None` if it is not written
/// in the alphabet.
pub(super) fn bytes(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_from_char).collect()
}

/// Writes text in the alphabet.
///
/// ```text
/// " naïve"  ->  "ĠnaÃ¯ve"
/// ```
pub(super) fn spell(text: &str) -> String {
    text.bytes().map(char_from_byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        for byte in 0..=255 {
            assert_eq!(byte_from_char(char_from_byte(byte)), Some(byte));
        }
        assert_eq!(char_from_byte(b' '), 'Ġ');
        assert_eq!(char_from_byte(b'\n'), 'Ċ');
        assert_eq!(char_from_byte(0xAD), 'Ń');
        assert_eq!(byte_from_char(' '), None);
        assert_eq!(byte_from_char('ń'), None);
        assert_eq!(bytes(&spell("naïve 🙂\n")), Some("naïve 🙂\n".into()));
    }
}
