//! The harness tried on a small page of its own: what it cannot see there, it would not see in the real one.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::browser::{Browser, Kind, Window};
use e2e::page::{Page, PageError, Role};
use e2e::server::{HEADERS, SiteServer};

type Outcome = Result<(), Box<dyn Error>>;

const SOON: Duration = Duration::from_secs(20);

fn site() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/site")
}

/// A folder for one test's browser.
fn folder(test: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(test)
}

fn has_browser(test: &str, kind: Kind) -> bool {
    let missing = kind.missing();
    if let Some(program) = &missing {
        println!(
            "SKIPPED {test}: {} is missing (make test installs it where it can be had)",
            program.display()
        );
    }
    missing.is_none()
}

#[test]
fn a_person_can_use_a_page() -> Outcome {
    if !has_browser("a_person_can_use_a_page", Kind::Chromium) {
        return Ok(());
    }
    let server = SiteServer::start(&site(), 0)?;
    let folder = folder("person");
    let browser = Browser::start(&folder, Window::default())?;
    let page = Page::open(&browser.session, &server.origin())?;
    assert_eq!(page.status()?, "Idle");
    assert_eq!(page.readout("Training loss")?, None);

    let (first, second) = (folder.join("first.txt"), folder.join("second.txt"));
    std::fs::write(&first, "abc")?;
    std::fs::write(&second, "defg")?;
    page.choose_files("Dataset files", &[&first, &second])?;
    assert_eq!(
        page.wait_for_status(&["Ready"], SOON)?,
        "Ready: 7 characters"
    );

    page.fill("Rank", "16")?;
    page.choose("Device", "gpu")?;
    assert_eq!(page.value("Rank")?, "16");
    assert!(page.is_enabled("Start training")?);
    assert!(!page.is_enabled("Stop")?);
    page.press("Start training")?;
    assert_eq!(
        page.wait_for_status(&["Finished"], SOON)?,
        "Finished: rank 16 on GPU"
    );
    assert_eq!(page.readout("Training loss")?, Some(4.25));
    assert!(page.text("Training loss")?.contains("isolated: true"));

    page.press("Download adapter")?;
    let downloaded = browser.downloaded("status.txt", SOON)?;
    assert_eq!(
        std::fs::read_to_string(downloaded)?,
        "Finished: rank 16 on GPU"
    );

    assert!(page.sideways_scroll_px()? <= 0);
    browser.set_window(Window {
        width: 360,
        height: 640,
        is_dark: true,
    })?;
    let picture = folder.join("picture.png");
    page.screenshot(&picture)?;
    assert!(std::fs::read(&picture)?.starts_with(b"\x89PNG"));
    page.expect_quiet_console()?;

    let requests = browser.close(&server.origin())?;
    let of_worker = format!("{}/site.css?whole", server.origin());
    assert!(
        requests.contains(&of_worker),
        "the worker's request is in the record: {requests:?}"
    );
    assert!(
        requests.iter().all(|url| url.starts_with(&server.origin())),
        "{requests:?}"
    );
    Ok(())
}

/// Tests what the short journeys in other browsers need from the harness.
fn can_use_a_page(kind: Kind, test: &str) -> Outcome {
    if !has_browser(test, kind) {
        return Ok(());
    }
    let server = SiteServer::start(&site(), 0)?;
    let folder = folder(test);
    let browser = Browser::start_kind(kind, &folder, Window::default())?;
    let page = Page::open(&browser.session, &server.origin())?;
    let file = folder.join("first.txt");
    std::fs::write(&file, "abc")?;
    page.choose_files("Dataset files", &[&file])?;
    assert_eq!(
        page.wait_for_status(&["Ready"], SOON)?,
        "Ready: 3 characters"
    );
    page.fill("Rank", "16")?;
    assert!(page.is_enabled("Start training")?);
    assert!(!page.is_enabled("Stop")?);
    page.press("Start training")?;
    page.wait_for_status(&["Finished: rank 16"], SOON)?;
    page.press("Download adapter")?;
    let downloaded = browser.downloaded("status.txt", SOON)?;
    assert!(std::fs::read_to_string(downloaded)?.starts_with("Finished: rank 16"));
    let picture = folder.join("picture.png");
    page.screenshot(&picture)?;
    assert!(std::fs::read(&picture)?.starts_with(b"\x89PNG"));

    page.expect_quiet_console()?;
    page.press("Misbehave")?;
    page.wait_for_status(&["Idle"], SOON)?;
    assert!(
        matches!(page.expect_quiet_console(), Err(PageError::Console(line)) if line.contains("127.0.0.1:9"))
    );
    Ok(())
}

