//! Datasets that are small, but stand for many rows, large ones or deep ones; and large ones of rows that are worth nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use parquet::basic::Encoding;

use super::{Answer, Cancelled, Input, Kind, LongOr, Says, Step, kind};
use crate::zipped::{deflated, shared, workbook};

#[path = "../../../../native/common/expanding.rs"]
mod expanding;

use expanding::{flags, numbers, properties, texts};

const EXPANDS: &str = "200 times its size";
const MEGABYTE: usize = 1 << 20;

pub(super) fn kinds() -> Vec<Kind> {
    vec![
        kind(
            "Parquet of equal rows",
            vec![
                file("50 columns", Cancelled, "equal.parquet", || {
                    texts(50, 200_000, Some("some words"), properties().build())
                }),
                file(
                    "a text of 1 MB many times",
                    Says("stands for rows of more than"),
                    "long.parquet",
                    || {
                        let text = "word ".repeat(200_000);
                        texts(2, 100_000, Some(&text), properties().build())
                    },
                ),
                file(
                    "texts by how they begin",
                    Says("begin.parquet has a part that expands to more than"),
                    "begin.parquet",
                    || {
                        let properties = properties()
                            .set_dictionary_enabled(false)
                            .set_encoding(Encoding::DELTA_BYTE_ARRAY);
                        texts(1, 2_000, Some(&"word ".repeat(200_000)), properties.build())
                    },
                ),
            ],
        ),
        kind(
            "Parquet of nothing",
            vec![
                file(
                    "50 million nulls",
                    LongOr("nulls.parquet stands for rows of more than 64.0 MB"),
                    "nulls.parquet",
                    || texts(1, 50_000_000, None, properties().build()),
                ),
                file(
                    "50 million flags",
                    LongOr("flags.parquet stands for rows of more than 64.0 MB"),
                    "flags.parquet",
                    || flags(50_000_000),
                ),
                file(
                    "20 columns of equal numbers",
                    Says("numbers.parquet has a part that expands to more than"),
                    "numbers.parquet",
                    || numbers(4 << 20, Encoding::DELTA_BINARY_PACKED, 20),
                ),
            ],
        ),
        kind(
            "tables with a quote that is not closed",
            vec![
                file("tiny rows after it", Cancelled, "open.csv", || {
                    format!("prompt,completion\n\"a,b\n{}", "a,b\n".repeat(3_000_000)).into_bytes()
                }),
                file("one in every row", Cancelled, "opens.csv", || {
                    format!("prompt,completion\n{}", "\"a,b\n".repeat(3_000_000)).into_bytes()
                }),
                file(
                    "tabs, compressed",
                    LongOr("only 2 of 250,001 rows are distinct"),
                    "open.tsv.gz",
                    || gzip_of(b"prompt\tcompletion\n\"a\tb\n", b"a\tb\n", 250_000),
                ),
            ],
        ),
        kind(
            "tiny rows",
            vec![
                file(
                    "empty objects in an array",
                    LongOr("none of its 2000001 rows can be used"),
                    "empty.json",
                    || format!("[{}{{}}]", "{},".repeat(2_000_000)).into_bytes(),
                ),
                file(
                    "lines of zeros",
                    Says("its text has 9999999 bytes, more than the 1048576 allowed"),
                    "zeros.jsonl",
                    || "0\n".repeat(5_000_000).into_bytes(),
                ),
                file(
                    "broken lines",
                    Says("nested deeper than 64 levels"),
                    "broken.jsonl",
                    || "{\"text\":\n".repeat(1_000_000).into_bytes(),
                ),
                file("commas", Cancelled, "commas.csv", || {
                    ",\n".repeat(5_000_000).into_bytes()
                }),
            ],
        ),
        kind(
            "bombs",
            vec![
                file("a zip", Says(EXPANDS), "bomb.zip", || {
                    deflated(&[("rows.jsonl", &vec![b' '; 300 * MEGABYTE])])
                }),
                file("a zip of many files", Says(EXPANDS), "bombs.zip", || {
                    let spaces = vec![b' '; 20 * MEGABYTE];
                    let names: Vec<String> = (0..40).map(|at| format!("{at}.jsonl")).collect();
                    let files: Vec<(&str, &[u8])> = names
                        .iter()
                        .map(|name| (name.as_str(), spaces.as_slice()))
                        .collect();
                    deflated(&files)
                }),
                file("a gzip", Says(EXPANDS), "bomb.jsonl.gz", || {
                    gzip_of(b"", &[b' '; MEGABYTE], 500)
                }),
                file("a gzip in a zip", Says(EXPANDS), "gzip.zip", || {
                    deflated(&[("rows.csv.gz", &gzip_of(b"", &[b' '; MEGABYTE], 300))])
                }),
                file(
                    "a zip in a zip",
                    Says("an archive inside another one"),
                    "zip.zip",
                    || {
                        let inner = deflated(&[("rows.jsonl", &vec![b' '; 300 * MEGABYTE])]);
                        deflated(&[("rows.zip", &inner)])
                    },
                ),
                file("a workbook's sheet", Says(EXPANDS), "sheet.xlsx", || {
                    workbook(&"<row/>".repeat(30_000_000), "", "")
                }),
                file(
                    "a workbook's texts",
                    Says("texts.xlsx has a part that expands to more than"),
                    "texts.xlsx",
                    || workbook("", &"<si><t>a</t></si>".repeat(15_000_000), ""),
                ),
                file(
                    "entries that share a file",
                    Says("share the same bytes"),
                    "shared.zip",
                    || {
                        let rows = "{\"text\": \"the same\"}\n".repeat(50_000);
                        shared(&deflated(&[("rows.jsonl", rows.as_bytes())]), 900)
                    },
                ),
            ],
        ),
        kind(
            "depth and length",
            vec![
                file(
                    "a million brackets",
                    Says("nested deeper than 64 levels"),
                    "brackets.json",
                    || vec![b'['; 1_000_000],
                ),
                file(
                    "a million objects in each other",
                    Says("objects.json is one JSON object without an array of rows"),
                    "objects.json",
                    || {
                        format!("{}1{}", "{\"a\":".repeat(1_000_000), "}".repeat(1_000_000))
                            .into_bytes()
                    },
                ),
                file(
                    "a row of 100 MB",
                    LongOr("the row has 104857612 bytes, more than the 16777216 allowed"),
                    "line.jsonl",
                    || {
                        format!("{{\"text\": \"{}\"}}\n", "word ".repeat(20 * MEGABYTE))
                            .into_bytes()
                    },
                ),
                file(
                    "a cell of 100 MB",
                    LongOr("the row has 104857604 bytes, more than the 16777216 allowed"),
                    "cell.csv",
                    || {
                        format!(
                            "prompt,completion\n\"{}\",b\n",
                            "word ".repeat(20 * MEGABYTE)
                        )
                        .into_bytes()
                    },
                ),
                file(
                    "a word of 100 MB",
                    LongOr("the paragraph has more than the 16777216 bytes allowed"),
                    "word.txt",
                    || vec![b'a'; 100 * MEGABYTE],
                ),
                file(
                    "a million columns",
                    Says("columns, more than the"),
                    "columns.csv",
                    || {
                        let names: String = (0..1_000_000).map(|at| format!("c{at},")).collect();
                        format!("{names}\n1\n").into_bytes()
                    },
                ),
            ],
        ),
        kind(
            "lengths that are not there",
            vec![
                file(
                    "Arrow's metadata of 2 GB",
                    Says("cannot be read as Arrow"),
                    "length.arrow",
                    || {
                        let mut bytes = vec![0xFF; 4];
                        bytes.extend(0x7FFF_FFF8u32.to_le_bytes());
                        bytes.resize(4_000, 0);
                        [b"ARROW1\0\0".as_slice(), &bytes].concat()
                    },
                ),
                file(
                    "Parquet's footer of 4 GB",
                    Says("cannot be read as Parquet"),
                    "footer.parquet",
                    || {
                        let mut bytes = b"PAR1".to_vec();
                        bytes.resize(4_000, 0);
                        bytes.extend(0xFFFF_FFF0u32.to_le_bytes());
                        bytes.extend(b"PAR1");
                        bytes
                    },
                ),
            ],
        ),
    ]
}

fn file(
    name: &'static str,
    answer: Answer,
    file: &'static str,
    contents: impl Fn() -> Vec<u8> + 'static,
) -> Input {
    Input::new(Step::Data, name, answer, move |visit| {
        Ok(vec![visit.write(&format!("rows/{file}"), contents())?])
    })
}

/// A gzip of `front` and `count` times `repeated`.
fn gzip_of(front: &[u8], repeated: &[u8], count: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut write = |bytes| encoder.write_all(bytes).unwrap();
    write(front);
    (0..count).for_each(|_| write(repeated));
    encoder.finish().unwrap()
}
