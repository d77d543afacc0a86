//! A file's bytes to text, or what the file is instead.

use super::DatasetError;
use crate::data::text::line_and_column;

/// First bytes of files that people drop by mistake.
const MAGIC: [(&[u8], &str); 22] = [
    (b"\x89PNG", "a PNG picture"),
    (b"\xFF\xD8\xFF", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a bitmap picture"),
    (b"RIFF", "a sound, video or WebP file"),
    (b"%PDF", "a PDF document"),
    (
        b"PK\x03\x04",
        "a zip archive (or an Office document, which is one)",
    ),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1F\x8B", "compressed by gzip"),
    (b"\x28\xB5\x2F\xFD", "compressed by zstd"),
    (b"BZh", "compressed by bzip2"),
    (b"\xFD7zXZ", "compressed by xz"),
    (b"7z\xBC\xAF", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"PAR1", "a Parquet table"),
    (b"ARROW1", "an Arrow table"),
    (b"SQLite format 3", "an SQLite database"),
    (b"GGUF", "a GGUF model"),
    (b"\x7FELF", "a program"),
    (b"MZ", "a program"),
    (b"\xD0\xCF\x11\xE0", "an old Office document"),
    (b"\x80\x04\x95", "a Python pickle"),
];
/// Bytes that are looked at for the binary kind.
const HEAD_BYTES: usize = 4096;

/// The text of a file, without its byte-order mark.
pub(super) fn decode(file: &str, bytes: Vec<u8>) -> Result<String, DatasetError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DatasetError::Empty {
            file: file.to_owned(),
        });
    }
    match bytes.as_slice() {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => {
            Err(encoding(file, 1, 1, "it is in UTF-32".to_owned()))
        }
        [0xFF, 0xFE, rest @ ..] => utf16(file, rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(file, rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(file, rest.to_vec()),
        _ => {
            refuse_binary(file, &bytes)?;
            utf8(file, bytes)
        }
    }
}

fn refuse_binary(file: &str, bytes: &[u8]) -> Result<(), DatasetError> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    // "BM" and "MZ" may begin a text, too; with a NUL soon after they do not.
    let has_nul = head.contains(&0);
    let magic = MAGIC.iter().find(|(magic, _)| {
        head.starts_with(magic) && (has_nul || magic.len() > 2 || magic[0] < b' ')
    });
    match (magic, has_nul) {
        (Some((_, what)), _) => Err(DatasetError::Binary {
            file: file.to_owned(),
            what,
        }),
        (None, true) => Err(if is_bare_utf16(head) {
            let what = "it looks like UTF-16 without a byte-order mark".to_owned();
            encoding(file, 1, 1, what)
        } else {
            DatasetError::Binary {
                file: file.to_owned(),
                what: "a binary file",
            }
        }),
        (None, false) => Ok(()),
    }
}

/// Whether nearly all NULs stand in the high halves of 16-bit units, as in Latin text.
fn is_bare_utf16(head: &[u8]) -> bool {
    let nuls = |parity: usize| {
        head.iter()
            .skip(parity)
            .step_by(2)
            .filter(|&&byte| byte == 0)
            .count()
    };
    let (even, odd) = (nuls(0), nuls(1));
    even.max(odd) > head.len() / 4 && even.min(odd) <= head.len() / 64
}

fn utf8(file: &str, bytes: Vec<u8>) -> Result<String, DatasetError> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let valid = String::from_utf8_lossy(&bytes[..offset]);
        let (line, column) = line_and_column(&valid, valid.len());
        let what = match bytes.get(offset) {
            Some(byte) => format!("the byte 0x{byte:02X} at offset {offset} begins no character"),
            None => format!("it ends inside a character at offset {offset}"),
        };
        encoding(file, line, column, what)
    })
}

fn utf16(file: &str, bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, DatasetError> {
    let units = bytes.chunks(2).map(|pair| match pair {
        [first, second] => unit([*first, *second]),
        // Half a unit at the end: no character, like a lone surrogate.
        _ => 0xD800,
    });
    let mut text = String::with_capacity(bytes.len());
    for character in char::decode_utf16(units) {
        match character {
            Ok(character) => text.push(character),
            Err(error) => {
                let (line, column) = line_and_column(&text, text.len());
                let unit = error.unpaired_surrogate();
                let what = format!("its UTF-16 has the unit 0x{unit:04X} without its other half");
                return Err(encoding(file, line, column, what));
            }
        }
    }
    Ok(text)
}

fn encoding(file: &str, line: usize, column: usize, what: String) -> DatasetError {
    DatasetError::Encoding {
        file: file.to_owned(),
        line,
        column,
        what,
    }
}