#[test]
fn a_person_can_use_a_page_in_firefox() -> Outcome {
    can_use_a_page(Kind::Firefox, "person-firefox")
}

#[test]
fn a_person_can_use_a_page_in_webkitgtk() -> Outcome {
    can_use_a_page(Kind::WebKitGtk, "person-webkitgtk")
}

#[test]
fn what_is_wrong_is_seen() -> Outcome {
    if !has_browser("what_is_wrong_is_seen", Kind::Chromium) {
        return Ok(());
    }
    let server = SiteServer::start(&site(), 0)?;
    let browser = Browser::start(&folder("wrong"), Window::default())?;
    let page = Page::open(&browser.session, &server.origin())?;
    page.expect_quiet_console()?;
    let missing = page
        .by_name(Role::Button, "Start  training")
        .err()
        .map(|error| error.to_string());
    assert!(missing.is_some_and(|message| message.contains("Start training, Download adapter")));
    assert!(matches!(
        page.wait_for_status(&["Training"], Duration::ZERO),
        Err(PageError::TimedOut { .. })
    ));
    // The policy stops the request, and the console says so.
    page.press("Misbehave")?;
    page.wait_for_status(&["Idle"], SOON)?;
    assert!(
        matches!(page.expect_quiet_console(), Err(PageError::Console(line)) if line.contains("127.0.0.1:9"))
    );
    Ok(())
}

#[test]
fn every_response_carries_the_headers() -> Outcome {
    let server = SiteServer::start(&site(), 0)?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    for (path, range, status) in [
        ("/", "", 200),
        ("/worker.js", "", 200),
        ("/site.css", "bytes=1-3", 206),
        ("/site.css", "bytes=90000-", 416),
        ("/none", "", 404),
        ("/../Cargo.toml", "", 404),
    ] {
        let request = agent.get(format!("{}{path}", server.origin()));
        let request = if range.is_empty() {
            request
        } else {
            request.header("Range", range)
        };
        let mut response = request.call()?;
        assert_eq!(response.status().as_u16(), status, "{path} {range}");
        for (name, value) in HEADERS {
            assert_eq!(
                response.headers().get(name).map(|value| value.as_bytes()),
                Some(value.as_bytes()),
                "{path}: {name}"
            );
        }
        if status == 206 {
            let whole = std::fs::read(site().join("site.css"))?;
            assert_eq!(response.body_mut().read_to_vec()?, whole[1..4]);
        }
    }
    let first = agent.get(format!("{}/site.css", server.origin())).call()?;
    let tag = first.headers().get("ETag").cloned().ok_or("no ETag")?;
    let len_bytes = std::fs::metadata(site().join("site.css"))?
        .len()
        .to_string();
    let told = first
        .headers()
        .get("Content-Length")
        .map(|len| len.as_bytes());
    assert_eq!(told, Some(len_bytes.as_bytes()));
    let again = agent
        .get(format!("{}/site.css", server.origin()))
        .header("If-None-Match", tag)
        .call()?;
    assert_eq!(again.status().as_u16(), 304);
    assert_eq!(
        agent
            .post(format!("{}/", server.origin()))
            .send("")?
            .status()
            .as_u16(),
        405
    );
    Ok(())
}

#[test]
fn kept_connections_hold_up_no_other() -> Outcome {
    let server = SiteServer::start(&site(), 0)?;
    let address = server.origin().replace("http://", "");
    let mut connections = Vec::new();
    for _ in 0..24 {
        let connection = TcpStream::connect(&address)?;
        connection.set_read_timeout(Some(SOON))?;
        connections.push(BufReader::new(connection));
    }
    // All stay open, and each is asked twice.
    for _ in 0..2 {
        for connection in &mut connections {
            connection
                .get_mut()
                .write_all(b"HEAD /site.css HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        }
        for connection in &mut connections {
            let mut head = Vec::new();
            while head
                .last()
                .is_none_or(|line: &String| !line.trim().is_empty())
            {
                let mut line = String::new();
                connection.read_line(&mut line)?;
                head.push(line);
            }
            assert_eq!(head[0].trim(), "HTTP/1.1 200 OK");
        }
    }
    Ok(())
}

#[test]
fn a_taken_port_is_explained() -> Outcome {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port();
    let message = SiteServer::start(&site(), port)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        message.contains(&port.to_string()) && message.contains("PORT="),
        "{message}"
    );
    let message = SiteServer::start(&site().join("none"), 0)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(message.contains("make build"), "{message}");
    Ok(())
}
