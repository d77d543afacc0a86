//! The built page: how large it is, and how long a visitor waits until training can start.

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use e2e::{
    browser::{Browser, Window},
    page::{Page, PageError},
    server::SiteServer,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};

use crate::{BenchError, report::Report};

const PATIENCE: Duration = Duration::from_secs(240);

/// Sizes of the page in `dist`, and its times to readiness: once in a new browser, then with what it has kept.
pub fn measure(dist: &Path, folder: &Path, repetitions: usize, report: &mut Report) {
    if !dist.join("index.html").is_file() {
        return report.missing("the built page", "dist is not there (make build)");
    }
    println!("\n== the built page");
    match sizes(dist) {
        Ok(sizes) => report.note("bytes, gzipped", sizes),
        Err(error) => report.missing("sizes", &error.to_string()),
    }
    match times(dist, folder, repetitions) {
        Ok(times) => report.note("seconds until training can start", times),
        Err(error) => report.missing("times to readiness", &error.to_string()),
    }
}

/// The sizes of all code and styles.
fn sizes(dist: &Path) -> Result<Value, BenchError> {
    let failure = |error| BenchError::File(dist.to_owned(), error);
    let mut sizes = Map::new();
    for entry in std::fs::read_dir(dist).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if [".wasm", ".js", ".css", ".html"]
            .iter()
            .any(|ending| name.ends_with(ending))
        {
            let bytes = std::fs::read(&path).map_err(|error| BenchError::File(path, error))?;
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&bytes).map_err(failure)?;
            sizes.insert(name, json!(encoder.finish().map_err(failure)?.len()));
        }
    }
    Ok(Value::Object(sizes))
}

fn times(dist: &Path, folder: &Path, repetitions: usize) -> Result<Value, BenchError> {
    let server = SiteServer::start(dist, 0)?;
    let browser = Browser::start(&folder.join("startup"), Window::default())?;
    let visit = || visit(&browser, &server.origin()).map_err(|error| error.to_string());
    let cold = visit();
    let warm: Vec<Result<f64, String>> = (0..repetitions).map(|_| visit()).collect();
    let told = |time: Result<f64, String>| time.map_or_else(Value::from, Value::from);
    let warm: Vec<Value> = warm.into_iter().map(told).collect();
    Ok(json!({ "cold": told(cold), "warm": warm }))
}

/// From the load to the moment when training can start, as soon as a quick person can press the buttons.
fn visit(browser: &Browser, origin: &str) -> Result<f64, PageError> {
    let start = Instant::now();
    let page = Page::open(&browser.session, origin)?;
    page.wait_until_enabled("Use the bundled model", PATIENCE)?;
    page.press("Use the bundled model")?;
    page.press("Load sample dataset")?;
    page.wait_until_enabled("Start training", PATIENCE)?;
    Ok(start.elapsed().as_secs_f64())
}
