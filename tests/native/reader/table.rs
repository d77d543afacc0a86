//! CSV as spreadsheets and people write it.

use encoding_rs::{SHIFT_JIS, WINDOWS_1252};
use reader::DatasetError;
use serde_json::json;

use super::records::{Records, read_one};

fn read(text: impl AsRef<[u8]>) -> Records {
    read_one("table.csv", text).unwrap()
}

#[test]
fn delimiters_are_found() {
    for (delimiter, format) in [
        (",", "CSV"),
        ("\t", "TSV"),
        (";", "CSV with semicolons"),
        ("|", "CSV with pipes"),
        ("^", "CSV with carets"),
        ("\u{1f}", "CSV with unit separators"),
    ] {
        let rows = ["prompt", "completion", "note"].join(delimiter)
            + "\r\n"
            + &["a, b", "c", ""]
                .map(|cell| format!("\"{cell}\""))
                .join(delimiter)
            + "\n"
            + &["d", "\"e \"\"f\"\"\"", "1;5"]
                .map(|cell| match cell {
                    "1;5" => "\"1;5\"".to_owned(),
                    cell => cell.to_owned(),
                })
                .join(delimiter);
        // By its content alone, and by its name.
        for name in ["table", "table.csv", "table.tsv"] {
            let records = read_one(name, &rows).unwrap();
            assert_eq!(records.kind(), (format, "UTF-8"), "{rows}");
            let expected = [
                json!({"prompt": "a, b", "completion": "c", "note": ""}),
                json!({"prompt": "d", "completion": "e \"f\"", "note": "1;5"}),
            ];
            assert_eq!(
                records.values(),
                expected.iter().collect::<Vec<_>>(),
                "{rows}"
            );
        }
    }
    let named = read("sep=#\nprompt#completion\na,b#c\n");
    assert_eq!(named.kind().0, "CSV with `#`");
    assert_eq!(
        *named.values()[0],
        json!({"prompt": "a,b", "completion": "c"})
    );
    assert_eq!(named.rows[0].0.line, Some(3));
}

#[test]
fn quotes_hold_line_breaks_and_rows_keep_their_lines() {
    let records = read("q,a\r\n\"one\r\ntwo\",x\r\n\r\n\"three\n\nfour, five\",\"y\"\r\nz,w");
    assert_eq!(
        records.field("q"),
        ["one\r\ntwo", "three\n\nfour, five", "z"]
    );
    let lines: Vec<_> = records.rows.iter().map(|(place, _)| place.line).collect();
    assert_eq!(lines, [Some(2), Some(5), Some(8)]);
    // Old Macs.
    let records = read("q,a\rb,c\r\rd,\"e\re\"\rf\rg,h\r");
    assert_eq!(records.field("q"), ["b", "d", "g"]);
    let lines: Vec<_> = records.rows.iter().map(|(place, _)| place.line).collect();
    assert_eq!(lines, [2, 4, 6, 7].map(Some));
    records.assert_faults(&[(6, 1, "1 cell, but")]);
}

#[test]
fn ragged_rows_are_faults_with_their_lines() {
    let records = read("q,a\nb,c\nd\ne,f,g\n\nh,i\n");
    assert_eq!(records.field("q"), ["b", "h"]);
    records.assert_faults(&[
        (3, 1, "1 cell, but the table has 2"),
        (4, 1, "3 cells, but the table has 2"),
    ]);
}

#[test]
fn a_quote_that_is_never_closed_takes_one_row() {
    for line_end in ["\n", "\r\n", "\r"] {
        let mut text = format!("q,a{line_end}\"open, but,x{line_end}");
        for row in 0..100 {
            text += &format!("b{row},c{row}{line_end}");
        }
        let records = read(&text);
        assert_eq!(records.field("q").len(), 100, "{line_end:?}");
        records.assert_faults(&[(2, 1, "never closed")]);
        assert_eq!(records.rows[100].0.line, Some(102), "{line_end:?}");
    }
}

#[test]
fn headers_may_be_absent_repeated_or_empty() {
    let records = read("1,2.5,good\n3,4.5,bad\n");
    assert_eq!(
        *records.values()[0],
        json!({"column 1": "1", "column 2": "2.5", "column 3": "good"})
    );
    let records = read("text,,text, Text ,\na,b,c,d,e\n");
    assert_eq!(
        *records.values()[0],
        json!({"text": "a", "column 2": "b", "text (2)": "c", "Text": "d", "column 5": "e"})
    );
    let records = read("text\na\nb\n\nc\n");
    assert_eq!(records.field("text"), ["a", "b", "c"]);
    // Questions and answers without names: the first row is one of them. A survey's questions are names.
    let records = read("What is it?,A thing.\nWho is it?,A man.\nWhere is it?,Here\n");
    assert_eq!(
        records.field("column 1"),
        ["What is it?", "Who is it?", "Where is it?"]
    );
    let records = read("Wo liegt Bonn?;Deutschland\nWo liegt Graz?;Österreich\n");
    assert_eq!(records.field("column 2"), ["Deutschland", "Österreich"]);
    for survey in [
        "How old are you?,Where do you live?\n31,Oslo\n47,Lima\n",
        "Time,Name,What do you want to know?\n2024-02-29,Ann,Why?\n2024-03-01,Bob,When?\n",
    ] {
        let records = read(survey);
        assert_eq!(records.rows.len(), 2, "{survey}");
    }
    let wide = vec!["c"; 5000].join(",") + "\n";
    let error = read_one("wide.csv", wide).err();
    assert!(matches!(
        error,
        Some(DatasetError::Table {
            num_columns: 5000,
            ..
        })
    ));
}

#[test]
fn encodings_of_spreadsheets_are_read() {
    let text = "Frage;Antwort\nWie heißt du?;Günter Größe – 5 €\nWarum?;Deshalb, schön\n";
    let utf16: Vec<u8> = "\u{feff}"
        .encode_utf16()
        .chain(text.replace(';', "\t").encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    for (bytes, encoding, format) in [
        (
            ["\u{feff}", text].concat().into_bytes(),
            "UTF-8",
            "CSV with semicolons",
        ),
        (
            WINDOWS_1252.encode(text).0.into_owned(),
            "windows-1252",
            "CSV with semicolons",
        ),
        (utf16, "UTF-16LE", "TSV"),
    ] {
        let records = read(&bytes);
        assert_eq!(records.kind(), (format, encoding));
        assert_eq!(
            *records.values()[0],
            json!({"Frage": "Wie heißt du?", "Antwort": "Günter Größe – 5 €"})
        );
    }
    let japanese = "質問,回答\nこんにちは、お元気ですか。,はい、元気です。\nお名前は何ですか。,私は田中と申します。\n";
    let records = read(SHIFT_JIS.encode(japanese).0);
    assert_eq!(records.kind(), ("CSV", "Shift_JIS"));
    assert_eq!(records.field("回答")[1], "私は田中と申します。");
}

#[test]
fn prose_is_no_table() {
    let prose =
        "First, we went out, and then home.\nIt was late, very late, though.\nSo, we slept.\n";
    let records = read_one("story", prose).unwrap();
    assert_eq!(records.kind().0, "plain text");
}
