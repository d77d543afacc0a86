//! Files to their formats, by what is in them.

use std::{
    io::{self, Read, Seek},
    rc::Rc,
};

use protocol::TextSplit;

use super::{
    archive, arrow, companions,
    error::DatasetError,
    gzip::Gunzipped,
    json,
    output::Output,
    parquet, prose,
    record::Sink,
    sniff::{self, Content, Kind},
    source::{Bomb, Counting, Input, OddEnd, Plain, Stream},
    table,
    text_file::{self, TextFile},
    zstd::Unzstd,
};

/// Reads files in their order. Of several, the sink is told of those that cannot be read, and the others are.
///
/// # Errors
/// No file can be read at all. What was read before went to the sink.
pub fn read(
    inputs: &mut [Input],
    text_split: TextSplit,
    sink: &mut dyn Sink,
) -> Result<(), DatasetError> {
    if inputs.is_empty() {
        return Err(DatasetError::NoFiles);
    }
    let mut output = Output::new(sink);
    let skipped = companions::skipped(inputs);
    let num_inputs = skipped.iter().filter(|what| what.is_none()).count();
    let split = match text_split {
        TextSplit::Automatic if num_inputs > 1 => TextSplit::Document,
        split => split,
    };
    let labels = companions::features(inputs, &skipped);
    labels
        .into_iter()
        .for_each(|labels| output.describe_all(labels));
    let mut errors = Vec::new();
    for (input, skipped) in inputs.iter_mut().zip(skipped) {
        output.begin(input.num_bytes);
        if let Some(what) = skipped {
            output.note(&input.name, &format!("It was skipped, since {what}."));
            output.end();
            continue;
        }
        let file = Counting {
            source: input.source.as_mut(),
            count: output.count(),
            sign: output.sign(),
            num_silent: 0,
        };
        let read = read_file(&input.name, file, input.num_bytes, split, &mut output);
        if let Err(error) = read {
            if num_inputs > 1 {
                output.refused(&input.name, &error);
            }
            errors.push(error);
        }
        output.end();
    }
    match errors.len() {
        0 => Ok(()),
        num if num < num_inputs => Ok(()),
        1 => Err(errors.swap_remove(0)),
        _ => Err(DatasetError::NoneRead { errors }),
    }
}

fn read_file(
    name: &str,
    file: Counting,
    num_bytes: u64,
    split: TextSplit,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let mut plain = Plain { file, num_bytes };
    let (head, is_whole) = text_file::head(name, &mut plain)?;
    match sniff::content(&head, is_whole) {
        Content::Zip => archive::read(name, &mut plain.file, num_bytes, split, output),
        Content::Parquet => parquet::read(name, "", &mut plain.file, num_bytes, output),
        Content::Gzip => {
            let mut stream = Gunzipped {
                inner: &mut plain,
                most_read: Rc::default(),
            };
            read_stream(name, ", gzipped", &mut stream, split, output)
        }
        Content::Zstd => {
            let mut stream = Unzstd {
                inner: &mut plain,
                most_read: Rc::default(),
            };
            read_stream(name, ", compressed by zstd", &mut stream, split, output)
        }
        _ => read_stream(name, "", &mut plain, split, output),
    }
}

/// What a stream holds, once it is decompressed.
pub(super) enum Held {
    Parquet,
    Arrow,
    Text(TextFile, Kind),
}

/// Tells what a stream holds. `stored`: how it is stored, said after its format.
///
/// # Errors
/// Where that is nothing rows can be read from.
pub(super) fn held(
    name: &str,
    stored: &'static str,
    stream: &mut dyn Stream,
) -> Result<Held, DatasetError> {
    let file = || name.to_owned();
    let binary = |what: &str| {
        let what = what.to_owned();
        Err(DatasetError::Binary { file: file(), what })
    };
    let (head, is_whole) = text_file::head(name, stream)?;
    match sniff::content(&head, is_whole) {
        Content::Empty => Err(DatasetError::Empty { file: file() }),
        Content::Gzip | Content::Zstd => binary("compressed twice"),
        Content::Zip => binary("an archive inside another one"),
        Content::Other(what) => binary(what),
        Content::Parquet => Ok(Held::Parquet),
        Content::Arrow => Ok(Held::Arrow),
        Content::Text => {
            let text = TextFile::new(name, stored, (head, is_whole))?;
            match sniff::kind(&text) {
                Kind::Other(format) => Err(DatasetError::OtherFormat {
                    file: file(),
                    format,
                }),
                kind => Ok(Held::Text(text, kind)),
            }
        }
    }
}

/// Reads a stream. `stored`: how it is stored, said after its format.
pub(super) fn read_stream(
    name: &str,
    stored: &'static str,
    stream: &mut dyn Stream,
    split: TextSplit,
    output: &mut Output,
) -> Result<(), DatasetError> {
    match held(name, stored, stream)? {
        Held::Parquet => {
            let (bytes, is_followed) = whole(name, stream)?;
            let num_bytes = bytes.len() as u64;
            parquet::read(name, stored, &mut io::Cursor::new(bytes), num_bytes, output)?;
            if is_followed {
                output.note(name, text_file::FOLLOWED);
            }
            Ok(())
        }
        Held::Arrow => arrow::read(name, stored, stream, output),
        Held::Text(text, Kind::Json) => json::read(&text, stream, output),
        Held::Text(text, Kind::Table(dialect)) => table::read(&text, &dialect, stream, output),
        Held::Text(text, kind) => {
            let is_markdown = kind == Kind::Text { is_markdown: true };
            prose::read(&text, is_markdown, split, stream, output)
        }
    }
}

/// All of a stream, which is read at any place and so cannot be decompressed on the way. Its format is compressed
/// itself, so it hardly shrinks once more. Besides: whether something follows it.
fn whole(name: &str, stream: &mut dyn Stream) -> Result<(Vec<u8>, bool), DatasetError> {
    let most = 3 * stream.num_stored_bytes() + (32 << 20);
    let mut bytes = Vec::new();
    let read = stream.open().and_then(|input| {
        match input
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(OddEnd::of)
        {
            Ok(_) => Ok(false),
            Err(Ok(OddEnd::Followed)) => Ok(true),
            Err(Ok(end)) => Err(end.into()),
            Err(Err(error)) => Err(error),
        }
    });
    let is_followed = read.map_err(|error| DatasetError::reading(name, &error))?;
    if bytes.len() as u64 > most {
        return Err(DatasetError::Bomb {
            file: name.to_owned(),
            bomb: Bomb::Held(most),
        });
    }
    Ok((bytes, is_followed))
}

/// Bytes that can be read at any place.
pub(super) trait Seekable: Read + Seek {}

impl<T: Read + Seek> Seekable for T {}
