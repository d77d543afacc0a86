//! Files that would become far more than they are: each is read or refused within four times its size and 64 MB, however it is made.
//!
//! Times are printed, with the longest one between two signs of progress. A test program of its own, as it counts whatever is
//! allocated. `INLAY_DRILLS` makes the files larger.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Cursor, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use protocol::{DatasetSummary, ReadSpec, TextSplit};
use reader::{
    DatasetError, Input,
    dataset::{Observer, read_dataset},
};
use zip::CompressionMethod;

use counting::{Counting, allowed};
use kind::Kind;
use packing::{gzip, zip};
use zipped::{changed, deflated, shared, workbook};

#[path = "reader_bounds/columnar.rs"]
mod columnar;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/counting.rs"]
mod counting;
#[allow(dead_code, reason = "the journeys use more of it")]
#[path = "common/expanding.rs"]
mod expanding;
#[path = "common/kind.rs"]
mod kind;
#[path = "reader/packing.rs"]
mod packing;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/zipped.rs"]
mod zipped;

#[global_allocator]
static ALLOCATOR: Counting = Counting::BY_THREAD;

/// Takes the rows as the browser does, which keeps them elsewhere, and measures how long it hears nothing.
struct Watch {
    last: Instant,
    longest: Duration,
    num_row_bytes: usize,
}

impl Watch {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            longest: Duration::ZERO,
            num_row_bytes: 0,
        }
    }

    fn heard(&mut self) {
        self.longest = self.longest.max(self.last.elapsed());
        self.last = Instant::now();
    }
}

impl Observer for Watch {
    fn progress(&mut self, _: u64, _: u64) {
        self.heard();
    }
    fn preview(&mut self, _: DatasetSummary) {}
    fn rows(&mut self, part: Vec<u8>) {
        self.num_row_bytes += part.len();
    }
}

fn are_drills() -> bool {
    std::env::var_os("INLAY_DRILLS").is_some()
}

/// The bytes of a file that grows with the drills.
fn size() -> usize {
    if are_drills() { 8 << 20 } else { 512 << 10 }
}

/// Repeats `part` up to about so many bytes.
fn repeated(part: &str, num_bytes: usize) -> String {
    part.repeat(num_bytes / part.len())
}

/// Texts by their numbers, up to about so many bytes.
fn numbered(num_bytes: usize, part: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(num_bytes + 1000);
    for number in 0.. {
        if text.len() >= num_bytes {
            break;
        }
        text += &part(number);
    }
    text
}

/// Reads a file within bounds; returns the number of usable rows.
fn check(kind: &mut Kind, what: &str, name: &str, bytes: &[u8]) -> Result<usize, DatasetError> {
    check_with(kind, what, name, bytes, &ReadSpec::default())
}

fn check_with(
    kind: &mut Kind,
    what: &str,
    name: &str,
    bytes: &[u8],
    spec: &ReadSpec,
) -> Result<usize, DatasetError> {
    let mut inputs = vec![Input {
        name: name.to_owned(),
        num_bytes: bytes.len() as u64,
        // A file in the browser is read by slices, too.
        source: Box::new(Cursor::new(bytes.to_vec())),
    }];
    let mut watch = Watch::new();
    let start = Instant::now();
    let reading = || read_dataset(&mut inputs, spec, &mut watch);
    let (outcome, used) = ALLOCATOR.measured(|| catch_unwind(AssertUnwindSafe(reading)));
    watch.heard();
    let outcome = outcome.unwrap_or_else(|_| panic!("{what} panics"));
    let outcome = outcome.map(|read| read.summary.num_usable_rows);
    let allowed = allowed(bytes.len());
    assert!(
        used <= allowed,
        "{what}: {} bytes took {used} of {allowed} and {:.2?}, silent for {:.2?}, {} bytes of rows: {outcome:?}",
        bytes.len(),
        start.elapsed(),
        watch.longest,
        watch.num_row_bytes,
    );
    kind.add(what, used, start.elapsed());
    kind.add_silence(what, watch.longest);
    outcome
}

/// Reads files within bounds, whatever comes of it. Each is made when the one before it was read, so that they do not fill
/// the memory.
fn check_each<T: AsRef<[u8]>>(kind: &mut Kind, name: &str, files: &[(&str, &dyn Fn() -> T)]) {
    for (what, make) in files {
        let _ = check(kind, what, name, make().as_ref());
    }
}

