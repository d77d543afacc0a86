//! Arrow files and streams as `datasets` and pyarrow leave them, zstd around any file, and names of labels. The files were
//! made by `tests/reference/spreadsheets.py`.

use protocol::TextSplit;
use reader::DatasetError;
use serde_json::{Value, json};

use super::{
    packing::zip,
    records::{fixture, notes, read_one, read_split},
};

fn arrow(name: &str) -> Vec<u8> {
    fixture(&format!("arrow/{name}"))
}

fn saved(row: usize) -> Value {
    let label = ["calm", "storm", "calm", "storm", "", "calm"][row];
    let label = if label.is_empty() {
        Value::Null
    } else {
        json!(label)
    };
    let tags = [
        json!(["wind", "rain"]),
        json!([]),
        Value::Null,
        json!(["rain"]),
        json!(["wind"]),
        json!(["wind"]),
    ];
    json!({
        "text": format!("bay {row}"),
        "label": label,
        "tags": tags[row],
        "messages": [{"role": "user", "content": format!("q{row}")}, {"role": "assistant", "content": "ä".repeat(row)}],
    })
}

#[test]
fn a_folder_of_save_to_disk_is_read_shard_by_shard() {
    let names = [
        "data-00000-of-00002.arrow",
        "data-00001-of-00002.arrow",
        "dataset_info.json",
        "state.json",
    ];
    let bytes = names.map(arrow);
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .copied()
        .zip(bytes.iter().map(Vec::as_slice))
        .collect();
    let records = read_split(&files, TextSplit::Automatic).unwrap();
    let expected: Vec<Value> = (0..6).map(saved).collect();
    assert_eq!(records.values(), expected.iter().collect::<Vec<_>>());
    assert_eq!(records.files[0].1, "Arrow");
    assert_eq!(
        notes(&records),
        [
            "Label names replaced 3 numbers in \"label\", as the dataset's metadata says: calm, storm.",
            "Label names replaced 2 numbers in \"tags\", as the dataset's metadata says: wind, rain.",
            "Label names replaced 2 numbers in \"label\", as the dataset's metadata says: calm, storm.",
            "Label names replaced 3 numbers in \"tags\", as the dataset's metadata says: wind, rain.",
            "It was skipped, since it describes the dataset.",
            "It was skipped, since it describes the dataset.",
        ]
    );
    // By another name, and in a zip.
    assert_eq!(read_one("file", &bytes[0]).unwrap().rows.len(), 3);
    let packed = zip(
        &[("a.arrow", &bytes[0]), ("b.arrow", &bytes[1])],
        ::zip::CompressionMethod::Deflated,
    );
    assert_eq!(read_one("a.zip", packed).unwrap().rows.len(), 6);
}

#[test]
fn all_types_are_read_under_every_compression() {
    let expected = [
        json!({
            "text": "a", "large": "x", "view": "short", "word": "one", "flag": true, "small": -1, "big": u64::MAX,
            "half": -3.140625, "single": 0.1, "double": 1e300, "day": "2024-02-29", "moment": "2024-02-29T12:34:56.5",
            "instant": "2024-02-29T12:34:56.5Z", "time": "01:02:03.000004", "price": "-0.05", "list": [1, null],
            "pair": [1, 2], "struct": {"a": "x", "b": [1.5]}, "map": {"k": 1}, "bytes": null, "fixed": "abcd",
            "nothing": null, "length": 1,
        }),
        json!({
            "text": null, "large": "żółw", "view": "a text of more than twelve bytes", "word": "two", "flag": null, "small": 2,
            "big": 0, "half": null, "single": null, "double": null, "day": null, "moment": null, "instant": null, "time": null,
            "price": null, "list": [], "pair": [3, 4], "struct": {"a": null, "b": null}, "map": {}, "bytes": "words",
            "fixed": null, "nothing": null, "length": 2,
        }),
        json!({
            "text": "c", "large": null, "view": null, "word": "one", "flag": false, "small": null, "big": null, "half": 1.0,
            "single": null, "double": -0.5, "day": null, "moment": "2024-02-29T12:34:56.5", "instant": "2024-02-29T12:34:56.5Z",
            "time": null, "price": "12.30", "list": null, "pair": null, "struct": null, "map": null, "bytes": null,
            "fixed": "efgh", "nothing": null, "length": null,
        }),
    ];
    for codec in ["uncompressed", "lz4", "zstd"] {
        let records = read_one("types.arrow", arrow(&format!("types.{codec}.arrow"))).unwrap();
        for (row, expected) in records.values().into_iter().zip(&expected) {
            assert_eq!(row, expected, "{codec}");
        }
        assert_eq!(records.rows.len(), 3);
        assert_eq!(
            notes(&records),
            ["1 value of the column \"bytes\" are not valid text, and were left out."]
        );
    }
    let growing = read_one("growing.arrow", arrow("growing.arrow")).unwrap();
    assert_eq!(
        growing.field("word"),
        ["one", "one", "two", "one", "two", "three", "four"]
    );
}

#[test]
fn arrow_that_is_damaged_is_refused_or_read_as_far_as_it_goes() {
    let whole = arrow("data-00000-of-00002.arrow");
    let cut = read_one("a.arrow", &whole[..whole.len() - 100]).unwrap();
    assert!(notes(&cut)[0].contains("cut off"), "{:?}", cut.notes);
    let mut odd = whole.clone();
    // The schema's length.
    odd[4..8].copy_from_slice(&[0xF0, 0xFF, 0xFF, 0x7F]);
    assert!(read_one("a.arrow", &odd).is_err());
    let error = read_one("a.arrow", b"ARROW1\0\0").err();
    assert!(
        matches!(error, Some(DatasetError::Arrow { .. })),
        "{error:?}"
    );
}

