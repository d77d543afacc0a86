//! Which encoding from before Unicode a text has.
//!
//! The detector of Firefox knows letters by their neighbors, and so has little to go by where a text is ASCII but for
//! a few signs: `£` (0xA3) in English is a letter of Polish or Serbian to it. Such a text is windows-1252, which is what
//! Excel writes in Western Europe and the Americas, as long as all of its signs make sense there.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    Encoding, ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8, KOI8_R, KOI8_U, MACINTOSH,
    WINDOWS_874, WINDOWS_1251, WINDOWS_1252, WINDOWS_1253, WINDOWS_1255, WINDOWS_1256,
    X_MAC_CYRILLIC,
};

/// Encodings whose bytes beyond ASCII are not Latin letters.
const OTHER_SCRIPTS: [&Encoding; 13] = [
    ISO_8859_5,
    ISO_8859_6,
    ISO_8859_7,
    ISO_8859_8,
    KOI8_R,
    KOI8_U,
    MACINTOSH,
    WINDOWS_874,
    WINDOWS_1251,
    WINDOWS_1253,
    WINDOWS_1255,
    WINDOWS_1256,
    X_MAC_CYRILLIC,
];

/// The likeliest encoding of bytes that are not UTF-8.
pub(super) fn guess(bytes: &[u8]) -> &'static Encoding {
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(bytes);
    let mut signs = Signs::default();
    // A byte for each character, as windows-1252 has it.
    let mut letters = bytes.to_vec();
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    let mut index = 0;
    while let Some(character) = characters.next() {
        let after = characters.peek().copied().unwrap_or(' ');
        if !character.is_ascii() {
            let kind = kind(before, character, after);
            signs.count(kind);
            if kind == Kind::Sign {
                letters[index] = b' ';
            }
        }
        before = character;
        index += 1;
    }
    if signs.num_letters == 0 && signs.num_odd == 0 {
        return WINDOWS_1252;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(if signs.num_odd == 0 { &letters } else { bytes }, true);
    let guessed = detector.guess(None, Utf8Detection::Deny);
    let is_western = signs.num_odd == 0 && signs.num_lone == 0;
    let is_other_script = OTHER_SCRIPTS.contains(&guessed) || !guessed.is_single_byte();
    let is_same = || guessed.decode_without_bom_handling(bytes).0 == text;
    // Where windows-1252 has signs, encodings that nobody writes any more have control characters.
    let has_controls = || {
        let (text, _) = guessed.decode_without_bom_handling(bytes);
        text.chars()
            .any(|character| ('\u{80}'..='\u{9F}').contains(&character))
    };
    if is_western && (is_other_script || is_same() || has_controls()) {
        return WINDOWS_1252;
    }
    guessed
}

#[derive(Default)]
struct Signs {
    num_letters: usize,
    /// Letters without another one of ASCII in their word.
    num_lone: usize,
    num_odd: usize,
}

impl Signs {
    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Sign => {}
            Kind::Letter { is_lone } => {
                self.num_letters += 1;
                self.num_lone += usize::from(is_lone);
            }
            Kind::Odd => self.num_odd += 1,
        }
    }
}

/// What a character of windows-1252 is where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A sign where people write it.
    Sign,
    Letter {
        is_lone: bool,
    },
    /// Anything that nobody would write there.
    Odd,
}

fn kind(before: char, character: char, after: char) -> Kind {
    let is_letter = char::is_alphabetic;
    let (is_after_letter, is_before_letter) = (is_letter(before), is_letter(after));
    let is_inside_word = is_after_letter && is_before_letter;
    let is_fitting = match character {
        '£' | '€' | '¥' | '¢' | '¤' | 'ƒ' => {
            // An amount stands on one side, or none at all.
            let is_amount = |c: char| c.is_ascii_digit();
            is_amount(before)
                || is_amount(after)
                || !is_inside_word && !is_beyond_ascii(before) && !is_beyond_ascii(after)
        }
        '’' | '‘' | '´' | '\u{ad}' => true,
        '“' | '”' | '„' | '«' | '»' | '‹' | '›' | '…' | '–' | '—' | '‚' | '‰' | '™' | '®' | '©'
        | '°' | '§' | '¶' | '•' | '·' | '†' | '‡' | '¬' | '\u{a0}' | '¦' => {
            !is_inside_word || matches!(character, '–' | '—' | '…' | '·' | '\u{a0}' | '•')
        }
        '½' | '¼' | '¾' | '×' | '÷' | '±' | '²' | '³' | '¹' | 'ª' | 'º' | 'µ' => {
            // As in `m²`, `5½`, `1ª`, `µm`.
            !is_inside_word && (!is_beyond_ascii(before) && !is_beyond_ascii(after))
        }
        '¿' | '¡' => !is_after_letter,
        letter if is_letter(letter) => {
            // A capital letter inside a word of small ones is another encoding's letter.
            let is_capital = letter.is_uppercase();
            if is_capital && before.is_lowercase()
                || is_capital && after.is_lowercase() && is_after_letter
            {
                return Kind::Odd;
            }
            let is_latin = |c: char| c.is_ascii_alphabetic();
            return Kind::Letter {
                is_lone: !is_latin(before) && !is_latin(after),
            };
        }
        // Control characters.
        _ => false,
    };
    if is_fitting { Kind::Sign } else { Kind::Odd }
}

fn is_beyond_ascii(character: char) -> bool {
    !character.is_ascii() && character.is_alphabetic()
}
