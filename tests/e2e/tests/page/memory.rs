//! How much memory the page and its worker take to load the bundled model.

use e2e::browser::Window;
use serde_json::json;

use crate::visit::{LOADING, Outcome, Visit, model_file};

#[test]
fn loading_takes_less_than_twice_the_file() -> Outcome {
    let Some(visit) = Visit::start("memory", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    page.choose("Device", "cpu")?;
    page.press("Use the bundled model")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    // A wasm memory never shrinks, so what it takes after loading is its peak.
    let measure = "return performance.measureUserAgentSpecificMemory()";
    let memory = visit.browser.session.script(measure, json!([]))?;
    let taken = memory["bytes"].as_u64().ok_or("no number of bytes")?;
    let file_bytes = std::fs::metadata(model_file())?.len();
    println!(
        "{taken} bytes for a file of {file_bytes}: {}",
        memory["breakdown"]
    );
    assert!(taken > file_bytes, "the model is in what was measured");
    assert!(
        taken < 2 * file_bytes,
        "{taken} bytes for a file of {file_bytes}"
    );
    Ok(())
}
