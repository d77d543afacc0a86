//! JSON that was encoded twice: the whole text is one string, which holds the rows.

use std::io::{self, Cursor, Read};

use formats::text::parse_json;

use super::Line;
use crate::{
    error::DatasetError,
    output::Output,
    source::Stream,
    text_file::{HEAD_BYTES, TextFile},
    text_stream::TextStream,
};

const MAX_BYTES: usize = 16 << 20;

/// What the one string holds that a text consists of; `None` where the text is anything else.
pub(super) fn unpacked(stream: &mut TextStream) -> io::Result<Option<String>> {
    stream.skip_space()?;
    let (Line::Whole(len) | Line::Last(len)) = stream.line(MAX_BYTES)? else {
        return Ok(None);
    };
    let inner: Option<String> = parse_json(stream.text(len)).ok();
    stream.advance(len);
    let is_all = !stream.skip_space()?;
    Ok(inner.filter(|inner| is_all && inner.trim_start().starts_with(['{', '['])))
}

/// Reads the rows inside.
pub(super) fn read(
    about: &TextFile,
    inner: String,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let mut inner = Held(inner.into_bytes());
    let head = inner.0[..inner.0.len().min(HEAD_BYTES)].to_vec();
    let is_whole = head.len() == inner.0.len();
    let text = TextFile::new(&about.name, about.stored, (head, is_whole))?;
    super::read(&text, &mut inner, output)?;
    output.note(
        &about.name,
        "JSON inside a string was unpacked: the file is one string.",
    );
    Ok(())
}

struct Held(Vec<u8>);

impl Stream for Held {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Cursor::new(&self.0)))
    }

    fn num_stored_bytes(&self) -> u64 {
        self.0.len() as u64
    }
}
