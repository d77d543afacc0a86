//! How long a returning visitor waits: the page and the worker from the browser's cache, the model from its own storage.
//! Speed depends on the machine and is printed, not asserted; what is asserted is that nothing is downloaded twice.

use e2e::browser::Window;
use e2e::page::Page;
use serde_json::json;

use crate::visit::{LOADING, Outcome, SOON, Visit};

/// Opens the page, loads the bundled model and returns the milliseconds since the navigation began.
fn load(visit: &Visit) -> Result<f64, Box<dyn std::error::Error>> {
    let page: Page = visit.page()?;
    page.press("Use the bundled model")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    let now = visit
        .browser
        .session
        .script("return performance.now()", json!([]))?;
    page.expect_quiet_console()?;
    now.as_f64().ok_or_else(|| "no time".into())
}

#[test]
fn a_second_visit_finds_the_model_in_place() -> Outcome {
    let Some(visit) = Visit::start("warm-load", Window::default())? else {
        return Ok(());
    };
    let first = load(&visit)?;
    let mut others = Vec::new();
    for _ in 0..3 {
        // Leaves the page, so that its worker is gone.
        visit.browser.session.navigate("about:blank")?;
        std::thread::sleep(SOON / 30);
        others.push(load(&visit)?);
    }
    println!("ready to train after {first:.0} ms at first, then after {others:.0?} ms");
    let requests = visit.browser.close(&visit.origin)?;
    let downloads = requests.iter().filter(|url| url.ends_with(".gguf")).count();
    assert_eq!(downloads, 1, "the model is downloaded once: {requests:?}");
    Ok(())
}
