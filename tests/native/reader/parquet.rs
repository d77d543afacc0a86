//! Parquet, as pyarrow and others write it (`tests/reference/parquet.py`).

use reader::DatasetError;
use serde_json::{Value, json};

use super::{
    packing::gzip,
    records::{Records, fixture, read_one},
};

fn read(name: &str) -> Records {
    let name = format!("parquet/{name}.parquet");
    read_one(&name, fixture(&name)).unwrap()
}

#[test]
fn every_compression_and_encoding_gives_the_same_rows() {
    let expected: Vec<Value> = (0..40)
        .map(|row| {
            let numbers = (0..row % 3 + row / 3).map(|number| number.to_string());
            let numbers: Vec<_> = numbers.collect();
            json!({
                "instruction": format!("Count to {0}, żółw {0}.", row % 3),
                "input": (row % 4 == 0).then(|| format!("from {row}")),
                "output": format!("{}!", numbers.join(" ")),
                "score": row as f64 / 4.0,
            })
        })
        .collect();
    let expected: Vec<&Value> = expected.iter().collect();
    for codec in [
        "none", "snappy", "gzip", "brotli", "lz4", "zstd", "pages_v2",
    ] {
        let records = read(codec);
        assert_eq!(records.values(), expected, "{codec}");
        assert_eq!(records.kind(), ("Parquet", "UTF-8"));
        assert!(records.notes.is_empty());
    }
}

#[test]
fn lists_structs_and_maps_are_put_together() {
    let expected = [
        json!({
            "messages": [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}],
            "answers": {"text": ["x", "y"], "answer_start": [1, 2]},
            "grid": [[1, 2], []], "labels": {"a": 1, "b": null}, "keys": {"1": "x"},
        }),
        json!({
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": null},
                {"role": "assistant", "content": "a2"}],
            "answers": {"text": [], "answer_start": []}, "grid": [[], [3]], "labels": {}, "keys": {},
        }),
        json!({"messages": [], "answers": null, "grid": null, "labels": null, "keys": null}),
        json!({
            "messages": null, "answers": {"text": null, "answer_start": [null]}, "grid": [],
            "labels": {"c": 3}, "keys": {"2": null},
        }),
        json!({
            "messages": [null, {"role": "assistant", "content": "a5"}],
            "answers": {"text": ["z"], "answer_start": null}, "grid": [null, [null, 4]],
            "labels": {"d": 4}, "keys": {"3": "z", "4": "w"},
        }),
    ];
    let records = read("nested");
    assert_eq!(records.values(), expected.iter().collect::<Vec<_>>());
}

#[test]
fn values_are_written_as_people_would() {
    let records = read("types");
    let expected = json!({
        "text": "a", "flag": true, "int8": -1, "uint64": u64::MAX, "uint32": u32::MAX, "half": -3.140625,
        "single": 0.1, "double": 1e300, "day": "2024-02-29", "moment": "2024-02-29T12:34:56.5",
        "instant": "2024-02-29T12:34:56.5Z", "nanos": "2024-02-29T12:34:56.5", "time": "01:02:03.000004",
        "small": "-0.05", "large": "12345678901234567890.123456789", "bytes": null, "words": "words",
        "fixed": "abcd", "uuid": "12345678-9abc-def0-1234-56789abcdef0", "nothing": null,
    });
    let [first, second] = records.values()[..] else {
        panic!("{:?}", records.rows);
    };
    assert_eq!(*first, expected);
    // Not a number is none in JSON either.
    assert!(second.as_object().unwrap().values().all(Value::is_null));
    let [(_, note)] = &records.notes[..] else {
        panic!("{:?}", records.notes);
    };
    assert!(
        note.starts_with("1 value of the column \"bytes\""),
        "{note}"
    );
    let old = read("old_times");
    assert_eq!(
        *old.values()[0],
        json!({"text": "a", "moment": "2024-02-29T12:34:56.5"})
    );
}

#[test]
fn rows_go_on_over_pages_and_may_be_none() {
    let records = read("long_rows");
    let numbers: Vec<u64> = records
        .values()
        .iter()
        .flat_map(|row| row["numbers"].as_array().unwrap())
        .map(|number| number.as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..1500).collect::<Vec<u64>>());
    assert_eq!(records.rows.len(), 3);
    assert!(read("empty").rows.is_empty());
}

