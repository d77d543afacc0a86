//! The CPU engine on all cores: with the server's headers, on a host that sends none, and where threads do not start.

use std::path::Path;

use e2e::browser::Window;
use e2e::page::Page;
use e2e::server::{Fault, Isolation};
use serde_json::json;

use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, adapter, copy_site, fill, load, root, seed, sentences,
    tiny_model, wait_for_adapters,
};

/// Whether this build has the workers with threads, and a machine to run them on; says so if not.
fn has_threads(test: &str) -> bool {
    let built = root().join("dist/worker_cpu_threads_loader.js").exists();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if !built {
        println!("SKIPPED {test}: the page is built without threads (make setup adds rust-src)");
    } else if cores < 2 {
        println!("SKIPPED {test}: this machine has one core");
    }
    built && cores > 1
}

/// What the page says of its threads, once the engine is there.
fn device_note(page: &Page) -> Result<String, Box<dyn std::error::Error>> {
    page.wait_for_text("Running on the CPU with SIMD", LOADING)?;
    let body = page.body_text()?;
    let line = body
        .lines()
        .find(|line| line.contains("Running on the CPU"));
    Ok(line.ok_or("no line")?.to_owned())
}

/// Two steps of training, after which the page shows a loss.
fn train(visit: &Visit, page: &Page) -> Outcome {
    let dataset = visit.write("sentences.jsonl", sentences(6, seed()))?;
    load(page, &dataset)?;
    fill(
        page,
        &[
            ("Max steps", "2"),
            ("Batch size", "1"),
            ("Sequence length", "16"),
        ],
    )?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    let loss = page.readout("Training loss")?;
    assert!(loss.is_some_and(f64::is_finite), "{loss:?}");
    Ok(())
}

#[test]
fn the_cpu_engine_uses_all_cores() -> Outcome {
    if !has_threads("the_cpu_engine_uses_all_cores") {
        return Ok(());
    }
    let Some(visit) = Visit::start("threads", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    page.choose("Device", "cpu")?;
    let note = device_note(&page)?;
    let cores = visit
        .browser
        .session
        .script("return navigator.hardwareConcurrency", json!([]))?;
    let cores = cores.as_u64().ok_or("no number of cores")?;
    let threads = cores.min(16);
    assert!(
        note.contains(&format!("{threads} threads of {cores} cores")),
        "{note}"
    );
    assert!(
        note.contains("fused multiply-add"),
        "this Chromium has relaxed SIMD: {note}"
    );
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn a_plain_host_is_isolated_by_the_service_worker() -> Outcome {
    if !has_threads("a_plain_host_is_isolated_by_the_service_worker") {
        return Ok(());
    }
    let dist = root().join("dist");
    let Some(visit) = Visit::start_from("plain-host", Window::default(), &dist, Isolation::Plain)?
    else {
        return Ok(());
    };
    let page = visit.page()?;
    let note = device_note(&page)?;
    assert!(note.contains(" threads of "), "{note}");
    train(&visit, &page)?;
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn without_isolation_one_thread_does_the_work() -> Outcome {
    let dist = root().join("dist");
    let Some(visit) = Visit::start_from("bare-host", Window::default(), &dist, Isolation::Plain)?
    else {
        return Ok(());
    };
    // As where service workers are not allowed.
    let session = &visit.browser.session;
    session.devtools("Network.enable", json!({}))?;
    session.devtools("Network.setBypassServiceWorker", json!({ "bypass": true }))?;
    let page = visit.page()?;
    let note = device_note(&page)?;
    assert!(note.contains("1 thread of "), "{note}");
    page.wait_for_text("this page is not cross-origin isolated", SOON)?;
    train(&visit, &page)?;
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn threads_that_do_not_start_are_done_without() -> Outcome {
    if !has_threads("threads_that_do_not_start_are_done_without") {
        return Ok(());
    }
    let site = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without-thread-script");
    copy_site(&root().join("dist"), &site, "worker_thread.js")?;
    let visit = Visit::start_from("no-threads", Window::default(), &site, Isolation::Isolated)?;
    let Some(visit) = visit else {
        return Ok(());
    };
    let page = visit.page()?;
    let note = device_note(&page)?;
    assert!(note.contains("1 thread of "), "{note}");
    page.wait_for_text("because more did not start", SOON)?;
    train(&visit, &page)?;
    Ok(())
}

/// On a slow line, the engine has not started yet when somebody drops their files and chooses another device.
#[test]
fn an_adapter_that_no_engine_has_had_is_given_to_the_next() -> Outcome {
    if !has_threads("an_adapter_that_no_engine_has_had_is_given_to_the_next") {
        return Ok(());
    }
    let Some(visit) = Visit::start("before-threads", Window::default())? else {
        return Ok(());
    };
    let program = "worker_cpu_relaxed_bg.wasm";
    visit.server.set_fault(program, Some(Fault::Silent));
    let page = visit.page()?;
    page.choose_files("Model files", &tiny_model()?)?;
    page.choose_files("Adapter files", &adapter("lora.all_linear")?)?;
    page.wait_until_enabled("Cancel loading the adapter", SOON)?;
    page.choose("Device", "cpu")?;
    visit.server.set_fault(program, None);
    wait_for_adapters(&page, 1)?;
    page.expect_quiet_console()?;
    Ok(())
}
