//! Dataset files: what is read, what is refused and where.

use engine::{
    data::{
        Encoder, Example,
        format::{self, Dataset, DatasetError},
    },
    protocol::{DataSpec, Failure, FailureKind, RowShape, TrainOn},
    template::ChatTemplate,
    weights::checkpoint::NamedSource,
};
use proptest::prelude::*;

use crate::golden::model_tokenizer;

fn read_files(files: &[(&str, &[u8])]) -> Result<Dataset, DatasetError> {
    let files: Vec<NamedSource> = files
        .iter()
        .map(|(name, bytes)| NamedSource {
            name: (*name).to_owned(),
            source: Box::new(bytes.to_vec()),
        })
        .collect();
    futures_executor::block_on(format::read(&files, &mut |_, _| {}))
}

fn read(text: impl AsRef<[u8]>) -> Result<Dataset, DatasetError> {
    read_files(&[("rows.jsonl", text.as_ref())])
}

fn texts(dataset: &Dataset) -> Vec<(usize, String)> {
    dataset
        .rows
        .iter()
        .map(|row| {
            let target = row.example.targets(TrainOn::default()).join("|");
            (row.row, target)
        })
        .collect()
}

/// Row, line, column and a part of the reason of every problem.
fn assert_problems(dataset: &Dataset, expected: &[(usize, usize, usize, &str)]) {
    let problems = &dataset.summary.problems;
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, (row, line, column, what)) in problems.iter().zip(expected) {
        assert_eq!(problem.row, *row, "{problem:?}");
        assert_eq!(problem.line, Some(*line), "{problem:?}");
        assert_eq!(problem.column, Some(*column), "{problem:?}");
        assert!(problem.what.contains(what), "{problem:?}");
        assert!(!problem.remedy.is_empty());
    }
}

#[test]
fn every_shape_is_read_row_by_row() {
    let dataset = read(concat!(
        "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"},",
        " {\"role\": \"user\", \"content\": \"r\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n",
        "\n",
        "{\"prompt\": \"p\", \"completion\": \"c\", \"more\": 1}\r\n",
        "{\"text\": \"t\", \"messages\": null}\n",
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": \"y\"}],",
        " \"completion\": [{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"z\"}]}]}\n",
        "  {\"text\": \"t\"}",
    ))
    .unwrap();
    let expected = [(0, "a|b"), (1, "c"), (2, "t"), (3, "z"), (4, "t")];
    assert_eq!(
        texts(&dataset),
        expected.map(|(row, text)| (row, text.to_owned()))
    );
    let summary = &dataset.summary;
    assert_eq!(
        (
            summary.num_rows,
            summary.num_usable_rows,
            summary.num_duplicates
        ),
        (5, 5, 1)
    );
    assert_eq!(
        summary.shapes,
        [
            (RowShape::PromptCompletion, 2),
            (RowShape::Text, 2),
            (RowShape::Messages, 1)
        ]
    );
    assert_eq!(
        (
            summary.first_rows[0].prompt.as_str(),
            summary.first_rows[0].num_turns
        ),
        ("r", 4)
    );
    assert_eq!(dataset.row(3).map(|row| row.row), Some(3));
    assert_eq!(dataset.list(1, 2).len(), 2);
}

/// The page's own sample: every row is sound, new, and short enough for a quick run.
#[test]
fn the_sample_is_sound() {
    let sample = include_bytes!("../../../app/assets/sample.jsonl");
    let dataset = read(sample).unwrap();
    let summary = &dataset.summary;
    assert_eq!(
        (
            summary.num_usable_rows,
            summary.num_problems,
            summary.num_duplicates
        ),
        (60, 0, 0)
    );
    for row in &dataset.rows {
        let answer = row.example.targets(TrainOn::default()).concat();
        assert!(answer.ends_with(" — Wick, at the light."), "{answer}");
        assert!((40..120).contains(&answer.chars().count()), "{answer}");
    }
    let Some((tokenizer, model)) = model_tokenizer("the_sample_is_sound") else {
        return;
    };
    let template = ChatTemplate::new(&model.chat_template.unwrap(), &tokenizer).unwrap();
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: Some(&template),
    };
    let spec = DataSpec {
        max_seq_length: 128,
        ..DataSpec::default()
    };
    for row in &dataset.rows {
        let (sequence, num_cut) = encoder.encode(row, &spec).unwrap();
        assert!(num_cut == 0 && (40..=80).contains(&sequence.ids.len()));
    }
}

