//! What a connection or a server does to the page's own files and to the bundled model: everything that does not come, or
//! comes wrong, is told, and what is tried again works.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::browser::Window;
use e2e::page::{Page, Seen};
use e2e::server::{Fault, Isolation};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::visit::{LOADING, Outcome, SOON, Visit, copy_site, model_file, root};

const MODEL: &str = ".gguf";
const SCRIPT: &str = "/app.js";
const PROGRAM: &str = "/app_bg.wasm";
/// How long the page waits for a byte, or for its own program, and what a busy machine adds.
const SILENCE: Duration = Duration::from_secs(45);

/// The files that the page's origin keeps of models.
fn kept(visit: &Visit) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let list = "return (async () => {
        try {
            const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('models');
            const names = [];
            for await (const name of folder.keys()) names.push(name);
            return names.sort();
        } catch {
            return [];
        }
    })()";
    let names = visit.browser.session.script(list, json!([]))?;
    let names = names.as_array().cloned().unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect())
}

/// Waits until the page has loaded the model.
fn loaded(page: &Page) -> Outcome {
    Ok(page.wait_for_text("SHA-256", LOADING)?)
}

fn wait_for_part(visit: &Visit, page: &Page) -> Outcome {
    page.wait("a part of the model", LOADING, || {
        let names = kept(visit).unwrap_or_default();
        Ok(if names.iter().any(|name| name.ends_with(".part")) {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("{names:?}"))
        })
    })?;
    Ok(())
}

/// Waits until a page that does not start says so by itself.
fn wait_for_patience_to_end(page: &Page) -> Outcome {
    const LATE: &str = "The page's program has not arrived in 20 seconds.";
    page.wait(
        "the page's styles, which hide what is for later",
        SOON,
        || {
            let body = page.body_text()?;
            Ok(
                match body.contains("The page is loading") && !body.contains(LATE) {
                    true => Seen::Yes(()),
                    false => Seen::NotYet(body),
                },
            )
        },
    )?;
    let start = Instant::now();
    page.wait_for_text(LATE, SILENCE)?;
    assert!(
        start.elapsed() > Duration::from_secs(10),
        "it is said too early"
    );
    Ok(())
}

fn assert_whole_model_is_kept(visit: &Visit) -> Outcome {
    let names = kept(visit)?;
    assert!(
        names.len() == 1 && !names[0].ends_with(".part"),
        "{names:?}"
    );
    Ok(())
}

