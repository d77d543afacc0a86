//! Files in gzip and zip.

use protocol::TextSplit;
use reader::DatasetError;
use zip::CompressionMethod;

use super::{
    packing::{gzip, zip},
    records::{Records, fixture, read_one, read_split},
};

fn deflated(entries: &[(&str, &[u8])]) -> Vec<u8> {
    zip(entries, CompressionMethod::Deflated)
}

fn names(records: &Records) -> Vec<&str> {
    records
        .files
        .iter()
        .map(|(name, ..)| name.as_str())
        .collect()
}

fn error(name: &str, bytes: impl AsRef<[u8]>) -> DatasetError {
    read_one(name, bytes).err().unwrap()
}

const ROWS: &[u8] = b"{\"text\": \"a\"}\n{\"text\": \"b\"}\n";

#[test]
fn gzip_is_read_with_all_its_members() {
    let members = [gzip(ROWS), gzip(b"{\"text\": \"c\"}")].concat();
    let records = read_one("rows.jsonl.gz", &members).unwrap();
    assert_eq!(records.field("text"), ["a", "b", "c"]);
    assert_eq!(records.kind(), ("JSONL, gzipped", "UTF-8"));
    let table = read_one("t.csv.gz", gzip(b"q,a\n1x,2\n")).unwrap();
    assert_eq!(table.kind().0, "CSV, gzipped");
    let text = read_one("t.md.gz", gzip(b"# A\n\nb\n\n# C\nd")).unwrap();
    assert_eq!(text.kind().0, "Markdown, gzipped");
}

fn assert_note(records: &Records, what: &str) {
    let [(_, note)] = &records.notes[..] else {
        panic!("{:?}", records.notes);
    };
    assert!(note.contains(what), "{note}");
}

#[test]
fn gzip_that_is_cut_off_gives_its_whole_rows() {
    let row = |row: usize| format!("row {}", row * row);
    let objects: Vec<String> = (0..5000)
        .map(|index| format!("{{\"text\": \"{}\"}}", row(index)))
        .collect();
    let lines = objects.join("\n") + "\n";
    let csv: String = (0..5000)
        .map(|index| format!("{},\"{index} é\"\n", row(index)))
        .collect();
    let paragraphs: String = (0..5000).map(|index| row(index) + "\n\n").collect();
    for (name, text) in [
        ("x.jsonl.gz", lines.clone()),
        ("x.json.gz", format!("[{}]", objects.join(","))),
        (
            "x.json.gz",
            format!("{{\"data\": [{}]}}", objects.join(",")),
        ),
        ("x.csv.gz", "text,number\n".to_owned() + &csv),
        ("x.txt.gz", paragraphs),
    ] {
        let whole = gzip(text.as_bytes());
        for (len, is_all) in [
            (whole.len() - 4, true),
            (whole.len() / 2, false),
            (300, false),
        ] {
            let records = read_one(name, &whole[..len]).unwrap();
            assert_note(&records, "compressed data is cut off");
            let rows = records.field("text");
            for (index, text) in rows.iter().enumerate() {
                assert_eq!(**text, row(index), "{name}");
            }
            assert_eq!(rows.len() == 5000, is_all, "{name}");
            // The last one is told.
            let (_, last) = records.rows.last().unwrap();
            assert_eq!(last.is_err(), !is_all, "{name} {len}: {last:?}");
            assert_eq!(records.rows.len(), rows.len() + usize::from(!is_all));
            if let Err(fault) = last {
                assert!(fault.what.contains("the file ends"), "{fault:?}");
            }
        }
    }
    let two = [gzip(ROWS), gzip(lines.as_bytes())].concat();
    for len in [5, 12, 200] {
        let records = read_one("x.jsonl.gz", &two[..gzip(ROWS).len() + len]).unwrap();
        assert_eq!(records.field("text")[..2], ["a", "b"]);
        assert_note(&records, "cut off");
    }
    let packed = gzip(lines.as_bytes());
    let inside = deflated(&[("x.jsonl.gz", &packed[..1000])]);
    let records = read_one("x.zip", inside).unwrap();
    assert!(records.field("text").len() > 100);
    assert_note(&records, "cut off");
}

