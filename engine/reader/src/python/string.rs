//! Strings in single, double or triple quotes, with the escapes of JSON and of Python's `repr`.

use super::{Adjacent, Parser};

/// Letters before a quote: raw, bytes, Unicode, formatted.
const PREFIXES: &str = "rbufRBUF";

impl Parser<'_> {
    /// Whether a string begins here, be it with letters before its quote.
    pub(super) fn is_string(&self) -> bool {
        let rest = self.rest();
        let bare = rest.trim_start_matches(|c| PREFIXES.contains(c));
        rest.len() - bare.len() <= 2 && bare.starts_with(['"', '\''])
    }

    /// A string, together with those that stand after it without a comma where they are one. White space has to part
    /// them: `"She said ""no"" to me"` is a quotation inside a text, as a table would have it, and joining it would lose
    /// the quotes.
    pub(super) fn strings(&mut self, adjacent: Adjacent) -> Option<String> {
        let mut text = self.string()?;
        if adjacent == Adjacent::Apart {
            return Some(text);
        }
        loop {
            let end = self.at;
            if !self.skip_space() || !self.is_string() {
                self.at = end;
                return Some(text);
            }
            self.forgiven.python = true;
            text += &self.string()?;
        }
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.rest();
        let bare = rest.trim_start_matches(|c| PREFIXES.contains(c));
        let prefix = &rest[..rest.len() - bare.len()];
        let is_raw = prefix.contains(['r', 'R']);
        let is_bytes = prefix.contains(['b', 'B']);
        let quote = bare.chars().next()?;
        self.forgiven.python |= quote == '\'' || !prefix.is_empty();
        let triple = if quote == '"' { "\"\"\"" } else { "'''" };
        let quotes = if bare.starts_with(triple) {
            triple
        } else {
            &triple[..1]
        };
        self.at += prefix.len() + quotes.len();
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let len = rest.find([quote, '\\'])?;
            self.forgiven.control |= rest[..len].contains(|c: char| c < ' ');
            text += &rest[..len];
            self.at += len;
            let rest = &rest[len..];
            if rest.starts_with(quotes) {
                self.at += quotes.len();
                break;
            }
            if rest.starts_with(quote) {
                // Part of a text in triple quotes.
                text.push(quote);
                self.at += 1;
            } else if is_raw {
                let escaped = rest[1..].chars().next()?;
                text.push('\\');
                text.push(escaped);
                self.at += 1 + escaped.len_utf8();
            } else {
                self.escape(&mut text)?;
            }
        }
        if !is_bytes {
            return Some(text);
        }
        // Each escape stands for a byte.
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        bytes.map_or(Some(text), |bytes| {
            Some(String::from_utf8_lossy(&bytes).into_owned())
        })
    }

    /// The escape that stands here, whose backslash is the next byte.
    fn escape(&mut self, text: &mut String) -> Option<()> {
        self.at += 1;
        let escaped = self.rest().chars().next()?;
        self.at += escaped.len_utf8();
        let character = match escaped {
            '"' | '\'' | '\\' | '/' => escaped,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'x' => char::from_u32(self.digits(2)?)?,
            'u' => return self.unit(text),
            'U' => char::from_u32(self.digits(8)?).unwrap_or(char::REPLACEMENT_CHARACTER),
            '\n' => return Some(()),
            '0' if !self.rest().starts_with(|c: char| c.is_ascii_digit()) => '\0',
            _ => return None,
        };
        text.push(character);
        Some(())
    }

    /// A code unit of UTF-16 after `\u`, with the one that completes it; U+FFFD for half a pair.
    fn unit(&mut self, text: &mut String) -> Option<()> {
        let unit = self.digits(4)?;
        let mut character = char::from_u32(unit);
        if (0xD800..0xDC00).contains(&unit) && self.rest().starts_with("\\u") {
            let after = self.at;
            self.at += 2;
            match self.digits(4) {
                Some(low @ 0xDC00..0xE000) => {
                    character = char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
                }
                _ => self.at = after,
            }
        }
        text.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        Some(())
    }

    fn digits(&mut self, len: usize) -> Option<u32> {
        let digits = self.rest().get(..len)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        self.at += len;
        u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    }
}
