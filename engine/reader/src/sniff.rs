//! What a file is, by its content. Its name decides only between kinds of text.

use encoding_rs::UTF_8;

use super::{arrow, decode::marked, json, table, text_file::TextFile};

/// First bytes of files that people drop by mistake.
const MAGIC: [(&[u8], &str); 44] = [
    (b"\x89PNG", "a PNG picture"),
    (b"\xFF\xD8\xFF", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a bitmap picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"RIFF", "a sound, video or WebP file"),
    (b"OggS", "a sound file"),
    (b"ID3", "a sound file"),
    (b"fLaC", "a sound file"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"{\\rtf", "a rich-text document"),
    (b"\xD0\xCF\x11\xE0", "an old Office document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1F\x8B", "compressed by gzip"),
    (b"\x1F\x9D", "compressed by compress"),
    (b"\x28\xB5\x2F\xFD", "compressed by zstd"),
    (b"BZh", "compressed by bzip2"),
    (b"\xFD7zXZ", "compressed by xz"),
    (b"\x04\x22\x4D\x18", "compressed by lz4"),
    (b"7z\xBC\xAF", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"PAR1", "a Parquet table"),
    (b"PARE", "an encrypted Parquet table"),
    (b"ARROW1", "an Arrow table"),
    (b"FEA1", "a Feather table"),
    (b"Obj\x01", "an Avro table"),
    (b"ORC\x0A", "an ORC table"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"SQLite format 3", "an SQLite database"),
    (b"GGUF", "a GGUF model"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"\x80\x05\x95", "a Python pickle"),
    (b"\x7FELF", "a program"),
    (b"MZ", "a program"),
    (b"\xCF\xFA\xED\xFE", "a program"),
    (b"\xCA\xFE\xBA\xBE", "a program"),
    (b"\0asm", "a program"),
    (b"wOF", "a font"),
];
/// Where a tar archive says what it is.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// What bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Empty,
    Gzip,
    Zstd,
    Zip,
    Parquet,
    Arrow,
    /// Nothing that rows can be read from; in words that follow "is".
    Other(&'static str),
    Text,
}

/// Tells by the first bytes of a file.
pub(super) fn content(head: &[u8], is_whole: bool) -> Content {
    if is_whole && head.iter().all(u8::is_ascii_whitespace) {
        return Content::Empty;
    }
    if head.starts_with(&[0xFF, 0xFE, 0, 0]) || head.starts_with(&[0, 0, 0xFE, 0xFF]) {
        return Content::Other("text in UTF-32");
    }
    // Letters alone may begin a text, too; with a NUL soon after they do not.
    let has_nul = head.contains(&0);
    let is_certain = |magic: &[u8]| {
        let is_word = magic.iter().all(u8::is_ascii_alphanumeric) && magic != b"PAR1";
        has_nul || !is_word || head.get(4..10) == Some(b"1AY&SY")
    };
    let magic = MAGIC
        .iter()
        .find(|(magic, _)| head.starts_with(magic) && is_certain(magic));
    match magic {
        Some((b"PK\x03\x04", _)) => return Content::Zip,
        Some((b"\x1F\x8B", _)) => return Content::Gzip,
        Some((b"\x28\xB5\x2F\xFD", _)) => return Content::Zstd,
        Some((b"PAR1", _)) => return Content::Parquet,
        Some((b"ARROW1", _)) => return Content::Arrow,
        Some((_, what)) => return Content::Other(what),
        None => {}
    }
    if head.get(TAR.0..).is_some_and(|at| at.starts_with(TAR.1)) {
        return Content::Other("a tar archive");
    }
    if arrow::is_stream(head) {
        return Content::Arrow;
    }
    if is_safetensors(head) {
        return Content::Other("a safetensors model");
    }
    if is_pickle_of_old(head) {
        return Content::Other("a Python pickle");
    }
    match marked(head) {
        Some((encoding, _)) if encoding != UTF_8 => Content::Text,
        _ if has_nul && !is_text_with_nuls(head) => Content::Other("a binary file"),
        _ => Content::Text,
    }
}

/// Whether bytes are a text in which a few NULs stand, as a damaged export of a database has them.
fn is_text_with_nuls(head: &[u8]) -> bool {
    let is_control = |byte: &&u8| **byte < b' ' && !b"\0\t\n\r\x0B\x0C".contains(byte);
    let num_controls = head.iter().filter(is_control).count();
    // NULs in a row are one place, such as the end of a block that was never written.
    let places = head.chunk_by(|one, next| (*one == 0) == (*next == 0));
    let num_nuls = places.filter(|place| place[0] == 0).count();
    num_controls * 100 <= head.len() && num_nuls <= (head.len() / 20).max(2)
}