#[test]
fn a_model_that_does_not_come_says_why_and_leaves_nothing_behind() -> Outcome {
    let test = "model-that-does-not-come";
    let Some(visit) = Visit::start(test, Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    for (fault, said) in [
        (Fault::Status("404 Not Found"), "no such file (404)"),
        (Fault::Status("503 Service Unavailable"), "answered 503"),
        // Browsers count it as fine, but it is a part.
        (Fault::Status("206 Partial Content"), "answered 206"),
        (Fault::Page, "sent a web page instead of the model"),
        (Fault::CutAfter(30_000_000), "The download broke off after"),
        (
            Fault::WrongAt(40_000_000),
            "neither was it when the server was asked again",
        ),
        (
            Fault::StallAfter(30_000_000),
            "Nothing more of the model came for 20 seconds, after 30.0 of 98.4 MB.",
        ),
    ] {
        visit.server.set_fault(MODEL, Some(fault));
        page.press("Use the bundled model")?;
        page.wait_for_text(said, LOADING)?;
        page.wait_for_status(&["Failed"], SOON)?;
        assert_eq!(kept(&visit)?, Vec::<String>::new(), "{fault:?}");
    }
    visit.server.set_fault(MODEL, None);
    page.press("Use the bundled model")?;
    loaded(&page)?;
    assert_whole_model_is_kept(&visit)
}

/// Whether the server is silent or sends a byte now and then.
#[test]
fn a_download_is_cancelled_at_once() -> Outcome {
    let Some(visit) = Visit::start("cancelled-download", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    for fault in [
        Fault::Silent,
        Fault::StallAfter(20_000_000),
        Fault::DripAfter(20_000_000, Duration::from_millis(500)),
    ] {
        visit.server.set_fault(MODEL, Some(fault));
        page.press("Use the bundled model")?;
        if fault == Fault::Silent {
            page.wait_for_status(&["Loading model"], SOON)?;
        } else {
            wait_for_part(&visit, &page)?;
        }
        page.press("Cancel loading the model")?;
        let start = Instant::now();
        page.wait_for_status(&["Idle"], SOON)?;
        page.wait("no part of the model", SOON, || {
            let names = kept(&visit).unwrap_or_default();
            Ok(if names.is_empty() {
                Seen::Yes(())
            } else {
                Seen::NotYet(format!("{names:?}"))
            })
        })?;
        let elapsed = start.elapsed();
        println!("{fault:?}: cancelled after {elapsed:.1?}");
        assert!(elapsed < Duration::from_secs(5), "{fault:?}: {elapsed:?}");
    }
    visit.server.set_fault(MODEL, None);
    page.press("Use the bundled model")?;
    loaded(&page)?;
    assert_whole_model_is_kept(&visit)?;
    page.expect_quiet_console()?;
    Ok(())
}

/// The browser's cache may hold a damaged file, which it would hand out each time.
#[test]
fn a_wrong_model_in_the_browsers_cache_is_passed_over() -> Outcome {
    let Some(visit) = Visit::start("wrong-in-cache", Window::default())? else {
        return Ok(());
    };
    visit
        .server
        .set_fault(MODEL, Some(Fault::WrongOnceAt(50_000_000)));
    let page = visit.page()?;
    page.press("Use the bundled model")?;
    loaded(&page)?;
    assert_whole_model_is_kept(&visit)?;
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn a_tab_that_is_closed_meanwhile_leaves_a_part_that_is_removed_later() -> Outcome {
    let Some(visit) = Visit::start("closed-meanwhile", Window::default())? else {
        return Ok(());
    };
    visit.server.set_fault(
        MODEL,
        Some(Fault::DripAfter(20_000_000, Duration::from_secs(1))),
    );
    let page = visit.page()?;
    page.press("Use the bundled model")?;
    wait_for_part(&visit, &page)?;
    // Its worker ends with the page.
    visit.browser.session.navigate("about:blank")?;
    visit.server.set_fault(MODEL, None);

    let page = visit.page()?;
    let others = "return (async () => {
        const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('models');
        for (const name of ['another-model', 'another-model-yet.part']) await folder.getFileHandle(name, { create: true });
    })()";
    visit.browser.session.script(others, json!([]))?;
    page.press("Use the bundled model")?;
    loaded(&page)?;
    let mut names = kept(&visit)?;
    names.retain(|name| name != "another-model");
    assert!(
        names.len() == 1 && !names[0].ends_with(".part"),
        "{names:?}"
    );
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn two_tabs_load_the_model_at_once() -> Outcome {
    let Some(visit) = Visit::start("two-tabs", Window::default())? else {
        return Ok(());
    };
    let session = &visit.browser.session;
    visit
        .server
        .set_fault(MODEL, Some(Fault::StallAfter(20_000_000)));
    let first = visit.page()?;
    let first_tab = session.get("window")?;
    first.press("Use the bundled model")?;
    wait_for_part(&visit, &first)?;

    let opened = session.post("window/new", json!({ "type": "tab" }))?;
    session.post("window", json!({ "handle": opened["handle"] }))?;
    let second = visit.page()?;
    second.press("Use the bundled model")?;
    // What the browser's cache lets it have at once may be all of it, or as much as the first tab got.
    second.wait_for_status(&["Loading model", "Ready", "Idle"], SOON)?;
    visit.server.set_fault(MODEL, None);
    loaded(&second)?;
    session.post("window", json!({ "handle": first_tab }))?;
    loaded(&first)?;
    assert_whole_model_is_kept(&visit)
}

/// The length that such an answer announces is not that of the file.
#[test]
fn a_model_that_comes_compressed_is_whole() -> Outcome {
    let test = "compressed-model";
    let dist = root().join("dist");
    if !model_file().exists() {
        println!("SKIPPED {test}: the page is not built with the bundled model (make build)");
        return Ok(());
    }
    let site = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-site"));
    let name = model_file();
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    copy_site(&dist, &site, &name)?;
    let path = site.join("models").join(&*name);
    // Packed without being made smaller: seconds are saved, and the lengths differ all the same.
    let mut encoder = GzEncoder::new(std::fs::File::create(&path)?, Compression::none());
    encoder.write_all(&std::fs::read(model_file())?)?;
    encoder.finish()?;
    let Some(visit) = Visit::start_from(test, Window::default(), &site, Isolation::Isolated)?
    else {
        return Ok(());
    };
    visit.server.set_fault(MODEL, Some(Fault::Encoded("gzip")));
    let page = visit.page()?;
    page.press("Use the bundled model")?;
    loaded(&page)?;
    assert_whole_model_is_kept(&visit)?;
    page.expect_quiet_console()?;
    std::fs::remove_file(path)?;
    Ok(())
}

#[test]
fn a_page_whose_files_do_not_come_says_why() -> Outcome {
    let Some(visit) = Visit::start_hasty("page-does-not-come")? else {
        return Ok(());
    };
    let session = &visit.browser.session;
    for (file, fault, said) in [
        (
            SCRIPT,
            Fault::Status("404 Not Found"),
            "The page's script, app.js, could not be loaded.",
        ),
        (
            SCRIPT,
            Fault::Page,
            "The page's script, app.js, could not be loaded.",
        ),
        (
            PROGRAM,
            Fault::Status("404 Not Found"),
            "The server answered 404 instead of the page's program",
        ),
        (
            PROGRAM,
            Fault::CutAfter(500_000),
            "The page's program, app_bg.wasm, did not arrive whole.",
        ),
        (
            PROGRAM,
            Fault::WrongAt(3),
            "The page's program, app_bg.wasm, is damaged",
        ),
        (
            PROGRAM,
            Fault::Page,
            "The page's program, app_bg.wasm, is damaged",
        ),
    ] {
        visit.server.set_fault(file, Some(fault));
        let page = Page::open(session, &visit.origin)?;
        page.wait_for_text(said, SOON)?;
        let body = page.body_text()?;
        assert!(!body.contains("The page is loading"), "{fault:?}: {body}");
        visit.server.set_fault(file, None);
        page.follow("Reload")?;
        page.wait_for_status(&["Idle"], SOON)?;
        assert!(!page.body_text()?.contains(said), "{fault:?}");
    }
    Ok(())
}

#[test]
fn a_damaged_program_in_the_browsers_cache_is_passed_over() -> Outcome {
    let Some(visit) = Visit::start_hasty("damaged-program-in-cache")? else {
        return Ok(());
    };
    visit.server.set_fault(PROGRAM, Some(Fault::WrongOnceAt(3)));
    let page = Page::open(&visit.browser.session, &visit.origin)?;
    page.wait_for_status(&["Idle"], SOON)?;
    Ok(())
}

#[test]
fn a_page_whose_program_is_late_says_so_and_starts_when_it_comes() -> Outcome {
    let Some(visit) = Visit::start_hasty("page-is-late")? else {
        return Ok(());
    };
    visit
        .server
        .set_fault(PROGRAM, Some(Fault::StallAfter(500_000)));
    let page = Page::open(&visit.browser.session, &visit.origin)?;
    wait_for_patience_to_end(&page)?;
    visit.server.set_fault(PROGRAM, None);
    page.wait_for_status(&["Idle"], SOON)?;
    assert!(!page.body_text()?.contains("has not arrived"));
    page.expect_quiet_console()?;
    Ok(())
}

/// The page says so without any script of its own.
#[test]
fn a_page_whose_first_script_does_not_come_says_so() -> Outcome {
    let Some(visit) = Visit::start_hasty("page-without-script")? else {
        return Ok(());
    };
    visit
        .server
        .set_fault("/start.js", Some(Fault::Status("404 Not Found")));
    let page = Page::open(&visit.browser.session, &visit.origin)?;
    wait_for_patience_to_end(&page)?;
    visit.server.set_fault("/start.js", None);
    page.follow("Reload")?;
    page.wait_for_status(&["Idle"], SOON)?;
    Ok(())
}