#[test]
fn parquet_is_read_in_gzip_too() {
    let records = read_one("rows.parquet.gz", gzip(&fixture("parquet/zstd.parquet"))).unwrap();
    assert_eq!(records.kind(), ("Parquet, gzipped", "UTF-8"));
    assert_eq!(records.rows.len(), 40);
}

#[test]
fn what_is_cut_off_or_changed_is_refused() {
    let whole = fixture("parquet/snappy.parquet");
    let refused = |bytes: &[u8], expected: &str| {
        let error = read_one("x.parquet", bytes).err().unwrap();
        assert!(matches!(error, DatasetError::Parquet { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused(&whole[..7], "cut off");
    refused(&whole[..whole.len() - 100], "footer is missing");
    let mut long = whole.clone();
    let at = whole.len() - 5;
    long[at] = 0x7F;
    refused(&long, "impossible length");
    // Without its first page the offsets lead elsewhere.
    let shifted = [&whole[..4], &whole[60..]].concat();
    refused(&shifted, "");
}

/// Numbers of 32 bits are written shorter than pyarrow has them.
fn assert_close(found: &Value, expected: &Value, place: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names = |fields: &serde_json::Map<_, _>| fields.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(found), names(expected), "{place}");
            for (name, value) in found {
                assert_close(value, &expected[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}");
            for (index, value) in found.iter().enumerate() {
                assert_close(value, &expected[index], &format!("{place}[{index}]"));
            }
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            let error = (found - expected).abs();
            assert!(
                error <= 1e-6 * expected.abs(),
                "{place}: {found} {expected}"
            );
        }
        // To pyarrow an empty map is a list without pairs.
        (Value::Object(found), Value::Array(expected)) => {
            assert!(found.is_empty() && expected.is_empty(), "{place}");
        }
        _ => assert_eq!(found, expected, "{place}"),
    }
}

/// Files of apache/parquet-testing: by Impala, Hive, Spark, parquet-mr and others, also the odd ones.
#[test]
fn files_of_other_writers_are_read_as_pyarrow_reads_them() {
    let bytes = fixture("parquet/apache/expected.json.gz");
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(bytes.as_slice())).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let expected = expected.as_object().unwrap();
    assert!(expected.len() > 25);
    for (name, rows) in expected {
        let records = read(&format!("apache/{name}"));
        let found = Value::Array(records.values().into_iter().cloned().collect());
        assert_close(&found, rows, name);
    }
    // The crate takes its footer for damaged.
    let name = "parquet/apache/dict-page-offset-zero.parquet";
    let odd = read_one(name, fixture(name)).err();
    assert!(matches!(odd, Some(DatasetError::Parquet { .. })), "{odd:?}");
    // Which pyarrow does not read.
    let maps = read("apache/incorrect_map_schema");
    assert_eq!(maps.rows.len(), 1);
    let old = read("apache/int96_from_spark");
    assert_eq!(*old.values()[0], json!({"a": "2024-01-01T20:34:56.123456"}));
    assert_eq!(read("apache/map_no_value").rows.len(), 3);
    // Four kilobytes that become two gigabytes.
    let name = "parquet/apache/large_string_map.brotli.parquet";
    let bomb = read_one(name, fixture(name)).err();
    assert!(matches!(bomb, Some(DatasetError::Bomb { .. })), "{bomb:?}");
}

/// Files that made readers crash, each from a report of it.
#[test]
fn bad_files_are_refused_or_read_in_part() {
    for name in [
        "ARROW-GH-43605",
        "ARROW-GH-45185",
        "ARROW-GH-47662",
        "ARROW-RS-GH-6229-DICTHEADER",
        "ARROW-RS-GH-6229-LEVELS",
        "PARQUET-1481",
    ] {
        let result = read_one(name, fixture(&format!("parquet/apache/bad/{name}.parquet")));
        println!("{name}: {:?}", result.map(|records| records.rows.len()));
    }
}