#[test]
fn what_follows_gzip_is_passed_over() {
    let parquet = fixture("parquet/none.parquet");
    for (name, content, num_rows) in [("x.jsonl.gz", ROWS, 2), ("x.parquet.gz", &parquet, 40)] {
        for (tail, is_told) in [
            (&b""[..], false),
            (&[0; 700_000], false),
            (b"\n", true),
            (b"garbage that is longer than a header", true),
            (b"\0\0\x1F\x8B\x08", true),
        ] {
            let records = read_one(name, [&gzip(content), tail].concat()).unwrap();
            assert_eq!(records.values().len(), num_rows, "{tail:?}");
            assert_eq!(records.notes.len(), usize::from(is_told), "{tail:?}");
            if is_told {
                assert_note(&records, "was skipped");
            }
        }
    }
}

#[test]
fn gzip_that_is_broken_or_far_too_large_is_refused() {
    let text: String = (0..5000)
        .map(|row| format!("{{\"text\": \"row {}\"}}\n", row * row))
        .collect();
    let whole = gzip(text.as_bytes());
    for bytes in [
        whole[..12].to_vec(),
        gzip(&fixture("parquet/none.parquet"))[..500].to_vec(),
    ] {
        let error = error("x.gz", bytes);
        assert!(matches!(error, DatasetError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("cut off"), "{error}");
    }
    let mut changed = whole.clone();
    let at = whole.len() - 6;
    changed[at] ^= 1;
    assert!(matches!(
        error("x.gz", &changed),
        DatasetError::Damaged { .. }
    ));
    let bomb = gzip(&vec![b' '; 64 << 20]);
    for len in [bomb.len(), bomb.len() - 4] {
        let error = error("x.gz", &bomb[..len]);
        assert!(matches!(error, DatasetError::Bomb { .. }), "{error:?}");
    }
    let twice = error("x.gz", gzip(&whole)).to_string();
    assert!(twice.contains("compressed twice"), "{twice}");
    assert!(matches!(
        error("x.gz", gzip(b"")),
        DatasetError::Empty { .. }
    ));
}

#[test]
fn the_tables_of_an_archive_are_read_in_order() {
    let inner = gzip(b"{\"text\": \"g\"}");
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let bytes = zip(
            &[
                ("data/", b""),
                ("data/test.jsonl", b"{\"text\": \"t\"}"),
                ("data/deep/er/a.csv", b"text,label\nc,1\n"),
                ("data/b.jsonl.gz", &inner),
                ("README.md", b"# About\n\nThis is a dataset."),
                ("data/cover.png", b"\x89PNG\r\n\x1a\n\0\0\0"),
                ("__MACOSX/data/._test.jsonl", b"\0\x05\x16\x07"),
                ("data/.DS_Store", b"\0\0\0\x01Bud1"),
            ],
            method,
        );
        let records = read_one("all.zip", &bytes).unwrap();
        assert_eq!(
            names(&records),
            [
                "all.zip/data/b.jsonl.gz",
                "all.zip/data/deep/er/a.csv",
                "all.zip/data/test.jsonl"
            ]
        );
        assert_eq!(records.field("text"), ["g", "c", "t"]);
        let notes: Vec<_> = records
            .notes
            .iter()
            .map(|(file, _)| file.as_str())
            .collect();
        assert_eq!(notes, ["all.zip/README.md", "all.zip/data/cover.png"]);
        assert_eq!(
            records.notes[1].1,
            "It was skipped: it is a PNG picture, not a dataset."
        );
    }
}