#[test]
fn zstd_is_unpacked_around_anything() {
    for (name, count) in [
        ("rows.jsonl.zst", 3),
        ("table.csv.zst", 2),
        ("frames.jsonl.zst", 3),
    ] {
        let records = read_one(name, fixture(&format!("zstd/{name}"))).unwrap();
        assert_eq!(records.rows.len(), count, "{name}");
        assert!(
            records.kind().0.ends_with(", compressed by zstd"),
            "{:?}",
            records.files
        );
        records.assert_faults(&[]);
    }
    let parquet = read_one("types.parquet.zst", fixture("zstd/none.parquet.zst")).unwrap();
    assert_eq!(parquet.rows.len(), 40);
    let packed = zip(
        &[("a.jsonl.zst", &fixture("zstd/rows.jsonl.zst"))],
        ::zip::CompressionMethod::Stored,
    );
    assert_eq!(read_one("a.zip", packed).unwrap().rows.len(), 3);
    // Cut off: what is whole is read, and a note says the rest.
    let whole = fixture("zstd/frames.jsonl.zst");
    let cut = read_one("a.zst", &whole[..whole.len() - 3]).unwrap();
    assert!(
        notes(&cut).iter().any(|note| note.contains("cut off")),
        "{:?}",
        cut.notes
    );
    let followed = read_one("a.zst", [whole.as_slice(), b"junk"].concat()).unwrap();
    assert_eq!(followed.rows.len(), 3);
    assert!(
        notes(&followed)[0].contains("not compressed"),
        "{:?}",
        followed.notes
    );
    let bomb = read_one("a.zst", fixture("zstd/bomb.zst")).err();
    assert!(matches!(bomb, Some(DatasetError::Bomb { .. })), "{bomb:?}");
}

#[test]
fn names_of_labels_come_from_files_beside() {
    let rows = b"{\"text\": \"calm bay\", \"label\": 0}\n{\"text\": \"storm again\", \"label\": 1}\n{\"text\": \"odd\", \"label\": 7}\n";
    let infos = br#"{"default": {"features": {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["calm", "storm"], "_type": "ClassLabel"}}}}"#;
    let card = b"---\nlicense: mit\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': calm\n          '1': storm\n  splits:\n  - name: train\n---\n# Seas\n";
    for (name, beside) in [
        ("dataset_infos.json", infos.as_slice()),
        ("README.md", card.as_slice()),
    ] {
        let records = read_split(
            &[("rows.jsonl", rows), (name, beside)],
            TextSplit::Automatic,
        )
        .unwrap();
        let labels: Vec<&Value> = records.values().iter().map(|row| &row["label"]).collect();
        assert_eq!(
            labels,
            [&json!("calm"), &json!("storm"), &json!(7)],
            "{name}"
        );
        let notes = notes(&records);
        assert_eq!(
            notes[..2],
            [
                "Label names replaced 2 numbers in \"label\", as the dataset's metadata says: calm, storm.",
                "1 number in \"label\" stands for a label whose name the dataset's metadata does not give; the numbers were kept.",
            ]
        );
        assert!(
            notes[2].starts_with("It was skipped, since it"),
            "{notes:?}"
        );
    }
    // A table's cells are numbers as texts.
    let csv = read_split(
        &[("README.md", card), ("rows.csv", b"text,label\na,1\nb,0\n")],
        TextSplit::Automatic,
    )
    .unwrap();
    assert_eq!(csv.field("label"), ["storm", "calm"]);
    // Names that are told nowhere.
    let unnamed =
        br#"{"default": {"features": {"label": {"num_classes": 2, "_type": "ClassLabel"}}}}"#;
    let records = read_split(
        &[("rows.jsonl", rows), ("dataset_infos.json", unnamed)],
        TextSplit::Automatic,
    )
    .unwrap();
    assert_eq!(records.values()[1]["label"], 1);
    assert_eq!(
        notes(&records)[0],
        "3 numbers in \"label\" stand for labels whose names the dataset's metadata does not give; the numbers were kept."
    );
}

#[test]
fn files_beside_the_data_are_skipped_and_named() {
    let files: [(&str, &[u8]); 7] = [
        (
            "README.md",
            b"---\nlicense: mit\n---\n# Calm seas\n\nA set of four.\n",
        ),
        (".gitattributes", b"*.parquet filter=lfs\n"),
        ("none.parquet", &fixture("parquet/none.parquet")),
        ("dataset_infos.json", b"{\"default\": {\"features\": {}}}"),
        ("LICENSE", b"MIT\n"),
        ("merges.txt", b"#version: 0.2\na b\n"),
        (".DS_Store", b"\0\0\0\x01Bud1"),
    ];
    let records = read_split(&files, TextSplit::Automatic).unwrap();
    assert_eq!(records.rows.len(), 40);
    assert_eq!(records.files.len(), 1);
    let skipped: Vec<&str> = records
        .notes
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        skipped,
        [
            "README.md",
            ".gitattributes",
            "dataset_infos.json",
            "LICENSE",
            "merges.txt",
            ".DS_Store"
        ]
    );
    // By itself a text is one.
    assert_eq!(read_one("README.md", "One.\n\nTwo.").unwrap().rows.len(), 2);
}

/// Polars writes a schema without its length.
#[test]
fn files_of_polars_are_read() {
    let records = read_one("polars.arrow", arrow("polars.arrow")).unwrap();
    let texts: Vec<&str> = records
        .rows
        .iter()
        .filter_map(|(_, row)| row.as_ref().ok()?["text"].as_str())
        .collect();
    assert_eq!(texts, ["ab", "a text that is longer than twelve"]);
}
