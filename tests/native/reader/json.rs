//! JSON of all kinds to records, and the places of what is wrong in it.

use protocol::{Failure, FailureKind};
use reader::DatasetError;
use serde_json::json;

use super::records::read_one;

fn read(text: impl AsRef<[u8]>) -> super::records::Records {
    read_one("rows.jsonl", text).unwrap()
}

#[test]
fn broken_rows_spoil_no_others() {
    let records = read(concat!(
        "{\"text\": \"ok\"}\n",
        "\r\n",
        "{\"text\": \"żółw\", oops}\r\n",
        "[1, 2]\n",
        "7\n",
        "  {\"text\": \"b\", \"text\": \"c\"}  \n",
        "{\"a\": 1} {\"b\": 2}\n",
        "{\"text\": \"tab\there\"}\n",
        "{\"prompt\": \"a\", \"completion\": \"cut o",
    ));
    // A tab inside a text is kept.
    assert_eq!(records.field("text"), ["ok", "c", "tab\there"]);
    assert_eq!(records.kind(), ("JSONL", "UTF-8"));
    records.assert_faults(&[
        (3, 18, "not valid JSON"),
        (4, 1, "a list, not an object"),
        (5, 1, "a number, not an object"),
        (7, 10, "not valid JSON"),
        (9, 36, "the file ends inside this row"),
    ]);
}

#[test]
fn arrays_are_read_wherever_they_are() {
    let rows = "[\n {\"text\": \"a, ]\\\"\"},\n {\"text\":\n  \"b\"}, 7 ]";
    for (text, line) in [
        (rows.to_owned(), 4),
        (format!("\u{feff}\n\n {rows}\n\n"), 6),
        (
            format!("{{\"version\": [1, 2], \"data\": {rows}, \"meta\": {{\"x\": []}}}}"),
            4,
        ),
        (format!("{{\n\"data\": {rows}\n}}\n"), 5),
        (
            format!("{{\"n\": 1, \"rows\": {rows}, \"more\": [1, [{{}}]]}}"),
            4,
        ),
    ] {
        let records = read(&text);
        assert_eq!(records.field("text"), ["a, ]\"", "b"], "{text}");
        assert_eq!(records.kind().0, "JSON");
        assert_eq!(records.rows[2].0.line, Some(line), "{text}");
    }
}

#[test]
fn objects_over_lines_are_rows() {
    let one = read("{\n  \"messages\": [{\"role\": \"user\", \"content\": \"q\"}]\n}");
    assert_eq!(one.rows.len(), 1);
    let several = read("{\n  \"text\": \"a\"\n}\n{\n  \"text\":\n \"b\"\n}\n\n{\"text\": \"c\"}");
    assert_eq!(several.field("text"), ["a", "b", "c"]);
    let lines: Vec<_> = several.rows.iter().map(|(place, _)| place.line).collect();
    assert_eq!(lines, [Some(1), Some(4), Some(9)]);
    let row = read("{\"prompt\": \"p\", \"completion\": \"c\"}");
    assert_eq!(*row.values()[0], json!({"prompt": "p", "completion": "c"}));
}

