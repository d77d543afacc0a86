//! How much memory the page and its worker take to load the bundled model.

use e2e::browser::Window;

use crate::visit::{LOADING, Outcome, Visit, model_file};

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
