//! Files of all formats, changed at random: reading them ends in rows or an error, within bounds of memory.
//!
//! `INLAY_FUZZ_RUNS` sets the runs of each format, `INLAY_FUZZ_SEED` the first seed. A test program of its own, as it counts
//! whatever is allocated.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::{DatasetSummary, ReadSpec, TextSplit};
use reader::{
    DatasetError,
    dataset::{Observer, read_dataset},
    read,
    record::{Fault, Place, Record, Sink},
};
use zip::CompressionMethod;

use counting::{Counting, allowed};
use packing::{gzip, zip};
use records::{fixture, inputs};

#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/counting.rs"]
mod counting;
#[path = "reader/packing.rs"]
mod packing;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "reader/records.rs"]
mod records;

#[global_allocator]
static ALLOCATOR: Counting = Counting::BY_THREAD;

const RUNS: u64 = 20_000;
/// Parts of formats that are worth inserting.
const PIECES: [&[u8]; 16] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b",",
    b"\n",
    b"\xFF\xFF\xFF\xFF",
    b"\xFF\xFF\xFF\x7F",
    b"\0\0\0\0",
    b"\x80\x80\x80\x01",
    b"\\ud800",
    b"PAR1",
    b"\r\n\r\n",
    b"\xEF\xBB\xBF",
];

struct Count {
    num_rows: u64,
    num_faults: u64,
}

impl Sink for Count {
    fn file(&mut self, _: &str, _: &str, _: &str) {}
    fn record(&mut self, _: Record<'_>) {
        self.num_rows += 1;
    }
    fn encoding(&mut self, _: &str) {}
    fn note(&mut self, _: &str, _: &str) {}
    fn refused(&mut self, _: &str, _: &DatasetError) {}
    fn fault(&mut self, _: Place, _: Fault) {
        self.num_faults += 1;
    }
    fn progress(&mut self, _: u64) {}
}

struct Nobody;

impl Observer for Nobody {
    fn progress(&mut self, _: u64, _: u64) {}
    fn preview(&mut self, _: DatasetSummary) {}
    fn rows(&mut self, _: Vec<u8>) {}
}

/// SplitMix64 (Steele, Lea and Flood, 2014): numbers that a seed determines.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let number = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ number >> 31
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

/// Flips, cuts, splices, repetitions and insertions, one to four of them.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let len = 1 + random.below(40).min(bytes.len().saturating_sub(at + 1));
        let part = bytes.get(at..at + len).unwrap_or_default().to_vec();
        let to = random.below(bytes.len() + 1);
        match random.below(8) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = random.next() as u8,
            3 => bytes.truncate(at.max(1)),
            4 => drop(bytes.drain(at.min(bytes.len())..(at + part.len()).min(bytes.len()))),
            5 => drop(bytes.splice(to..to, part)),
            6 => {
                let many = part.repeat(1 + random.below(20));
                drop(bytes.splice(to..to, many));
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                let end = (to + random.below(2) * piece.len()).min(bytes.len());
                drop(bytes.splice(to..end, piece.iter().copied()));
            }
        }
    }
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn fuzz(name: &str, samples: &[Vec<u8>]) {
    let runs = from_env("INLAY_FUZZ_RUNS").unwrap_or(RUNS);
    let first = from_env("INLAY_FUZZ_SEED").unwrap_or(0);
    let (mut num_read, mut num_refused, mut most) = (0u64, 0u64, 0);
    let mut panicking = Vec::new();
    let mut count = Count {
        num_rows: 0,
        num_faults: 0,
    };
    for seed in first..first + runs {
        let mut random = Random(seed);
        let mut bytes = samples[random.below(samples.len())].clone();
        mutate(&mut random, &mut bytes);
        let split = match random.below(3) {
            0 => TextSplit::Length {
                characters: 1 + random.below(30),
            },
            1 => TextSplit::Document,
            _ => TextSplit::Automatic,
        };
        let reading = || read(&mut inputs(&[(name, &bytes)]), split, &mut count);
        let (outcome, used) = ALLOCATOR.measured(|| catch_unwind(AssertUnwindSafe(reading)));
        most = most.max(used);
        assert!(
            used <= allowed(bytes.len()),
            "seed {seed} of {name}: {used} bytes"
        );
        match outcome {
            Ok(Ok(())) => num_read += 1,
            Ok(Err(_)) => num_refused += 1,
            Err(_) => panicking.push(seed),
        }
    }
    println!(
        "{name}: {runs} runs, {num_read} read, {num_refused} refused, {} rows, {} faults, at most {most} bytes",
        count.num_rows, count.num_faults
    );
    assert!(panicking.is_empty(), "seeds {panicking:?} of {name} panic");
    // The changes leave some files whole and break others.
    assert!(num_read > runs / 100 && count.num_rows > runs / 100);
}