fn refused(kind: &mut Kind, what: &str, name: &str, bytes: &[u8], expected: &str) {
    match check(kind, what, name, bytes) {
        Err(error) if error.to_string().contains(expected) => {}
        other => panic!("{what}: {other:?}"),
    }
}

fn zeros(num_bytes: usize) -> Vec<u8> {
    vec![b' '; num_bytes]
}

/// A gzip of so many megabytes of one text, made piece by piece.
fn gzip_of(part: &[u8], num_bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for _ in 0..num_bytes / part.len() {
        encoder.write_all(part).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn bombs_are_refused_early() {
    let mut kind = Kind::new("bombs");
    let spaces = zeros(1 << 20);
    let gz = gzip_of(&spaces, if are_drills() { 2000 << 20 } else { 256 << 20 });
    refused(&mut kind, "gzip of spaces", "a.gz", &gz, "200 times");
    let zip_of_spaces = deflated(&[("a.csv", &zeros(64 << 20))]);
    refused(
        &mut kind,
        "zip of spaces",
        "a.zip",
        &zip_of_spaces,
        "200 times",
    );
    refused(
        &mut kind,
        "gzip in zip",
        "a.zip",
        &zip(&[("a.csv.gz", &gz)], CompressionMethod::Stored),
        "200 times",
    );
    let twice = gzip(&gz);
    refused(
        &mut kind,
        "gzip in gzip",
        "a.gz",
        &twice,
        "compressed twice",
    );
    refused(
        &mut kind,
        "gzip in deflated zip",
        "a.zip",
        &deflated(&[("a.csv.gz", &gz)]),
        "200 times",
    );
    let lying = changed(&zip_of_spaces, 24, &[100, 0, 0, 0]);
    refused(
        &mut kind,
        "zip that says less",
        "a.zip",
        &lying,
        "does not match",
    );
    let rows = repeated("{\"text\": \"the same\"}\n", 1 << 20);
    refused(
        &mut kind,
        "zip of one shared file",
        "a.zip",
        &shared(
            &zip(&[("a.jsonl", rows.as_bytes())], CompressionMethod::Stored),
            900,
        ),
        "share",
    );
    let small = gzip(&repeated("a,b\n", 1 << 18).into_bytes());
    let count = if are_drills() { 1000 } else { 250 };
    let names: Vec<String> = (0..count).map(|index| format!("{index}.csv.gz")).collect();
    let many: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), small.as_slice()))
        .collect();
    let _ = check(
        &mut kind,
        "many small gzips in a zip",
        "a.zip",
        &deflated(&many),
    );
    let row = format!(
        "{{\"prompt\": \"{}\", \"completion\": \"b\"}}\n",
        "a".repeat(15 << 20)
    );
    let _ = check(
        &mut kind,
        "gzip of one long row",
        "a.jsonl.gz",
        &gzip(row.as_bytes()),
    );
    let _ = check(
        &mut kind,
        "gzip of one long CSV row",
        "a.csv.gz",
        &gzip(format!("a,b\n{},c\n", "a".repeat(15 << 20)).as_bytes()),
    );
    let _ = check(
        &mut kind,
        "gzip of one long text",
        "a.txt.gz",
        &gzip(&vec![b'a'; 15 << 20]),
    );
    let values = vec!["0"; 99_000].join(",");
    let _ = check(
        &mut kind,
        "gzip of rows of many values",
        "a.jsonl.gz",
        &gzip(repeated(&format!("{{\"text\":[{values}]}}\n"), 8 << 20).as_bytes()),
    );
    let _ = check(
        &mut kind,
        "gzip of tiny rows",
        "a.csv.gz",
        &gzip_of(
            &numbered(1 << 20, |n| format!("{n},b\n")).into_bytes(),
            4 * size(),
        ),
    );
    let _ = check(
        &mut kind,
        "gzip of equal tiny rows",
        "a.jsonl.gz",
        &gzip_of(b"{\"text\":\"a\"}\n", 16 * size()),
    );
}