/// A small header length in eight bytes, and a JSON object.
fn is_safetensors(head: &[u8]) -> bool {
    head.get(4..10).is_some_and(|bytes| bytes == b"\0\0\0\0{\"")
}

/// The oldest protocol is text, and begins with a list or dict that it marks.
fn is_pickle_of_old(head: &[u8]) -> bool {
    head.starts_with(b"(lp0\n") || head.starts_with(b"(dp0\n")
}

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Table(table::Dialect),
    Text {
        is_markdown: bool,
    },
    /// Another format, by its name.
    Other(&'static str),
}

/// Tells by the first piece of a text.
pub(super) fn kind(file: &TextFile) -> Kind {
    let extension = file.extension();
    let is_named = |names: &[&str]| names.contains(&extension.as_str());
    let text = file.head.trim_start();
    let is_prose = is_named(&["txt", "md", "markdown", "text", "rst"]);
    if let Some(format) = markup(text, is_prose) {
        return Kind::Other(format);
    }
    if json::is_json(
        &file.head,
        is_named(&["json", "jsonl", "ndjson", "jsonlines"]),
    ) {
        return Kind::Json;
    }
    if is_named(&["md", "markdown"]) {
        return Kind::Text { is_markdown: true };
    }
    let is_table = is_named(&["csv", "tsv", "tab", "psv"]);
    if !is_table && !is_prose && is_yaml(text) {
        return Kind::Other("YAML");
    }
    if let Some(dialect) = table::dialect(&file.head, file.is_head_whole, is_table) {
        return Kind::Table(dialect);
    }
    Kind::Text {
        is_markdown: !is_prose && is_markdown(text),
    }
}

fn markup(text: &str, is_prose: bool) -> Option<&'static str> {
    let starts = |prefix: &str| {
        let head = text.get(..prefix.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    if starts("<!doctype html") || starts("<html") {
        return Some("HTML");
    }
    let is_tag = text.starts_with('<')
        && text[1..].starts_with(|first: char| first.is_ascii_alphabetic() || first == '!');
    let is_closed = text.contains("</") || text.contains("/>");
    (starts("<?xml") || is_tag && is_closed && !is_prose).then_some("XML")
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty()).take(50)
}

/// Whether all of the first lines are fields, items of lists or comments, and some of them fields.
fn is_yaml(text: &str) -> bool {
    let is_field = |line: &str| {
        let line = line.trim_start().trim_start_matches("- ");
        let name = line.split_once(':');
        name.is_some_and(|(name, value)| {
            let is_name = |c: char| c.is_alphanumeric() || "_-.\"' ".contains(c);
            (value.is_empty() || value.starts_with(' '))
                && name.len() < 40
                && name.chars().all(is_name)
        })
    };
    let first = lines(text).next().unwrap_or_default();
    let is_begun = first.starts_with("---") || first.starts_with("- ") || is_field(first);
    let is_lone_field = is_field(first) && first.ends_with(':') && !first.contains(' ');
    let is_other = |line: &&str| {
        let line = line.trim_start();
        !(is_field(line)
            || line.starts_with("- ")
            || line.starts_with('#')
            || line.starts_with("---"))
    };
    let num_fields = lines(text).filter(|line| is_field(line)).count();
    let (num_others, num_lines) = (lines(text).filter(is_other).count(), lines(text).count());
    // A dialogue has the same names again and again at the begin of its lines; the fields of one object differ.
    let names: Vec<&str> = lines(text)
        .filter(|line| is_field(line) && !line.starts_with([' ', '-']))
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    let is_repeated = names
        .iter()
        .enumerate()
        .any(|(place, name)| names[..place].contains(name));
    let is_full = num_fields > 0 && num_others == 0 && num_lines > 1 && !is_repeated;
    is_begun && (is_full || is_lone_field && num_others * 4 <= num_lines && num_fields > 0)
}

/// Headings or code fences at the begin of lines.
fn is_markdown(text: &str) -> bool {
    let is_heading = |line: &str| {
        let rest = line.trim_start_matches('#');
        rest.len() < line.len() && line.len() - rest.len() <= 6 && rest.starts_with(' ')
    };
    lines(text).any(|line| line.starts_with("```")) || lines(text).next().is_some_and(is_heading)
}
