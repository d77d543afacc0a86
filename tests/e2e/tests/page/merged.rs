//! The real model is exported with an adapter merged in, in a worker whose memory stays small; an export can be
//! canceled.

use e2e::axe;
use e2e::browser::Window;
use e2e::page::{Page, Seen};

use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, file, fill, load, picture, questions, seed, unzipped,
};

/// The embedding of SmolLM2-135M in f32.
const LARGEST_TENSOR: f64 = 49_152.0 * 576.0 * 4.0;
/// What an export may take: one and a half times that, and 64 MB.
const MAX_MEMORY: f64 = LARGEST_TENSOR * 1.5 + 64e6;

/// What the page says that the worker took, in bytes.
fn told_memory(page: &Page) -> Result<f64, Box<dyn std::error::Error>> {
    page.wait_for_text("Writing it took", SOON)?;
    let text = page.body_text()?;
    let (_, rest) = text.split_once("Writing it took ").ok_or("no memory")?;
    let (megabytes, _) = rest.split_once(" MB of memory").ok_or("no megabytes")?;
    Ok(megabytes.parse::<f64>()? * 1e6)
}

/// Waits until some of a merged model is written. All of it may take no more than seconds: what is to be seen until then
/// comes at once.
fn wait_for_some(visit: &Visit, page: &Page) -> Outcome {
    page.wait("some of it to be written", LOADING, || {
        let script = "return document.querySelector('.merging progress')?.value ?? 0";
        let done = visit.browser.session.script(script, serde_json::json!([]));
        Ok(match done.map(|done| done.as_f64().unwrap_or(0.0)) {
            Ok(done) if done > 0.02 => Seen::Yes(()),
            seen => Seen::NotYet(format!("{seen:?}")),
        })
    })?;
    Ok(())
}

#[test]
fn merged_models_leave_in_slices_and_can_be_cancelled() -> Outcome {
    let Some(visit) = Visit::start("merged", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let dataset = visit.write("questions.jsonl", questions(12, seed()))?;
    load(&page, &dataset)?;
    fill(
        &page,
        &[
            ("Max steps", "1"),
            ("Batch size", "1"),
            ("Sequence length", "48"),
        ],
    )?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    page.wait_until_enabled("Download merged model", SOON)?;

    page.press("Download merged model")?;
    wait_for_some(&visit, &page)?;
    assert!(!page.is_enabled("Download merged GGUF")?);
    page.press("Cancel the export")?;
    page.wait_until_enabled("Download merged GGUF", SOON)?;

    page.choose("GGUF type", "Q4_0")?;
    page.press("Download merged GGUF")?;
    let zip = visit.browser.downloaded("-merged-q4_0.zip", RUN)?;
    let files = unzipped(&zip)?;
    let name = "inlay-smollm2-135m-instruct-merged-q4_0.gguf";
    let gguf = file(&files, name)?;
    assert!(
        gguf.starts_with(b"GGUF") && gguf.len() > 90_000_000,
        "{} bytes",
        gguf.len()
    );
    let modelfile = String::from_utf8(file(&files, "Modelfile")?.to_vec())?;
    assert!(
        modelfile.contains(&format!("FROM ./{name}")) && modelfile.contains("<|im_end|>"),
        "{modelfile}"
    );
    let quantized = told_memory(&page)?;
    picture(&page, "merged-written")?;

    page.press("Download merged model")?;
    wait_for_some(&visit, &page)?;
    picture(&page, "merged-writing")?;
    if axe::script_file().exists() {
        let found = axe::violations(&visit.browser.session)?;
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
    let zip = visit.browser.downloaded("-merged-f32.zip", RUN)?;
    let num_bytes = std::fs::metadata(&zip)?.len();
    std::fs::remove_file(&zip)?;
    assert!(num_bytes > 538_000_000, "{num_bytes} bytes");
    let whole = told_memory(&page)?;
    println!("memory: {quantized:.0} bytes for Q4_0, {whole:.0} for F32, {MAX_MEMORY:.0} allowed");
    assert!(quantized < MAX_MEMORY && whole < MAX_MEMORY);
    page.expect_quiet_console()?;
    Ok(())
}