#[test]
fn tables_of_quotes_and_tiny_rows() {
    let mut kind = Kind::new("tables of quotes and tiny rows");
    let size = size();
    let table = |part: &str| format!("q,a\n{}", repeated(part, size));
    check_each(
        &mut kind,
        "a.csv",
        &[
            ("rows after an open quote", &|| {
                format!("q,a\n\"open,x\n{}", repeated("x,y\n", size))
            }),
            ("a quote opens every row", &|| table("\"x\n")),
            ("a quote opens every row, numbered", &|| {
                format!("q,a\n{}", numbered(size, |n| format!("\"x{n}\n")))
            }),
            ("two quotes open every row", &|| table("\"\"x\n")),
            ("three quotes in every row", &|| table("\"\"\"x,\n")),
            ("quotes and backslashes", &|| table("\"\\\"\n")),
            ("quotes alone", &|| table("\"")),
            ("quotes alone, even", &|| {
                format!("q,a\n\"{}", repeated("\"\"\n", size))
            }),
            ("one column of one letter", &|| {
                format!("q\n{}", repeated("x\n", size))
            }),
            ("one column of numbers", &|| {
                format!("q\n{}", numbered(size, |n| format!("{n}\n")))
            }),
            ("two columns of numbers", &|| {
                format!("q,a\n{}", numbered(size, |n| format!("{n},{n}\n")))
            }),
            ("commas alone", &|| repeated(",", size)),
            ("commas and line breaks", &|| repeated(",\n", size)),
            ("rows of 4000 commas", &|| {
                repeated(&format!("{}\n", ",".repeat(4000)), size)
            }),
            ("a million columns", &|| {
                numbered(size, |n| format!("c{n},"))
            }),
            ("line breaks alone", &|| table("\n")),
            ("4096 columns", &|| {
                format!(
                    "{}\n{}",
                    (0..4096)
                        .map(|n| format!("c{n}"))
                        .collect::<Vec<_>>()
                        .join(","),
                    repeated(&format!("{}a\n", "a,".repeat(4095)), size)
                )
            }),
            ("rows of JSON in a cell", &|| table("\"[1,2,{}]\",\"{}\"\n")),
            ("one long row", &|| {
                format!("q,a\n{},b\n", repeated("word ", size))
            }),
        ],
    );
}

#[test]
fn json_of_tiny_rows_and_odd_shapes() {
    let mut kind = Kind::new("JSON of tiny rows and odd shapes");
    let size = size();
    let text = |part: &str| format!("{{\"text\":\"{}\"}}", repeated(part, size));
    let list = |item: &str| format!("[{}{item}]", repeated(&format!("{item},"), size));
    check_each(
        &mut kind,
        "a.json",
        &[
            ("an array of empty objects", &|| list("{}")),
            ("an array of zeros", &|| list("0")),
            ("an array of texts", &|| list("\"a\"")),
            ("an array of tiny rows", &|| list("{\"text\":\"a\"}")),
            ("lines of empty objects", &|| repeated("{}\n", size)),
            ("lines of zeros", &|| repeated("0\n", size)),
            // One text, whose words are tiny.
            ("10 MB of zeros", &|| "0\n".repeat(5 << 20)),
            ("lines of tiny rows", &|| {
                repeated("{\"text\":\"a\"}\n", size)
            }),
            ("lines of numbered tiny rows", &|| {
                numbered(size, |n| format!("{{\"text\":\"{n}\"}}\n"))
            }),
            ("lines of numbered rows of 40 words", &|| {
                numbered(size, |n| {
                    format!(
                        "{{\"text\":\"{}{n}\"}}\n",
                        (0..40)
                            .map(|w| format!("{} ", (n * 7919 + w * 104_729) % 97))
                            .collect::<String>()
                    )
                })
            }),
            ("a new field in every row", &|| {
                numbered(size, |n| format!("{{\"field {n}\":\"some words\"}}\n"))
            }),
            ("two new fields in every row", &|| {
                numbered(size, |n| {
                    format!("{{\"question {n}\":\"some words\",\"answer {n}\":\"b\"}}\n")
                })
            }),
            ("lines of broken rows", &|| repeated("{\"text\":\n", size)),
            ("lines of rows of Python", &|| {
                repeated("{'text': 'a', 'b': None}\n", size)
            }),
            ("rows of many texts side by side", &|| {
                repeated(&format!("{{'text': {}}}\n", "'a' ".repeat(5000)), size)
            }),
            ("brackets alone", &|| repeated("[", size)),
            ("braces alone", &|| repeated("{", size)),
            ("a row of open brackets in every line", &|| {
                repeated(&format!("{{\"a\":{}\n", "[".repeat(200)), size)
            }),
            ("commas in an array", &|| {
                format!("[{}]", repeated(",", size))
            }),
            ("an object of rows by name", &|| {
                format!(
                    "{{{}\"x\":{{\"text\":\"a\"}}}}",
                    numbered(size, |n| format!("\"{n}\":{{\"text\":\"a\"}},"))
                )
            }),
            ("an object of names alone", &|| {
                format!("{{{}\"x\":1}}", numbered(size, |n| format!("\"{n}\":0,")))
            }),
            ("columns of zeros", &|| {
                format!(
                    "{{\"text\":[{}0],\"b\":[{}0]}}",
                    repeated("0,", size / 2),
                    repeated("0,", size / 2)
                )
            }),
            ("columns of rows by name", &|| {
                format!(
                    "{{\"text\":{{{}\"x\":0}},\"b\":{{\"x\":1}}}}",
                    numbered(size, |n| format!("\"{n}\":0,"))
                )
            }),
            ("4000 columns of many zeros", &|| {
                format!(
                    "{{{}\"x\":[1]}}",
                    numbered(size, |n| format!("\"c{n}\":[{}0],", "0,".repeat(1000)))
                )
            }),
            ("split of zeros", &|| {
                format!(
                    "{{\"columns\":[\"text\"],\"data\":[{}[0]]}}",
                    repeated("[0],", size)
                )
            }),
            ("JSON in a string", &|| {
                format!("\"[{}{{}}]\"", repeated("{\\\"text\\\":\\\"a\\\"},", size))
            }),
            ("one long text", &|| text("word ")),
            ("one long text of escapes", &|| text("\\u00e9")),
            ("one long text of surrogates", &|| text("\\ud83d")),
            ("one text of open brackets", &|| {
                format!("{{\"messages\":\"{}\"}}", repeated("[", size))
            }),
            ("texts of JSON in JSON", &|| {
                repeated(
                    &format!(
                        "{{\"messages\":\"{}\"}}\n",
                        "[{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"a\\\"},".repeat(100)
                    ),
                    size,
                )
            }),
            ("comments alone", &|| repeated("// a\n", size)),
            ("an open comment", &|| {
                format!("/* {}", repeated("a\n", size))
            }),
            ("a row of one long word", &|| text("a")),
            ("a row of an address", &|| text("a@")),
            ("a row of dots and addresses", &|| text("a.b@c.")),
            ("a row of what may be keys", &|| text("sk-")),
            ("a row of what may be numbers", &|| text("4111 ")),
            ("a row of roles", &|| text("User: a Assistant: ")),
            ("a row of marks", &|| text("<|im_start|>user\\na<|im_end|>")),
            ("a row of broken letters", &|| text("Ã¼")),
            ("placeholders", &|| text("{{a}} [NAME] ")),
        ],
    );
}

