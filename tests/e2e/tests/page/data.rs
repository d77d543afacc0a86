//! Datasets in the shapes that people have, the mapping corrected by hand, rows left out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use e2e::browser::Window;
use e2e::page::{Page, Seen};

use crate::visit::{LOADING, Outcome, SOON, Visit, fixture, picture};
use crate::zipped::deflated;

/// Files given together, how many rows they have, and words of the first row.
struct Shape {
    files: Vec<(&'static str, Vec<u8>)>,
    rows: usize,
    shows: &'static str,
}

fn shape(name: &'static str, bytes: impl Into<Vec<u8>>, rows: usize, shows: &'static str) -> Shape {
    Shape {
        files: vec![(name, bytes.into())],
        rows,
        shows,
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn shapes() -> Vec<Shape> {
    let csv = "Question,Answer\n\"Who, then?\",Nobody\nWhat?,Nothing\n";
    vec![
        shape(
            "chat.jsonl",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi there\"}, {\"role\": \"assistant\", \"content\": \"Hello\"}]}\n",
            1,
            "Hi there",
        ),
        shape(
            "share.json",
            "[{\"conversations\": [{\"from\": \"human\", \"value\": \"Which way?\"}, {\"from\": \"gpt\", \"value\": \"North\"}]}]",
            1,
            "Which way?",
        ),
        shape(
            "alpaca.json",
            "{\"data\": [{\"instruction\": \"Add them\", \"input\": \"2 and 2\", \"output\": \"4\"}, {\"instruction\": \"Wait\", \"input\": \"\", \"output\": \"Yes\"}]}",
            2,
            "2 and 2",
        ),
        shape("table.txt", csv, 2, "Who, then?"),
        shape(
            "table.tsv",
            "text\tlabel\nA fine day\tgood\nRain\tbad\n",
            2,
            "A fine day",
        ),
        shape(
            "prose.md",
            "# Heading\n\nA first paragraph.\n\nA second one.\n",
            2,
            "first paragraph",
        ),
        shape("table.csv.gz", gzipped(csv.as_bytes()), 2, "Who, then?"),
        shape(
            "all.zip",
            deflated(&[
                ("a/one.csv", csv.as_bytes()),
                ("b/two.jsonl", b"{\"prompt\": \"P\", \"completion\": \"C\"}"),
            ]),
            3,
            "Who, then?",
        ),
        shape(
            "pairs.jsonl",
            "{\"prompt\": \"Better?\", \"chosen\": \"Much\", \"rejected\": \"Worse\"}\n",
            1,
            "Better?",
        ),
        Shape {
            files: vec![
                ("one.jsonl", b"{\"text\": \"one of two\"}".to_vec()),
                ("two.jsonl", b"{\"text\": \"two of two\"}".to_vec()),
            ],
            rows: 2,
            shows: "two of two",
        },
    ]
}

fn give(visit: &Visit, page: &Page, files: &[(&str, Vec<u8>)]) -> Outcome {
    let mut paths: Vec<PathBuf> = Vec::new();
    for (name, bytes) in files {
        paths.push(visit.write(&format!("shapes/{name}"), bytes)?);
    }
    Ok(page.choose_files("Dataset files", &paths)?)
}

/// Waits until the dataset's line and the table say so.
fn wait_for_rows(page: &Page, rows: &str, shows: &str) -> Outcome {
    page.wait(&format!("{rows} and {shows:?}"), LOADING, || {
        let summary = page.text("Dataset summary")?;
        let table = page.text("Rows of the dataset")?;
        Ok(if summary.starts_with(rows) && table.contains(shows) {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("{summary}; {table}"))
        })
    })?;
    Ok(())
}

fn counted(rows: usize) -> String {
    if rows == 1 {
        "1 row".to_owned()
    } else {
        format!("{rows} rows")
    }
}

#[test]
fn every_shape_is_read_and_mappings_are_corrected_by_hand() -> Outcome {
    let Some(visit) = Visit::start("data", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    for Shape { files, rows, shows } in shapes() {
        give(&visit, &page, &files)?;
        wait_for_rows(&page, &counted(rows), shows)?;
    }
    let parquet = fixture("datasets/parquet/zstd.parquet")?;
    page.choose_files("Dataset files", &[&parquet])?;
    page.wait_for_text("Parquet", LOADING)?;

    // Names that say nothing: the page asks, and a person answers.
    let table = b"first,second\nup,down\nleft,right\n".to_vec();
    give(&visit, &page, &[("unnamed.csv", table)])?;
    page.wait_for_text("tell which columns to learn from", LOADING)?;
    page.wait_for_text(
        "Is \u{201c}first\u{201d} the question and \u{201c}second\u{201d} the answer?",
        SOON,
    )?;
    let shown = page.text("Columns of the first rows")?;
    assert!(shown.contains("left"), "the rows are shown: {shown}");
    picture(&page, "columns-asked")?;
    page.press("Yes, use these columns")?;
    wait_for_rows(&page, "2 rows", "down")?;
    page.choose("Row format", "Prompt and completion")?;
    page.choose("Prompt column", "second")?;
    page.choose("Completion column", "first")?;
    page.press("Apply")?;
    wait_for_rows(&page, "2 rows", "down")?;
    picture(&page, "mapped-by-hand")?;

    // Files are the splits that their names say, until a person says otherwise.
    let row = |what: &str| format!("{{\"prompt\": \"{what}\", \"completion\": \"{what}\"}}\n");
    let splits = deflated(&[
        ("test.jsonl", row("kept").as_bytes()),
        ("train.jsonl", row("learned").as_bytes()),
    ]);
    give(&visit, &page, &[("splits.zip", splits)])?;
    wait_for_rows(&page, "2 rows", "kept")?;
    page.wait_for_text("Test split isn't used", SOON)?;
    picture(&page, "splits")?;
    page.choose("Split of splits.zip/test.jsonl", "Train")?;
    page.wait_for_text("drawn from all files", SOON)?;

    // Repetitions are called out, and left out where asked.
    let repeated: String = (0..1050)
        .map(|row| {
            format!(
                "{{\"prompt\": \"question {0}\", \"completion\": \"answer {0}\"}}\n",
                row % 10
            )
        })
        .collect();
    give(&visit, &page, &[("repeated.jsonl", repeated.into_bytes())])?;
    page.wait_for_text("1,040 duplicates", LOADING)?;
    page.wait_for_status(&["Ready"], LOADING)?;
    page.press("Leave out duplicates")?;
    page.wait_until_enabled("Put back duplicates", SOON)?;
    page.wait_for_text("9 for training, 1 held out", LOADING)?;
    picture(&page, "repeated")?;
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn pasted_rows_and_templates_become_a_ready_dataset() -> Outcome {
    let Some(visit) = Visit::start("pasted", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    page.press("Paste rows instead")?;
    let rows = [
        r#"{"prompt": "What is an inlay?", "completion": "A piece set flush into another."}"#,
        r#"{"prompt": "What is brass?", "completion": "Copper with zinc."}"#,
        r#"{"prompt": "What is graphite?", "completion": "Carbon in layers."}"#,
    ];
    page.fill("Rows as JSON lines", &rows.join("\n"))?;
    page.press("Read the rows")?;
    wait_for_rows(&page, "3 rows", "Copper with zinc.")?;
    // Rows without a model load the bundled one.
    page.wait_for_status(&["Ready"], LOADING)?;
    page.wait_for_text("2 for training, 1 held out", LOADING)?;
    assert!(page.is_enabled("Start training")?);
    wait_for_tokens(&page, "What is an inlay?")?;

    page.fill(
        "Rows as JSON lines",
        &format!("{}\n{{\"prompt\": ", rows[0]),
    )?;
    page.press("Read the rows")?;
    page.wait_for_text("pasted text, line 2", LOADING)?;

    let table = "city,country,fact\nOslo,Norway,It lies on a fjord.\nLima,Peru,It hardly ever rains.\nBonn,Germany,It was a capital.";
    page.fill("Rows as JSON lines", table)?;
    page.press("Read the rows")?;
    page.wait_for_text("tell which columns to learn from", LOADING)?;
    // The panel has opened by itself.
    page.choose("Row format", "Template")?;
    page.fill("Prompt template", "Tell me about {city} in ")?;
    page.press("{country}")?;
    page.fill("Completion template", "{{So}}: {fact}")?;
    page.press("Apply")?;
    wait_for_rows(&page, "3 rows", "Tell me about Lima in Peru")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    page.wait_for_text("2 for training, 1 held out", LOADING)?;
    wait_for_tokens(&page, "Tell me about Oslo in Norway")?;
    wait_for_tokens(&page, "{So}: It lies on a fjord.")?;
    page.wait_for_text("your template", SOON)?;
    picture(&page, "template")?;
    page.expect_quiet_console()?;
    Ok(())
}

fn wait_for_tokens(page: &Page, words: &str) -> Outcome {
    page.wait(&format!("the tokens of {words:?}"), LOADING, || {
        let tokens = page.text("Tokens of the row")?;
        Ok(if tokens.contains(words) {
            Seen::Yes(())
        } else {
            Seen::NotYet(tokens)
        })
    })?;
    Ok(())
}

/// Notes about files as a whole.
#[test]
fn notes_are_shown_and_a_refused_file_is_told_while_settings_change() -> Outcome {
    let Some(visit) = Visit::start("notes", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let csv = b"question,answer\nWho?,Nobody\nWhat?,Nothing at all\nWhen?,Never\n";
    let files = deflated(&[
        ("train/rows.csv", csv),
        ("README.md", b"# About\n\nThese rows are ours.\n"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0"),
    ]);
    give(&visit, &page, &[("mixed.zip", files)])?;
    wait_for_rows(&page, "3 rows", "Nothing at all")?;
    for note in [
        "mixed.zip/README.md: It was skipped",
        "mixed.zip/picture.png: It was skipped",
        "a PNG picture",
    ] {
        page.wait_for_text(note, SOON)?;
    }
    // Invalid bytes after those that determine the encoding.
    let mut odd = "question,answer\n".to_owned().into_bytes();
    for row in 0..3000 {
        odd.extend(format!("Where is caf\u{e9} {row}?,At number {row}\n").into_bytes());
    }
    odd.extend(b"What is \xFF?,A byte\n");
    give(&visit, &page, &[("odd.csv", odd)])?;
    wait_for_rows(&page, "3,001 rows", "At number 1")?;
    page.wait_for_text(
        "odd.csv: One place is not valid UTF-8; the first is in line 3002, column 9",
        SOON,
    )?;

    // The message about a refused file stays until there is another file; the loaded dataset can be encoded again
    // meanwhile.
    page.wait_for_status(&["Ready"], LOADING)?;
    give(&visit, &page, &[("nothing.csv", Vec::new())])?;
    page.wait_for_text("nothing.csv is empty", SOON)?;
    page.fill("Sequence length", "64")?;
    page.wait_for_text("longer than the limit of 64 tokens", LOADING)?;
    page.wait_for_text("nothing.csv is empty", Duration::ZERO)?;
    page.press("Dismiss the message in Data")?;
    page.wait_for_status(&["Ready"], SOON)?;
    page.expect_quiet_console()?;
    Ok(())
}

/// Only the rows in sight are on the page, and the last is as near as the first.
#[test]
fn a_hundred_thousand_rows_are_scrolled_through() -> Outcome {
    let Some(visit) = Visit::start("many_rows", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let rows: String = (0..100_000)
        .map(|row| {
            format!("{{\"prompt\": \"prompt {row}\", \"completion\": \"completion {row}\"}}\n")
        })
        .collect();
    give(&visit, &page, &[("many.jsonl", rows.into_bytes())])?;
    wait_for_rows(&page, "100,000 rows", "prompt 0")?;
    let scroll = "const region = document.querySelector('[aria-label=\"Rows of the dataset\"]'); \
                  region.scrollTop = region.scrollHeight; return region.querySelectorAll('tr').length";
    let drawn = visit
        .browser
        .session
        .script(scroll, serde_json::json!([]))?;
    assert!(
        drawn.as_u64().is_some_and(|drawn| drawn < 100),
        "{drawn} rows are drawn"
    );
    wait_for_rows(&page, "100,000 rows", "prompt 99999")?;
    page.expect_quiet_console()?;
    Ok(())
}
