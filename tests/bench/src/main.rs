//! `bench [OPTION]...`: compares the engine with its peers in one Chromium, prints tables, and writes JSON.
//!
//! ```text
//! plan      what there is to measure, and which sides take part
//! page      the bench's page in the browser: calls to the sides' workers
//! measure   one work on several sides, in turn
//! native    PyTorch with PEFT, where Python has them
//! startup   the built page: sizes, and the time until it is ready
//! report    tables and JSON
//! ```

#[path = "driver/measure.rs"]
mod measure;
#[path = "driver/native.rs"]
mod native;
#[path = "driver/page.rs"]
mod page;
#[path = "driver/plan.rs"]
mod plan;
#[path = "driver/report.rs"]
mod report;
#[path = "driver/startup.rs"]
mod startup;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use e2e::{
    browser::{Browser, Window},
    server::{Isolation, SiteServer},
};

use crate::{
    measure::Bench,
    native::PyTorch,
    page::{BenchPage, Model},
    plan::Options,
    report::Report,
};

/// Why the bench ended early.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Browser(#[from] e2e::browser::BrowserError),
    #[error(transparent)]
    WebDriver(#[from] e2e::webdriver::WebDriverError),
    #[error(transparent)]
    Serve(#[from] e2e::server::ServeError),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n\n{}", plan::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(options: &Options) -> Result<(), BenchError> {
    let folder = root().join("target/bench");
    let site = folder.join("site");
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| folder.join("results.json"));
    let server = SiteServer::start_with(&site, 0, Isolation::WithoutPolicy)?;
    let browser = Browser::start(&folder.join("browser"), Window::default())?;
    let page = BenchPage::open(&browser.session, &server.origin(), Model::of(&site))?;
    let python = PyTorch::start(&root().join("tests/bench/pytorch.py"));
    let mut report = Report::new(&browser.session, options)?;
    if let Err(missing) = &python {
        report.missing("PyTorch with PEFT", missing);
    }
    let has_f16 = page.has_f16;
    if !has_f16 {
        report.missing("halves on the GPU", "there is no adapter with shader-f16");
    }
    let mut bench = Bench::new(page, python.ok(), options);
    for work in plan::works(options, has_f16) {
        let measured = bench.measure(&work);
        report.add(&work, measured);
        // After each workload, so that an interrupted bench leaves its results.
        report.write(&output)?;
    }
    for (side, about) in bench.about() {
        report.about(side, about);
    }
    drop(bench);
    drop(browser);
    if options.takes("startup") {
        startup::measure(
            &root().join("dist"),
            &folder,
            options.repetitions,
            &mut report,
        );
    }
    report.write(&output)?;
    report.summarize();
    println!("\nWritten to {}", output.display());
    Ok(())
}