#[test]
fn messages_on_rows_of_their_own() {
    let mut kind = Kind::new("messages on rows of their own");
    let size = size();
    let head = "conversation_id,role,content\n";
    let row = |id: usize, n: usize| format!("{id},{},m{n}\n", ["user", "assistant"][n % 2]);
    let rows = |row: &dyn Fn(usize) -> String| format!("{head}{}", numbered(size, row));
    check_each(
        &mut kind,
        "a.csv",
        &[
            ("two messages each", &|| rows(&|n| row(n / 2, n))),
            ("a message each", &|| rows(&|n| row(n, n))),
            ("all of one conversation", &|| rows(&|n| row(1, n))),
            ("of two conversations in turn", &|| {
                rows(&|n| row(n % 2, n / 2))
            }),
            ("long messages", &|| {
                rows(&|n| format!("{},user,{}\n", n % 10, "word ".repeat(2000)))
            }),
        ],
    );
    let one = numbered(size, |n| {
        format!(
            "{{\"role\":\"{}\",\"content\":\"m{n}\"}},",
            ["user", "assistant"][n % 2]
        )
    });
    let _ = check(
        &mut kind,
        "a list of messages alone",
        "a.json",
        format!("[{one}{{\"role\":\"user\",\"content\":\"\"}}]").as_bytes(),
    );
}

#[test]
fn texts_of_many_pieces() {
    let mut kind = Kind::new("texts of many pieces");
    let size = size();
    let length = |characters| ReadSpec {
        text_split: TextSplit::Length { characters },
        ..ReadSpec::default()
    };
    for (what, name, text) in [
        ("empty lines", "a.txt", repeated("\n", size)),
        ("paragraphs of a letter", "a.txt", repeated("a\n\n", size)),
        ("headings", "a.md", repeated("# a\n", size)),
        ("fences", "a.md", repeated("```\n\n", size)),
        ("one long line", "a.txt", repeated("word ", size)),
        ("lines of a letter", "a.txt", repeated("a\n", size)),
        ("one long word", "a.txt", repeated("a", size)),
    ] {
        let _ = check(&mut kind, what, name, text.as_bytes());
        let _ = check_with(
            &mut kind,
            &format!("{what}, by 1"),
            name,
            &text.as_bytes()[..size / 8],
            &length(1),
        );
        let _ = check_with(
            &mut kind,
            &format!("{what}, by 1000"),
            name,
            text.as_bytes(),
            &length(1000),
        );
    }
    let names: Vec<String> = (0..1000).map(|index| format!("{index}.txt")).collect();
    let many: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), b"a".as_slice()))
        .collect();
    let _ = check(&mut kind, "1000 tiny texts", "a.zip", &deflated(&many));
}

