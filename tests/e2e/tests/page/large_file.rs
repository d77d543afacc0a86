//! A dataset of a hundred megabytes: rows are seen while it is read, and the page stays smooth meanwhile.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::smooth::{Trace, long_ones, told};
use crate::visit::{Chance, LOADING, Outcome, Visit, seed};

/// What the file weighs, in megabytes; `INLAY_LARGE_FILE_MB` says otherwise.
const DEFAULT_MB: u64 = 100;
/// For reading it on a machine that is busy with other things.
const READING: Duration = Duration::from_secs(180);
/// Where the page stands: the number of rows in the summary, if rows are shown, and whether all are read.
const LOOK: &str = "
    const summary = document.querySelector('[aria-label=\"Dataset summary\"]')?.textContent ?? '';
    const rows = document.querySelectorAll('[aria-label=\"Rows of the dataset\"] tr[aria-busy=\"false\"]').length;
    return [summary, rows];";

/// Rows of some 300 to 800 bytes, no two alike. Gives how many.
fn write_rows(path: &Path, num_bytes: u64, seed: u64) -> Result<u64, Box<dyn std::error::Error>> {
    const WORDS: [&str; 24] = [
        "harbour",
        "kettle",
        "quietly",
        "between",
        "the",
        "a",
        "measured",
        "lantern",
        "seven",
        "would",
        "carry",
        "letters",
        "and",
        "of",
        "winter",
        "bridge",
        "nobody",
        "remembers",
        "its",
        "slow",
        "green",
        "river",
        "after",
        "rain",
    ];
    let mut chance = Chance(seed);
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let (mut written, mut num_rows) = (0, 0);
    let mut row = String::new();
    while written < num_bytes {
        row.clear();
        write!(row, r#"{{"prompt": "Question {num_rows}: what of"#)?;
        for _ in 0..10 + chance.below(12) {
            write!(row, " {}", chance.pick(&WORDS))?;
        }
        write!(row, r#"?", "completion": "It is said that"#)?;
        for _ in 0..25 + chance.below(60) {
            write!(row, " {}", chance.pick(&WORDS))?;
        }
        writeln!(
            row,
            r#" {}.\nSo it goes.", "id": {num_rows}}}"#,
            chance.below(1_000_000)
        )?;
        file.write_all(row.as_bytes())?;
        written += row.len() as u64;
        num_rows += 1;
    }
    file.flush()?;
    Ok(num_rows)
}

#[test]
fn a_large_file_is_seen_at_once_and_read_in_the_background() -> Outcome {
    let Some(visit) = Visit::start_traced("large_file")? else {
        return Ok(());
    };
    let megabytes = std::env::var("INLAY_LARGE_FILE_MB").ok();
    let megabytes = megabytes.map_or(Ok(DEFAULT_MB), |text| text.parse())?;
    let file = visit.folder.join("large.jsonl");
    let num_rows = write_rows(&file, megabytes * 1_000_000, seed())?;
    let file_bytes = std::fs::metadata(&file)?.len();
    let page = visit.page()?;
    // The model first: what it takes to load is another matter.
    page.press("Use the bundled model")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    let before = visit.browser.peak_page_bytes()?;

    let mut trace = Trace::of(&visit);
    trace.mark("begin")?;
    let start = Instant::now();
    page.choose_files("Dataset files", &[&file])?;
    let (mut first, mut marks) = (None, 0);
    let summary = loop {
        let seen = visit.browser.session.script(LOOK, json!([]))?;
        let summary = seen[0].as_str().unwrap_or_default().to_owned();
        if seen[1].as_u64() > Some(0) {
            first.get_or_insert(start.elapsed());
        }
        if summary.contains("row") && !summary.contains("still reading") {
            break summary;
        }
        assert!(start.elapsed() < READING, "still '{summary}'");
        // The browser's record must not fill.
        if start.elapsed() > Duration::from_secs(4 * (marks + 1)) {
            marks += 1;
            trace.mark(&format!("reading {marks}"))?;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let whole = start.elapsed();
    let taken = visit.browser.peak_page_bytes()?.saturating_sub(before);
    trace.mark("end")?;
    std::fs::remove_file(&file)?;

    let tasks = trace.record.tasks_between("begin", "end")?;
    println!(
        "{file_bytes} bytes, {num_rows} rows: the first were shown after {:.2} s, all were read after {:.2} s; {taken} bytes \
         of memory; {}",
        first.ok_or("no row was shown")?.as_secs_f64(),
        whole.as_secs_f64(),
        told(&tasks),
    );
    let counted = summary
        .split(' ')
        .next()
        .unwrap_or_default()
        .replace(',', "");
    assert_eq!(counted, num_rows.to_string(), "{summary}");
    assert!(first < Some(whole), "rows are shown before all are read");
    let long = long_ones(&tasks);
    assert!(long.is_empty(), "long tasks: {long:#?}");
    // The browser keeps the rows. What the reader has read and handed over stays until it is collected.
    let most = 4 * file_bytes + (64 << 20);
    assert!(
        taken < most,
        "{taken} bytes of memory for a file of {file_bytes}"
    );
    page.expect_quiet_console()?;
    Ok(())
}