#[test]
fn an_object_with_several_arrays_or_none_is_refused() {
    for (text, what) in [
        (
            "{\"a\": [{}], \"b\": [{}]}",
            "several arrays of objects (\"a\" and \"b\")",
        ),
        ("{\"a\": 1,\n \"b\": {\"c\": [{}]}}", "without an array"),
    ] {
        let error = read_one("x.json", text).err().unwrap();
        assert!(matches!(error, DatasetError::NoArray { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
    for text in ["[{\"a\":\n 1}] x", "[{\"a\": 1}}"] {
        let error = read_one("x.json", text).err();
        assert!(
            matches!(error, Some(DatasetError::Json { .. })),
            "{text} {error:?}"
        );
    }
}

#[test]
fn a_cut_array_loses_its_last_row_only() {
    let records = read("[{\"text\": \"a\"},\n{\"text\": \"b\"},\n{\"text\": \"c");
    assert_eq!(records.field("text"), ["a", "b"]);
    records.assert_faults(&[(3, 11, "the file ends inside this row")]);
    let records = read("[{\"text\": \"a\"},\n");
    records.assert_faults(&[(2, 1, "ends where another row should follow")]);
    let records = read("[{\"text\": \"a\"},,{\"text\": \"b\"},]");
    records.assert_faults(&[(1, 16, "only a comma")]);
    assert!(
        records.notes[0].1.contains("Extra commas"),
        "{:?}",
        records.notes
    );
    assert!(read("[]").rows.is_empty());
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    let records = read(r#"{"text": "a\ud83d\ude00b\ud800c\udc00\\ud800\uD83D\ud83d\ude00"}"#);
    assert_eq!(
        records.field("text"),
        ["a😀b\u{fffd}c\u{fffd}\\ud800\u{fffd}😀"]
    );
}

#[test]
fn rows_too_long_or_too_deep_are_faults() {
    let deep = format!("{{\"text\": {}1{}}}\n", "[".repeat(64), "]".repeat(64));
    let long = format!("{{\"text\": \"{}\"}}\n", "x".repeat(16 << 20));
    let many = format!("{{\"id\": 1, \"text\": [{}0]}}\n", "0,".repeat(100_000));
    let text = [&deep, &long, "{\"text\": \"ok\"}"].concat();
    let records = read(&text);
    assert_eq!(records.field("text"), ["ok"]);
    // The outermost bracket is the row's own.
    let column = "{\"text\": ".len() + 64;
    records.assert_faults(&[
        (1, column, "deeper than 64"),
        (2, 1, "more than the 16777216"),
    ]);
    let [(_, Err(fault))] = &read(&many).rows[..] else {
        panic!("too many values");
    };
    assert!(fault.what.contains("values"), "{fault:?}");
}

/// Rows are found again after each slice, and keep their lines.
#[test]
fn rows_that_cross_slices_are_whole() {
    let row = |index: usize| {
        let text = "ł\\\"}, {".repeat(index % 997);
        format!("{{\"id\": {index}, \"text\": \"{text}\"}}")
    };
    let rows: Vec<String> = (0..2000).map(row).collect();
    for text in [
        rows.join("\n"),
        format!("[{}]", rows.join(",\n")),
        format!("{{\"data\":[{}]}}", rows.join(",\n")),
    ] {
        let records = read_one("rows.json", text).unwrap();
        assert_eq!(records.rows.len(), rows.len());
        for (index, (place, row)) in records.rows.iter().enumerate() {
            let row = row.as_ref().unwrap();
            assert_eq!((place.line, &row["id"]), (Some(index + 1), &json!(index)));
            let expected = "ł\"}, {".repeat(index % 997);
            assert_eq!(row["text"], expected);
        }
    }
}

#[test]
fn encodings_are_told_by_their_mark_or_their_bytes() {
    let text = "{\"text\": \"naïve 🙂\"}\n{\"text\": \"b\"}";
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    };
    let (little, big) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
    for (bytes, encoding) in [
        (["\u{feff}", text].concat().into_bytes(), "UTF-8"),
        ([&[0xFF, 0xFE], little.as_slice()].concat(), "UTF-16LE"),
        ([&[0xFE, 0xFF], big.as_slice()].concat(), "UTF-16BE"),
        (little.clone(), "UTF-16LE"),
        (big, "UTF-16BE"),
    ] {
        let records = read(&bytes);
        assert_eq!(records.field("text"), ["naïve 🙂", "b"]);
        assert_eq!(records.kind().1, encoding);
    }
    let latin1 = read(b"{\"text\": \"a\"}\n{\"text\": \"na\xEFve caf\xE9\"}");
    assert_eq!(latin1.field("text"), ["a", "naïve café"]);
    assert_eq!(latin1.kind().1, "windows-1252");
    let odd = [&[0xFF, 0xFE], little.as_slice(), b"x"].concat();
    let records = read(odd);
    assert_eq!(records.field("text")[0], "naïve 🙂");
    assert_eq!(records.notes.len(), 1);
}

/// One broken byte in a long text of UTF-8 spoils its own row alone.
#[test]
fn a_stray_byte_is_a_fault_of_its_row() {
    let mut bytes = "{\"text\": \"żółw łódź\"}\n".repeat(100).into_bytes();
    bytes.extend(b"{\"text\": \"a\xFFb\"}\n{\"text\": \"ok\"}\n");
    let records = read(&bytes);
    assert_eq!(records.field("text").len(), 101);
    records.assert_faults(&[(101, 12, "not valid UTF-8")]);
    assert!(
        records.notes[0].1.contains("line 101, column 12"),
        "{:?}",
        records.notes
    );
}

/// U+FFFD that stands in the file itself is no fault, whatever was wrong before it.
#[test]
fn only_rows_that_cannot_be_decoded_are_faults() {
    let mut bytes = "{\"text\": \"żółw łódź\"}\n".repeat(100).into_bytes();
    bytes.extend(b"{\"text\": \"a\xFFb\"}\n");
    bytes.extend("{\"text\": \"a\u{fffd}b\"}\n".repeat(30_000).bytes());
    bytes.extend("  {\"text\": \"\u{fffd}\u{fffd}".bytes());
    bytes.extend(b"\xFE\xFF\"}\n{\"text\": \"\xEF\xBF\xBD\"}\n");
    let array = |bytes: &[u8]| {
        let rows: Vec<&[u8]> = bytes
            .trim_ascii_end()
            .split(|&byte| byte == b'\n')
            .collect();
        [b"[\n", rows.join(&b",\n"[..]).as_slice(), b"\n]"].concat()
    };
    for (bytes, before) in [(array(&bytes), 1), (bytes, 0)] {
        let records = read(&bytes);
        assert_eq!(records.field("text").len(), 30_101);
        records.assert_faults(&[
            (101 + before, 12, "not valid UTF-8"),
            (30_102 + before, 15, "not valid UTF-8"),
        ]);
    }
}

/// As pandas writes tables, by `orient="index"` and without being told.
#[test]
fn tables_of_pandas_are_turned_into_rows() {
    let index = "{\"0\":{\"prompt\":\"p: {\\\"0\\\"}\",\"n\":[1,{\"x\":2}]},\n \"1\":{\"n\":null,\"prompt\":\"q\"}, \"7\": 5}";
    let records = read(index.replace(", \"7\": 5", ""));
    assert_eq!(records.kind().0, "JSON");
    let expected = [
        json!({"prompt": "p: {\"0\"}", "n": [1, {"x": 2}]}),
        json!({"prompt": "q", "n": null}),
    ];
    assert_eq!(records.values(), expected.iter().collect::<Vec<_>>());
    let places: Vec<_> = records
        .rows
        .iter()
        .map(|(place, _)| (place.line, place.column))
        .collect();
    assert_eq!(places, [(Some(1), Some(6)), (Some(2), Some(6))]);
    // By any names, and a single row by its number.
    for text in [
        "{\"x\": {\"text\": \"a\"}, \"y\": {\"text\": \"b\"}}",
        "{\"10\": {\"text\": \"a\"}}",
    ] {
        assert_eq!(read(text).field("text")[0], "a", "{text}");
    }
    // Rows are faults each by itself.
    let records = read(
        "{\"0\": {\"text\": \"a\"}, \"1\": {\"text\": oops}, \"2\": {\"text\": \"c\"}, \"3\": {\"te",
    );
    assert_eq!(records.field("text"), ["a", "c"]);
    records.assert_faults(&[
        (1, 36, "not valid JSON"),
        (1, 71, "the file ends inside this row"),
    ]);

    let columns =
        "{\"prompt\":{\"0\":\"p\",\"1\":\"q\"},\n\"completion\":{\"0\":\"c\",\"1\":null}}";
    let records = read(columns);
    let expected = [
        json!({"prompt": "p", "completion": "c"}),
        json!({"prompt": "q", "completion": null}),
    ];
    assert_eq!(records.values(), expected.iter().collect::<Vec<_>>());
    let records = read("{\"text\": {\"0\": \"a\", \"1\": \"b\"}}");
    assert_eq!(records.field("text"), ["a", "b"]);

    // What only looks like it.
    for text in [
        index.to_owned(),
        "{\"a\": {\"x\": 1}, \"b\": {\"y\": 1}}".to_owned(),
        "{\"a\": {\"x\": 1}}".to_owned(),
        "{\"a\": {}, \"b\": {}}".to_owned(),
        "{\"a\": {\"x\": 1}, \"b\": [{\"x\": 1}], \"c\": [{}]}".to_owned(),
    ] {
        let error = read_one("x.json", &text).err();
        assert!(
            matches!(error, Some(DatasetError::NoArray { .. })),
            "{text}: {error:?}"
        );
    }
    let row = read("{\"prompt\": {\"content\": \"p\"},\n \"completion\": {\"content\": \"c\"}}");
    assert_eq!(row.rows.len(), 1);
}

/// Columns are held as a whole, rows are not.
#[test]
fn a_table_of_columns_may_not_be_large() {
    let column = |num_rows: usize, text: &str| -> String {
        let cells: Vec<_> = (0..num_rows)
            .map(|row| format!("\"{row}\": \"{text}\""))
            .collect();
        format!("{{\"text\": {{{}}}}}", cells.join(","))
    };
    assert_eq!(read(column(110_000, "a")).rows.len(), 110_000);
    let text = column(4000, &"x".repeat(17_000));
    let failure = Failure::from(read_one("x.json", text).err().unwrap());
    assert!(failure.what.contains("too large"), "{failure:?}");
    let remedy = failure.remedy.unwrap();
    assert!(remedy.contains("orient=\"records\""), "{remedy}");
    let rows: Vec<_> = (0..300_000)
        .map(|row| format!("\"{row}\":{{\"text\":\"{row}\"}}"))
        .collect();
    let records = read(format!("{{{}}}", rows.join(",")));
    assert_eq!(records.field("text")[299_999], "299999");
}

#[test]
fn other_files_are_named() {
    let cases: [(&[u8], &str); 16] = [
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG picture"),
        (b"%PDF-1.7\n%\xE2\xE3", "a PDF document"),
        (b"PK\x03\x04abc", "directory is damaged"),
        (b"\x1F\x8B\x08\0", "cannot be decompressed"),
        (b"PAR1\x15\x04", "cut off"),
        (b"GGUF\x03\0\0\0", "GGUF model"),
        (b"\x28\xB5\x2F\xFD\x00", "cannot be decompressed"),
        (b"7z\xBC\xAF\x27\x1C\0\x04", "7-Zip"),
        (b"SQLite format 3\0", "SQLite"),
        (b"{\"a\": \0\x01\x02\x03\x04}", "binary"),
        (b"\xFF\xFE\0\0{\0\0\0", "UTF-32"),
        (b"- prompt: a\n  completion: b\n", "YAML"),
        (b"<rows><row/></rows>", "XML"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
    ];
    for (bytes, expected) in cases {
        let error = read_one("file", bytes).err().unwrap();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        let failure = Failure::from(error);
        assert_eq!(failure.kind, FailureKind::Dataset);
        assert!(
            failure.remedy.is_some() && failure.place.is_some(),
            "{failure:?}"
        );
    }
}
