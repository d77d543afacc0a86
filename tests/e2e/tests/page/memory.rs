//! How much memory the page and its worker take, to load the bundled model and to train it.

use e2e::browser::Window;

use crate::visit::{LOADING, Outcome, RUN, SOON, Visit, fill, load, megabytes, model_file};

#[test]
fn loading_takes_less_than_twice_the_file() -> Outcome {
    let Some(visit) = Visit::start("memory", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    page.choose("Device", "cpu")?;
    page.wait_for_status(&["Idle"], LOADING)?;
    let before = visit.browser.peak_page_bytes()?;
    page.press("Use the bundled model")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    let taken = visit.browser.peak_page_bytes()?.saturating_sub(before);
    let file_bytes = std::fs::metadata(model_file())?.len();
    println!("{taken} bytes for a file of {file_bytes}");
    assert!(taken > file_bytes / 2, "the model is in what was measured");
    assert!(
        taken < 2 * file_bytes,
        "{taken} bytes for a file of {file_bytes}"
    );
    Ok(())
}

/// Compares the engine's memory during a run with the page's estimate.
#[test]
fn a_run_takes_what_was_estimated() -> Outcome {
    const TOKENS: &str = "192";
    let Some(visit) = Visit::start("estimate", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    page.choose("Device", "cpu")?;
    page.wait_for_status(&["Idle"], LOADING)?;
    // All rows reach the limit, so that the batch is as large as the estimate takes it to be.
    let row = format!(
        r#"{{"text": "{}"}}"#,
        "The lantern is in the hall. ".repeat(60)
    );
    let dataset = visit.write("long.jsonl", [row.as_str(); 4].join("\n"))?;
    load(&page, &dataset)?;
    let settings = [
        ("Max steps", "2"),
        ("Batch size", "2"),
        ("Sequence length", TOKENS),
        ("Validation split", "0.25"),
    ];
    fill(&page, &settings)?;
    // The plan follows the settings after a moment.
    page.wait_for_text("4 of 4 rows are longer than 192 tokens", SOON)?;
    let plan = page.text("Planned run")?;
    let estimate = plan
        .lines()
        .find(|line| line.contains("of memory (estimate)"));
    let estimate = megabytes(estimate.ok_or("no estimate")?)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    let taken = megabytes(&page.text("Memory in use")?)?;
    println!("{estimate} MB estimated, {taken} MB taken");
    assert!(
        taken <= estimate && estimate <= 1.3 * taken,
        "{estimate} MB were estimated, {taken} MB taken"
    );
    Ok(())
}