#[test]
fn refused_rows_are_placed_and_counted() {
    let dataset = read(concat!(
        "{\"text\": \"ok\"}\n",
        "{\"text\": 5}\n",
        "\n",
        "{\"text\": \"żółw\", oops}\n",
        "[1, 2]\n",
        "  {\"prompt\": \"a\"}\n",
        "{\"conversations\": []}\n",
        "{\"id\": 1, \"messages\": [{\"role\": \"human\", \"content\": \"a\"}]}\n",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n",
        "{}\n",
        "{\"prompt\": \"a\", \"completion\": \"cut o",
    ))
    .unwrap();
    assert_problems(
        &dataset,
        &[
            (1, 2, 2, "a number, not a string"),
            (2, 4, 18, "no valid JSON"),
            (3, 5, 1, "a list, not an object"),
            (4, 6, 4, "no `completion`"),
            (5, 7, 2, "ShareGPT"),
            (6, 8, 11, "the role \"human\""),
            (7, 9, 2, "nothing to learn"),
            (8, 10, 1, "no field"),
            (9, 11, 36, "the file ends inside this row"),
        ],
    );
    assert_eq!(
        (dataset.summary.num_rows, dataset.summary.num_problems),
        (10, 9)
    );
}

#[test]
fn arrays_are_read_wherever_they_are() {
    let rows = "[\n {\"text\": \"a, ]\\\"\"},\n {\"text\":\n  \"b\"}, 7 ]";
    let expected = [(0, "a, ]\"".to_owned()), (1, "b".to_owned())];
    for text in [
        rows.to_owned(),
        format!("{{\"version\": [1, 2], \"data\": {rows}, \"meta\": {{\"x\": []}}}}"),
        format!("{{\n\"data\": {rows}\n}}\n"),
    ] {
        let dataset = read(&text).unwrap();
        assert_eq!(texts(&dataset), expected, "{text}");
        let (line, shift) = (
            text.matches('\n').count().min(4),
            usize::from(text.starts_with("{\n")),
        );
        assert_eq!(dataset.summary.problems[0].line, Some(line.max(4) + shift));
    }
    let one = read("{\n  \"messages\": [{\"role\": \"user\"}]\n}").err();
    assert!(matches!(one, Some(DatasetError::NoArray { .. })), "{one:?}");
    let two = read("{\"a\": [{}], \"b\": [{}]}").err();
    assert!(matches!(two, Some(DatasetError::NoArray { .. })), "{two:?}");
}

#[test]
fn a_cut_array_loses_its_last_row_only() {
    let dataset = read("[{\"text\": \"a\"},\n{\"text\": \"b\"},\n{\"text\": \"c").unwrap();
    assert_eq!(dataset.rows.len(), 2);
    assert_problems(&dataset, &[(2, 3, 11, "the file ends inside this row")]);
    let dataset = read("[{\"text\": \"a\"},\n").unwrap();
    assert_problems(&dataset, &[(1, 2, 1, "ends where a row should follow")]);
    let dataset = read("[{\"text\": \"a\"},,{\"text\": \"b\"},]").unwrap();
    assert_problems(
        &dataset,
        &[(1, 1, 16, "only a comma"), (3, 1, 31, "only a comma")],
    );
}

#[test]
fn rows_are_numbered_through_the_files() {
    let files: [(&str, &[u8]); 2] = [
        ("one.jsonl", b"{\"text\": \"a\"}\nnonsense\n"),
        ("two.json", b"[{\"text\": \"b\"}, {\"text\": \"a\"}]"),
    ];
    let dataset = read_files(&files).unwrap();
    let expected = [(0, "a"), (2, "b"), (3, "a")].map(|(row, text)| (row, text.to_owned()));
    assert_eq!(texts(&dataset), expected);
    assert_eq!(dataset.summary.problems[0].file, "one.jsonl");
    assert_eq!(dataset.summary.num_duplicates, 1);
    assert_eq!(
        dataset.summary.sha256,
        // sha256sum of both files' bytes, one after the other
        "2118cc719cd0e9a1dbd7f7ec9e99cea1573724a58eac484f21705170335fce50"
    );
}

