//! Reads plain text and Markdown into records with one field, `text`.

mod paragraph;

use std::io;

use protocol::TextSplit;
use serde_json::Value;

use self::paragraph::{Paragraph, Paragraphs};
use super::{
    error::DatasetError,
    output::Output,
    record::{CUT_OFF, Place, Record},
    source::Stream,
    text_file::TextFile,
    text_stream::{Line, TextStream},
};

/// Reads a text. Line breaks of all kinds become `\n`.
pub(super) fn read(
    about: &TextFile,
    is_markdown: bool,
    split: TextSplit,
    source: &mut dyn Stream,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let mut stream = about.open(source)?;
    let format = if is_markdown {
        "Markdown"
    } else {
        "plain text"
    };
    about.announce(format, output);
    let read = match split {
        TextSplit::Document => read_document(&mut stream, output),
        TextSplit::Automatic | TextSplit::Paragraph => {
            read_paragraphs(&mut stream, is_markdown, output)
        }
        TextSplit::Length { characters } => {
            read_pieces(&mut stream, is_markdown, characters.max(1), output)
        }
    };
    read.map_err(|error| DatasetError::reading(&about.name, &error))?;
    about.finish(&stream, output);
    Ok(())
}

fn emit(place: Place, text: &str, output: &mut Output) {
    output.record(Record {
        place,
        fields: vec![("text".to_owned(), Value::String(text.to_owned()))],
        text: None,
    });
}

fn refuse(place: Place, what: &str, most: usize, output: &mut Output) {
    let what = format!("{what} has more than the {most} bytes allowed");
    output.fault(place, what, "Split the text by length.");
}

/// Whether a paragraph cannot be used; if so, reports the reason.
fn is_refused(paragraph: &Paragraph, most: usize, output: &mut Output) -> bool {
    if paragraph.is_cut_off {
        output.fault(
            paragraph.place,
            "the file ends inside this paragraph",
            CUT_OFF,
        );
    } else if paragraph.is_too_long {
        refuse(paragraph.place, "the paragraph", most, output);
    }
    paragraph.is_cut_off || paragraph.is_too_long
}

fn read_document(stream: &mut TextStream, output: &mut Output) -> io::Result<()> {
    stream.skip_space()?;
    let place = stream.place();
    let most = stream.row_limit();
    let mut text = String::new();
    loop {
        let (len, is_last) = match stream.line(most)? {
            Line::Whole(len) => (len, false),
            Line::Last(len) => (len, true),
            Line::TooLong => (most + 1, true),
        };
        if text.len() + len > most {
            refuse(place, "the document", most, output);
            return Ok(());
        }
        let line = stream.text(len);
        text += line.strip_suffix('\r').unwrap_or(line);
        if is_last {
            break;
        }
        text.push('\n');
        stream.advance(len + 1);
    }
    match stream.decoder().is_cut_off() {
        true => output.fault(place, "the file ends inside this document", CUT_OFF),
        false => emit(place, text.trim_end(), output),
    }
    Ok(())
}

fn read_paragraphs(
    stream: &mut TextStream,
    is_markdown: bool,
    output: &mut Output,
) -> io::Result<()> {
    let row_limit = stream.row_limit();
    let mut paragraphs = Paragraphs::new(stream, is_markdown);
    while let Some(paragraph) = paragraphs.next()? {
        if !is_refused(&paragraph, row_limit, output) {
            emit(paragraph.place, &paragraph.text, output);
        }
    }
    Ok(())
}

/// Combines paragraphs up to `most` characters; longer ones are cut.
fn read_pieces(
    stream: &mut TextStream,
    is_markdown: bool,
    most: usize,
    output: &mut Output,
) -> io::Result<()> {
    let row_limit = stream.row_limit();
    let mut paragraphs = Paragraphs::new(stream, is_markdown);
    let mut piece = String::new();
    let (mut place, mut num_chars) = (Place::default(), 0);
    while let Some(paragraph) = paragraphs.next()? {
        if is_refused(&paragraph, row_limit, output) {
            continue;
        }
        let (mut rest, mut offset) = (paragraph.text.as_str(), 0);
        // Where the last piece began.
        let (mut last, mut last_place) = (0, paragraph.place);
        loop {
            let begin = rest.trim_start();
            offset += rest.len() - begin.len();
            rest = begin;
            let len = end_of_piece(rest, most, paragraph.is_code);
            let part = rest[..len].trim_end();
            let part_chars = part.chars().count();
            if !piece.is_empty() && num_chars + 2 + part_chars > most {
                emit(place, &piece, output);
                piece.clear();
            }
            if piece.is_empty() {
                last_place = last_place.further(&paragraph.text[last..], offset - last);
                (last, place) = (offset, last_place);
                num_chars = part_chars;
            } else {
                piece += "\n\n";
                num_chars += 2 + part_chars;
            }
            piece += part;
            rest = &rest[len..];
            offset += len;
            if rest.trim().is_empty() {
                break;
            }
            emit(place, &piece, output);
            piece.clear();
        }
    }
    if !piece.is_empty() {
        emit(place, &piece, output);
    }
    Ok(())
}

/// The length in bytes of the first piece of a paragraph: up to `most` characters, ending after a sentence, a line of
/// code or a word.
fn end_of_piece(text: &str, most: usize, is_code: bool) -> usize {
    let Some((limit, _)) = text.char_indices().nth(most) else {
        return text.len();
    };
    let fitting = &text[..limit];
    let is_boundary = text[limit..].starts_with(char::is_whitespace);
    let line = fitting.rfind('\n').filter(|_| is_code);
    let word = || match is_boundary {
        true => Some(limit),
        false => fitting.rfind(char::is_whitespace),
    };
    let sentence = || end_of_sentences(text, limit).filter(|_| !is_code);
    line.or_else(sentence)
        .or_else(word)
        .filter(|&len| len > 0)
        .unwrap_or(limit)
}

/// The end of the last sentence within the first `limit` bytes.
fn end_of_sentences(text: &str, limit: usize) -> Option<usize> {
    let ends = text[..limit].char_indices().rev();
    for (at, character) in ends {
        let after = at + character.len_utf8();
        let is_end = match character {
            '。' | '！' | '？' => true,
            '.' | '!' | '?' | '…' | '"' | '”' | '»' | ')' => {
                let is_followed = text[after..].starts_with(char::is_whitespace);
                let before = text[..at].chars().next_back();
                let is_quote = !matches!(character, '.' | '!' | '?' | '…');
                is_followed && (!is_quote || matches!(before, Some('.' | '!' | '?' | '…')))
            }
            _ => false,
        };
        if is_end {
            return Some(after);
        }
    }
    None
}