#[test]
fn texts_alone_in_an_archive_are_documents() {
    let bytes = deflated(&[("b.txt", b"one\n\ntwo"), ("a.md", b"# T\n\nthree")]);
    let records = read_one("texts.zip", &bytes).unwrap();
    assert_eq!(records.field("text"), ["# T\n\nthree", "one\n\ntwo"]);
    let files: [(&str, &[u8]); 1] = [("texts.zip", &bytes)];
    let cut = read_split(&files, TextSplit::Paragraph).unwrap();
    assert_eq!(cut.field("text"), ["# T\n\nthree", "one", "two"]);
}

#[test]
fn archives_that_hide_something_are_refused() {
    let flagged = |bytes: &[u8]| {
        // The flag of encryption, in both headers.
        let mut bytes = bytes.to_vec();
        let starts: Vec<usize> = (0..bytes.len() - 4)
            .filter(|&at| bytes[at..].starts_with(b"PK\x01\x02"))
            .collect();
        for start in starts {
            bytes[start + 8] |= 1;
        }
        bytes
    };
    let plain = deflated(&[("rows.jsonl", ROWS)]);
    let many: Vec<(String, &[u8])> = (0..1001)
        .map(|index| (format!("{index}.jsonl"), ROWS))
        .collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(name, bytes)| (name.as_str(), *bytes))
        .collect();
    for (bytes, what) in [
        (flagged(&plain), "encrypted"),
        (deflated(&[("../rows.jsonl", ROWS)]), "outside"),
        (deflated(&[("a/../../rows.jsonl", ROWS)]), "outside"),
        (zip(&many, CompressionMethod::Stored), "1001 entries"),
        (
            deflated(&[
                ("word/document.xml", b"<w/>"),
                ("[Content_Types].xml", b"<x/>"),
            ]),
            "a Word document",
        ),
        (
            deflated(&[("xl/workbook.xml", b"<w/>")]),
            "no sheet of the workbook holds rows",
        ),
        (
            deflated(&[("run/data.pkl", b"\x80\x02")]),
            "a PyTorch model",
        ),
        (
            deflated(&[("a.png", b"\x89PNG\r\n\x1a\n\0\0\0")]),
            "a PNG picture",
        ),
        (deflated(&[("folder/", b"")]), "no file with rows"),
        (plain[..plain.len() - 30].to_vec(), "directory is damaged"),
        (deflated(&[("inner.zip", &plain)]), "archive inside"),
    ] {
        let error = error("x.zip", bytes).to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
    let bomb = deflated(&[("rows.txt", &vec![b'a'; 64 << 20])]);
    assert!(matches!(error("x.zip", bomb), DatasetError::Bomb { .. }));
    // Together, though no entry is too large alone.
    let part = vec![b'\n'; 900 << 10];
    let parts = ["a.txt", "b.txt", "c.txt"].map(|name| (name, part.as_slice()));
    assert!(matches!(
        error("x.zip", deflated(&parts)),
        DatasetError::Bomb { .. }
    ));
    // A program before the archive does not matter.
    let installer = [b"MZ".as_slice(), &plain].concat();
    assert!(matches!(
        error("x.exe", installer),
        DatasetError::Binary { .. }
    ));
}

/// An object is read twice, once to find its array.
#[test]
fn an_entry_that_is_read_twice_counts_once() {
    let rows = vec!["{\"text\": \"the same row again and again\"}"; 10_000].join(",\n");
    let object = format!("{{\"data\": [{rows}]}}");
    assert!(2 * object.len() < 1 << 20 && 3 * object.len() > 1 << 20);
    let bytes = deflated(&[("a.json", object.as_bytes()), ("b.json", object.as_bytes())]);
    let records = read_one("x.zip", bytes).unwrap();
    assert_eq!(records.rows.len(), 20_000);
}

#[test]
fn an_entry_that_is_broken_is_told() {
    let text: String = (0..3000)
        .map(|row| format!("{{\"text\": \"{}\"}}\n", row * 7919))
        .collect();
    let mut bytes = deflated(&[("rows.jsonl", text.as_bytes())]);
    bytes[2000] ^= 0x10;
    let error = error("x.zip", &bytes);
    assert!(matches!(error, DatasetError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().starts_with("x.zip/rows.jsonl"));
}