#[test]
fn encodings_are_told_by_their_mark() {
    let text = "{\"text\": \"naïve 🙂\"}\n{\"text\": \"b\"}";
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        [0xFEFF]
            .into_iter()
            .chain(text.encode_utf16())
            .flat_map(to_bytes)
            .collect()
    };
    let with_mark = ["\u{feff}", text].concat().into_bytes();
    for bytes in [with_mark, utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
        let dataset = read(&bytes).unwrap();
        assert_eq!(
            dataset.rows[0].example,
            Example::Text("naïve 🙂".to_owned())
        );
        assert_eq!(dataset.summary.file_bytes, bytes.len() as u64);
    }
    let latin1 = read(b"{\"text\": \"a\"}\n{\"text\": \"na\xEFve\"}").unwrap_err();
    assert!(
        matches!(
            latin1,
            DatasetError::Encoding {
                line: 2,
                column: 13,
                ..
            }
        ),
        "{latin1:?}"
    );
    let bare: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = read(bare).unwrap_err();
    assert!(error.to_string().contains("UTF-16 without"), "{error}");
    let odd = [utf16(u16::to_le_bytes), vec![b'x']].concat();
    assert!(matches!(
        read(odd),
        Err(DatasetError::Encoding { line: 2, .. })
    ));
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    let dataset =
        read(r#"{"text": "a\ud83d\ude00b\ud800c\udc00\\ud800\uD83D\ud83d\ude00"}"#).unwrap();
    let expected = "a😀b\u{fffd}c\u{fffd}\\ud800\u{fffd}😀".to_owned();
    assert_eq!(dataset.rows[0].example, Example::Text(expected));
}

#[test]
fn other_files_are_named() {
    let deep = format!("{{\"text\": {}1{}}}", "[".repeat(64), "]".repeat(64));
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(16 << 20));
    let cases: [(&[u8], &str); 15] = [
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG picture"),
        (b"PK\x03\x04abc", "a zip archive"),
        (b"\x1F\x8B\x08\0", "gzip"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"GGUF\x03\0\0\0", "GGUF model"),
        (b"{\"a\": \0\x01\x02\x03\x04}", "binary"),
        (b"prompt,completion\na,b\nc,d\n", "CSV"),
        (b"prompt\tcompletion\na\tb\n", "TSV"),
        (b"- prompt: a\n  completion: b\n", "YAML"),
        (b"<rows><row/></rows>", "XML"),
        (b"Once upon a time\nthere was\n", "plain text"),
        (deep.as_bytes(), "deeper than 64"),
        (long.as_bytes(), "more than the 16777216"),
    ];
    for (bytes, expected) in cases {
        let error = read(bytes).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        let failure = Failure::from(error);
        assert_eq!(failure.kind, FailureKind::Dataset);
        assert!(
            failure.remedy.is_some() && failure.place.is_some(),
            "{failure:?}"
        );
    }
    let unusable = read("{\"a\": 1}\n{\"b\": 2}\n").unwrap_err();
    assert!(matches!(
        unusable,
        DatasetError::NoUsableRow { num_rows: 2, .. }
    ));
}

/// Reading any bytes ends in rows or an error, and rows are never more than lines or elements.
#[test]
fn nothing_panics() {
    let sample = concat!(
        "{\"messages\": [{\"role\": \"user\", \"content\": \"q\\ud83d\"}, {\"role\": \"assistant\", \"content\": \"é\"}]}\n",
        "{\"prompt\": \"p\", \"completion\": \"c\"}\n[{\"text\": \"t\"}, {\"a\": [1, {\"b\": null}]}]\n",
    );
    let edit = (0..sample.len(), any::<u8>(), 0..3u8);
    let edits = proptest::collection::vec(edit, 0..12);
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) }, |(edits in edits, cut in 0..sample.len())| {
        let mut bytes = sample.as_bytes()[..sample.len() - cut / 2].to_vec();
        for (place, byte, kind) in edits {
            let place = place.min(bytes.len() - 1);
            match kind {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, b"[]{},:\"\\\n u"[usize::from(byte) % 11]),
                _ => { bytes.remove(place); }
            }
        }
        if let Ok(dataset) = read(&bytes) {
            prop_assert_eq!(dataset.summary.num_rows, dataset.rows.len() + dataset.summary.num_problems);
        }
    });
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) }, |(bytes in proptest::collection::vec(any::<u8>(), 0..200))| {
        let _ = read(&bytes);
    });
}