#[test]
fn workbooks_that_expand() {
    let mut kind = Kind::new("workbooks that expand");
    let size = size();
    let head =
        "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\" t=\"s\"><v>1</v></c></row>";
    let long = format!(
        "<si><t>q</t></si><si><t>a</t></si><si><t>{}</t></si>",
        repeated("word ", 1 << 20)
    );
    let long_row =
        |n: usize| format!("<row r=\"{n}\"><c t=\"s\"><v>2</v></c><c t=\"s\"><v>2</v></c></row>");
    let short = "<si><t>q</t></si><si><t>a</t></si><si><t>b</t></si>";
    let sheet_of = |rows: &str| workbook(&format!("{head}{rows}"), short, "");
    let merges: String = (0..50_000)
        .map(|n| format!("<mergeCell ref=\"A{}:A900000\"/>", n + 2))
        .collect();
    check_each(
        &mut kind,
        "a.xlsx",
        &[
            ("a far cell", &|| {
                sheet_of("<row r=\"1048576\"><c r=\"XFD1048576\" t=\"s\"><v>0</v></c></row>")
            }),
            ("a text of 1 MB a million times", &|| {
                workbook(
                    &format!("{head}{}", numbered(size, |n| long_row(n + 2))),
                    &long,
                    "",
                )
            }),
            ("50 rows of 14 texts of 1 MB", &|| {
                workbook(
                    &format!(
                        "{head}{}",
                        numbered(1 << 16, |n| format!(
                            "<row r=\"{}\">{}</row>",
                            n + 2,
                            "<c t=\"s\"><v>2</v></c>".repeat(14)
                        ))
                    ),
                    &long,
                    "",
                )
            }),
            ("equal rows", &|| {
                sheet_of(&repeated(
                    "<row><c t=\"s\"><v>2</v></c><c t=\"s\"><v>2</v></c></row>",
                    4 * size,
                ))
            }),
            ("empty rows", &|| sheet_of(&repeated("<row/>", 4 * size))),
            ("a row of many cells", &|| {
                sheet_of(&format!(
                    "<row>{}</row>",
                    repeated("<c><v>1</v></c>", 4 * size)
                ))
            }),
            ("many texts", &|| {
                workbook(
                    head,
                    &format!("{short}{}", repeated("<si><t>b</t></si>", 4 * size)),
                    "",
                )
            }),
            ("many empty texts", &|| {
                workbook(head, &format!("{short}{}", repeated("<si/>", 4 * size)), "")
            }),
            ("one long text", &|| {
                workbook(
                    &format!("{head}{}", long_row(2)),
                    &format!(
                        "<si><t>q</t></si><si><t>a</t></si><si><t>{}</t></si>",
                        repeated("a ", 15 << 20)
                    ),
                    "",
                )
            }),
            ("many merged cells", &|| {
                workbook(
                    &format!(
                        "{head}{}",
                        numbered(size, |n| format!(
                            "<row r=\"{}\"><c r=\"A{}\" t=\"s\"><v>2</v></c><c t=\"s\"><v>1</v></c></row>",
                            n + 2,
                            n + 2
                        ))
                    ),
                    short,
                    &merges,
                )
            }),
            ("a tag of many attributes", &|| {
                sheet_of(&format!(
                    "<row {}><c/></row>",
                    repeated("a=\"b\" ", 15 << 20)
                ))
            }),
            ("a tag of quotes and ends", &|| {
                sheet_of(&format!("<row {}", repeated("\">", 15 << 20)))
            }),
            ("an open comment", &|| {
                sheet_of(&format!("<!-- {}", repeated("->", 15 << 20)))
            }),
            ("many references", &|| {
                sheet_of(&format!(
                    "<row><c t=\"str\"><v>{}</v></c></row>",
                    repeated("&amp;", 15 << 20)
                ))
            }),
        ],
    );
}
