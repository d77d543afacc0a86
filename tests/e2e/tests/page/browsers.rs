//! A short journey in the browsers besides Chromium: the bundled model, the sample, six steps, the adapter.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use e2e::browser::Kind;
use e2e::page::Page;
use serde_json::{Value, json};

use crate::visit::{LOADING, Outcome, RUN, SOON, Visit, file, fill, log_lines, picture, unzipped};

const NUM_STEPS: usize = 6;
/// Small enough for an engine on one thread. The sample proposes settings of its own, which these replace.
const SETTINGS: [(&str, &str); 6] = [
    ("Rank", "4"),
    ("Max steps", "6"),
    ("Batch size", "1"),
    ("Sequence length", "64"),
    ("Validation split", "0"),
    ("Seed", "7"),
];

#[test]
fn firefox_finishes_the_journey() -> Outcome {
    let Some(visit) = Visit::start_in(Kind::Firefox, "firefox")? else {
        return Ok(());
    };
    let page = visit.page()?;
    journey(&visit, &page)?;
    assert!(
        !page.body_text()?.contains("downloaded again next time"),
        "Firefox keeps the model"
    );
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn webkitgtk_finishes_the_journey() -> Outcome {
    let Some(visit) = Visit::start_in(Kind::WebKitGtk, "webkitgtk")? else {
        return Ok(());
    };
    let page = visit.page()?;
    journey(&visit, &page)?;
    // What it lacks is said once, and costs nothing else.
    let has_storage = visit
        .browser
        .session
        .script("return Boolean(navigator.storage)", json!([]))?;
    let said = page
        .body_text()?
        .matches("This browser doesn't let the page keep files")
        .count();
    assert_eq!(said, usize::from(has_storage == json!(false)));
    page.expect_quiet_console()?;
    Ok(())
}

/// From the loaded page to a sound adapter among the downloads; leaves a picture and prints what a reader of the README
/// wants to know of this browser.
pub fn journey(visit: &Visit, page: &Page) -> Outcome {
    let start = Instant::now();
    page.press("Use the bundled model")?;
    page.press("Load sample dataset")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    let loaded = start.elapsed();
    fill(page, &SETTINGS)?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    let rate = page.readout("Tokens per second")?.ok_or("no rate")?;
    assert!(rate > 0.0, "{rate}");
    let loss = page.readout("Training loss")?;
    assert!(loss.is_some_and(f64::is_finite), "{loss:?}");
    picture(page, &format!("browser-{}", name(visit)))?;

    page.press("Download adapter")?;
    let zip = visit.browser.downloaded(".zip", SOON)?;
    let files = unzipped(&zip)?;
    check_adapter(&files)?;
    let log = log_lines(&files)?;
    let steps = log.iter().filter(|line| line["type"] == "step");
    assert_eq!(steps.count(), NUM_STEPS, "a loss for each step");

    let agent = visit
        .browser
        .session
        .script("return navigator.userAgent", json!([]))?;
    let body = page.body_text()?;
    let device = body
        .lines()
        .filter(|line| line.contains("Running on the") || line.contains("It runs on one thread"));
    println!(
        "{}: {agent}\n{}\n{rate} tokens/s; loaded in {:.0} s, the adapter after {:.0} s",
        visit.browser.session.kind.name(),
        device.collect::<Vec<_>>().join("\n"),
        loaded.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn name(visit: &Visit) -> String {
    let folder = visit.folder.file_name();
    folder.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The tensors are there, finite, and something was learned.
fn check_adapter(files: &BTreeMap<String, Vec<u8>>) -> Outcome {
    let config: Value = serde_json::from_slice(file(files, "adapter_config.json")?)?;
    assert_eq!(config["r"].as_u64(), Some(4));
    let bytes = file(files, "adapter_model.safetensors")?;
    let header_len = usize::try_from(u64::from_le_bytes(bytes[..8].try_into()?))?;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..8 + header_len])?;
    let data = &bytes[8 + header_len..];
    // The last tensor ends where the file does: it was downloaded whole.
    let ends = header
        .values()
        .filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    assert_eq!(ends.max(), Some(data.len() as u64));
    let mut has_learned = false;
    for (name, tensor) in header.iter().filter(|(name, _)| name.contains("lora_B")) {
        let offset = |at: usize| -> Result<usize, Box<dyn Error>> {
            let offset = tensor["data_offsets"][at].as_u64().ok_or("no offset")?;
            Ok(usize::try_from(offset)?)
        };
        let values = data[offset(0)?..offset(1)?]
            .chunks_exact(4)
            .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        for value in values {
            assert!(value.is_finite(), "{name}");
            has_learned |= value != 0.0;
        }
    }
    assert!(has_learned, "every B is zero, as before the first step");
    Ok(())
}