fn json() -> Vec<Vec<u8>> {
    let rows = concat!(
        "{\"messages\": [{\"role\": \"user\", \"content\": \"q\\ud83d\"}, {\"role\": \"assistant\", \"content\": \"é\"}]}\n",
        "{\"prompt\": \"p\", \"completion\": \"c\"}\n[{\"text\": \"t\"}, {\"a\": [1, {\"b\": null}]}]\n",
    );
    let array = "[{\"text\": \"a, ]\\\"\"},\n {\"text\":\n  \"b\", \"n\": [1, 2e5]}, 7 ]";
    let object = format!("{{\"version\": [1, 2], \"data\": {array}, \"meta\": {{\"x\": []}}}}");
    let utf16: Vec<u8> = rows.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let texts = [
        rows.to_owned(),
        array.to_owned(),
        object,
        "{\n \"text\": \"a\"\n}\n{\n}\n".to_owned(),
        "{\"0\": {\"text\": \"a\", \"n\": [1]},\n\"1\": {\"text\": \"b\", \"n\": {}}}".to_owned(),
        "{\"text\": {\"0\": \"a\", \"1\": \"b\"},\n\"n\": {\"0\": 1, \"1\": null}}".to_owned(),
    ];
    let mut samples: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    samples.push(utf16);
    samples
}

fn tables() -> Vec<Vec<u8>> {
    let text = "q;a;n\n\"one \"\"quoted\"\"\r\ntwo\";żółw;1\n;;\n\"x\";y;2.5\n";
    let commas = text.replace(';', ",");
    let tabs = text.replace(';', "\t");
    let latin = encoding_rs::WINDOWS_1252
        .encode("a,b\nfür,Öl\nnaïve,café\n")
        .0
        .into_owned();
    vec![
        text.into(),
        commas.into(),
        tabs.into(),
        latin,
        b"sep=|\nq|a\n1|2\n".to_vec(),
        b"q\ta\n\"lone\tb\nc \"d\"\te\n\\N\tf\\n\n".to_vec(),
        b"Title;;\nq;a;;\n\"x\ny\";\"z;;\n\0;\xA3 5;;w\n".to_vec(),
    ]
}

fn texts() -> Vec<Vec<u8>> {
    let markdown = "# T\n\n## U\n\nOne. Two! \u{201c}Three.\u{201d}\n\n```\ncode\n\nmore\n```\n\n> 四。五？\r\n\r\nEnd";
    vec![
        markdown.into(),
        "One\ntwo.\n\n\nThree\n".into(),
        "\u{feff}żółw\n\n🙂🙂 a".into(),
    ]
}

/// These rows take the most memory of all once they are parsed.
#[test]
fn rows_of_tiny_values_stay_within_bounds() {
    for (item, num_values) in [("0", 1), ("\"\"", 1), ("[0]", 2), ("{\"\":0}", 2)] {
        for most in [99_000, 199_000] {
            let items = vec![item; most / num_values].join(",");
            let texts = [
                format!("{{\"text\":[{items}]}}"),
                format!("{{\"row\":{{\"more\":[{items}]}}}}\n{{}}"),
            ];
            for text in texts {
                let files = [("rows.jsonl", text.as_bytes())];
                let spec = ReadSpec::default();
                let reading = || read_dataset(&mut inputs(&files), &spec, &mut Nobody).is_ok();
                let (_, used) = ALLOCATOR.measured(reading);
                println!(
                    "{most} values {item}: {used} bytes of {}",
                    allowed(text.len())
                );
                assert!(
                    used <= allowed(text.len()),
                    "{most} values {item}: {used} bytes"
                );
            }
        }
    }
}

#[test]
fn changed_json_is_read_or_refused() {
    fuzz("rows.json", &json());
}

#[test]
fn changed_prints_of_python_are_read_or_refused() {
    let texts = [
        r"{'text': 'it is', 'n': None, 'ok': True, 't': (1, 2.5), 'nan': nan}",
        r"{'text': 'a\x41\'b', 's': {1}}",
        "[{'text': 'a' 'b', 'm': array([{'role': 'user', 'content': '''x'''}\n {'role': 'b'}], dtype=object)}, # c\n]",
        "// c\n{\"text\": [\"a\", \"b\",], \"n\": [NaN, -Infinity]} /* d */",
        "{\"columns\": [\"text\", \"n\"], \"data\": [[\"a\", 1], [\"b\", null]]}",
        r#""[{\"text\": \"a\"}, {\"text\": \"b\"}]""#,
        "{'text': datetime.datetime(2024, 2, 29), 'o': OrderedDict([('a', 1)]), 'f': f(x=g(y=h))}",
    ];
    fuzz("rows.json", &texts.map(|text| text.as_bytes().to_vec()));
}

#[test]
fn changed_arrow_is_read_or_refused() {
    let names = [
        "data-00000-of-00002",
        "growing",
        "types.lz4",
        "types.uncompressed",
        "types.zstd",
    ];
    fuzz(
        "rows.arrow",
        &names.map(|name| fixture(&format!("arrow/{name}.arrow"))),
    );
}

