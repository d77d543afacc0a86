//! What is known of a text before it is read.

use super::{
    decode::{Decoder, Removed},
    error::DatasetError,
    output::Output,
    source::{OddEnd, Stream, read_to_end, row_limit},
    text_stream::TextStream,
};

/// Bytes that a file's kind is told by.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// The note on a file in which something follows the compressed data.
pub(super) const FOLLOWED: &str = "Something that is not compressed comes after its compressed data, and was skipped. \
    If rows are missing, download or compress the file again.";

/// The first bytes of a stream, and whether they are all.
pub(super) fn head(file: &str, source: &mut dyn Stream) -> Result<(Vec<u8>, bool), DatasetError> {
    let mut head = vec![0; HEAD_BYTES];
    let read = source
        .open()
        .and_then(|mut stream| match read_to_end(&mut stream, &mut head)? {
            (0, Some(OddEnd::CutOff)) => Err(OddEnd::CutOff.into()),
            read => Ok(read),
        });
    let (len, end) = read.map_err(|error| DatasetError::reading(file, &error))?;
    head.truncate(len);
    Ok((head, len < HEAD_BYTES && end != Some(OddEnd::CutOff)))
}

/// A text and its first piece.
pub(super) struct TextFile {
    pub name: String,
    /// How it is stored, said after its format: `, gzipped`, or nothing.
    pub stored: &'static str,
    pub head: String,
    pub is_head_whole: bool,
    raw_head: Vec<u8>,
    encoding: &'static str,
}

impl TextFile {
    pub(super) fn new(
        name: &str,
        stored: &'static str,
        (raw_head, is_head_whole): (Vec<u8>, bool),
    ) -> Result<Self, DatasetError> {
        let mut head = Vec::new();
        let decoded =
            Decoder::new(Box::new(raw_head.as_slice()), &raw_head).and_then(|mut decoder| {
                while decoder.decode_more(&mut head)? {}
                Ok(decoder.encoding())
            });
        let encoding = decoded.map_err(|error| DatasetError::reading(name, &error))?;
        Ok(Self {
            name: name.to_owned(),
            stored,
            head: String::from_utf8(head).unwrap_or_default(),
            is_head_whole,
            raw_head,
            encoding,
        })
    }

    /// The whole text, from its begin.
    pub(super) fn open<'a>(
        &self,
        source: &'a mut dyn Stream,
    ) -> Result<TextStream<'a>, DatasetError> {
        let row_limit = row_limit(source.num_stored_bytes());
        let decoder = source
            .open()
            .and_then(|input| Decoder::new(input, &self.raw_head));
        let decoder = decoder.map_err(|error| DatasetError::reading(&self.name, &error))?;
        Ok(TextStream::new(decoder, row_limit))
    }

    /// Tells what the file is; its rows follow.
    pub(super) fn announce(&self, format: &str, output: &mut Output) {
        let format = format!("{format}{}", self.stored);
        output.file(&self.name, &format, self.encoding);
    }

    /// Tells that rows of one part of the file follow, which is listed as a file.
    pub(super) fn announce_part(&self, part: &str, format: &str, output: &mut Output) {
        let format = format!("{format}{}", self.stored);
        output.file(&format!("{}/{part}", self.name), &format, self.encoding);
    }

    /// Tells what was found out on the way.
    pub(super) fn finish(&self, stream: &TextStream, output: &mut Output) {
        let decoder = stream.decoder();
        if decoder.encoding() != self.encoding {
            output.encoding(decoder.encoding());
        }
        if let Some(place) = decoder.first_replaced() {
            let (line, column) = (place.line.unwrap_or(1), place.column.unwrap_or(1));
            let number = match decoder.num_replaced() {
                1 => "One place is".to_owned(),
                number => format!("{number} places are"),
            };
            let note = format!(
                "{number} not valid {}; the first is in line {line}, column {column}. The invalid bytes were replaced with U+FFFD (\u{fffd}).",
                decoder.encoding(),
            );
            output.note(&self.name, &note);
        }
        if let Some(lines) = decoder.other_lines() {
            let first = lines.first.and_then(|place| place.line).unwrap_or(1);
            let which = match lines.count {
                1 => format!("Line {first} is not valid UTF-8 and was"),
                count => format!(
                    "{count} lines, the first of them line {first}, are not valid UTF-8 and were"
                ),
            };
            let note = format!("{which} read as {}.", lines.encoding());
            output.note(&self.name, &note);
        }
        let cleaned = decoder.cleaned();
        for (removed, what) in [
            (cleaned.nuls, "NUL character"),
            (cleaned.marks, "byte-order mark"),
        ] {
            if let Some(note) = removed_note(removed, what) {
                output.note(&self.name, &note);
            }
        }
        let note = match decoder.odd_end() {
            None => return,
            Some(OddEnd::CutOff) => {
                "Its compressed data is cut off; all complete rows before that were read. Download or compress the file again."
            }
            Some(OddEnd::Followed) => FOLLOWED,
        };
        output.note(&self.name, note);
    }

    /// The name's extension in lower case, that of a compression left out.
    pub(super) fn extension(&self) -> String {
        extension(&self.name)
    }
}

/// What is said of characters that were taken out of a text.
fn removed_note(removed: Removed, what: &str) -> Option<String> {
    let place = removed.first?;
    let (line, column) = (place.line.unwrap_or(1), place.column.unwrap_or(1));
    Some(match removed.count {
        1 => format!(
            "A {what} in the middle of the text was removed, in line {line}, column {column}."
        ),
        count => format!(
            "{count} {what}s in the middle of the text were removed; the first in line {line}, column {column}."
        ),
    })
}

/// A name's extension in lower case, that of a compression left out.
pub(super) fn extension(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let name = [".gz", ".zst"]
        .iter()
        .find_map(|packed| name.strip_suffix(packed))
        .unwrap_or(&name);
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    base.rsplit_once('.')
        .map_or(String::new(), |(_, extension)| extension.to_owned())
}