#[test]
fn changed_zstd_is_read_or_refused() {
    let names = ["rows.jsonl", "table.csv", "frames.jsonl", "none.parquet"];
    fuzz(
        "rows.zst",
        &names.map(|name| fixture(&format!("zstd/{name}.zst"))),
    );
}

/// A workbook of changed parts; changes to the archive itself are mostly told by its checksums.
fn workbook(seed: u64) -> Vec<u8> {
    let sheet = concat!(
        "<worksheet><sheetData><row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c></row>",
        "<row><c t=\"inlineStr\"><is><t>q</t></is></c><c r=\"B2\" t=\"str\"><v>a &amp; b</v></c></row>",
        "<row r=\"3\"><c r=\"A3\" s=\"1\"><v>45351.5</v></c><c r=\"B3\" t=\"s\"><v>1</v></c></row>",
        "<row r=\"4\"><c r=\"B4\" t=\"b\"><v>1</v></c><c r=\"C4\" s=\"2\"><v>0.5</v></c></row>",
        "</sheetData><mergeCells><mergeCell ref=\"A3:A4\"/></mergeCells></worksheet>",
    );
    let mut parts = [
        (
            "xl/workbook.xml",
            "<workbook><sheets><sheet name=\"a\" r:id=\"r1\"/></sheets></workbook>",
        ),
        (
            "xl/_rels/workbook.xml.rels",
            "<R><Relationship Id=\"r1\" Target=\"worksheets/sheet1.xml\"/></R>",
        ),
        (
            "xl/sharedStrings.xml",
            "<sst><si><t>Title</t></si><si><r><t xml:space=\"preserve\"> x </t></r><rPh><t>y</t></rPh></si></sst>",
        ),
        (
            "xl/styles.xml",
            "<s><numFmt numFmtId=\"164\" formatCode=\"dd/mm/yyyy hh:mm\"/><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"164\"/><xf numFmtId=\"9\"/></cellXfs></s>",
        ),
        ("xl/worksheets/sheet1.xml", sheet),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()));
    let mut random = Random(seed);
    let changed = random.below(parts.len());
    mutate(&mut random, &mut parts[changed].1);
    let parts: Vec<(&str, &[u8])> = parts
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    zip(&parts, CompressionMethod::Stored)
}

#[test]
fn changed_workbooks_are_read_or_refused() {
    let samples: Vec<Vec<u8>> = (0..RUNS / 4).map(workbook).collect();
    for bytes in &samples {
        let mut count = Count {
            num_rows: 0,
            num_faults: 0,
        };
        let mut files = inputs(&[("book.xlsx", bytes)]);
        let reading = || read(&mut files, TextSplit::Automatic, &mut count);
        let (outcome, used) = ALLOCATOR.measured(|| catch_unwind(AssertUnwindSafe(reading)));
        assert!(
            outcome.is_ok() && used <= allowed(bytes.len()),
            "{used} bytes"
        );
    }
    fuzz("book.xlsx", &samples);
}

#[test]
fn changed_tables_are_read_or_refused() {
    fuzz("rows.csv", &tables());
}

#[test]
fn changed_texts_are_read_or_refused() {
    fuzz("text.md", &texts());
}

#[test]
fn changed_gzip_is_read_or_refused() {
    let samples: Vec<_> = [json(), tables(), texts()]
        .concat()
        .iter()
        .map(|bytes| gzip(bytes))
        .collect();
    let two = [samples[0].clone(), samples[1].clone()].concat();
    fuzz(
        "rows.gz",
        &[samples, vec![two, gzip(&fixture("parquet/nested.parquet"))]].concat(),
    );
}

#[test]
fn changed_archives_are_read_or_refused() {
    let (json, tables, texts) = (json(), tables(), texts());
    let packed = gzip(&json[0]);
    let entries: [(&str, &[u8]); 4] = [
        ("a.jsonl", &json[0]),
        ("d/b.csv", &tables[0]),
        ("c.md", &texts[0]),
        ("e.jsonl.gz", &packed),
    ];
    fuzz(
        "rows.zip",
        &[
            zip(&entries, CompressionMethod::Deflated),
            zip(&entries, CompressionMethod::Stored),
            zip(
                &[("p.parquet", &fixture("parquet/none.parquet"))],
                CompressionMethod::Stored,
            ),
        ],
    );
}

#[test]
fn changed_parquet_is_read_or_refused() {
    let names = [
        "brotli",
        "gzip",
        "long_rows",
        "lz4",
        "nested",
        "none",
        "old_times",
        "pages_v2",
        "snappy",
        "types",
        "zstd",
        "apache/hadoop_lz4_compressed",
        "apache/nullable.impala",
        "apache/nested_maps.snappy",
        "apache/datapage_v2.snappy",
        "apache/byte_stream_split.zstd",
        "apache/delta_length_byte_array",
        "apache/alltypes_plain",
    ];
    fuzz(
        "rows.parquet",
        &names.map(|name| fixture(&format!("parquet/{name}.parquet"))),
    );
}
