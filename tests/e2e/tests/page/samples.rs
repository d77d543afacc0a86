//! Each sample of the page: one press loads it, its settings train it, and the tuned model does what it teaches.

use std::time::Instant;

use e2e::browser::Window;
use e2e::page::{Page, Seen};
use serde_json::Value;

use crate::visit::{LOADING, Outcome, RUN, SOON, Visit, picture};

/// Loads a sample, trains with its settings, asks its question: base and tuned answer.
fn taught(
    page: &Page,
    button: &str,
    picture_name: &str,
) -> Result<(String, String), Box<dyn std::error::Error>> {
    page.press(button)?;
    page.wait_for_status(&["Ready"], LOADING)?;
    page.wait_until_enabled("Start training", SOON)?;
    let start = Instant::now();
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    let status = page.status()?;
    println!("{button}: {} s, {status}", start.elapsed().as_secs());
    let number = |name: &str| -> Result<f64, Box<dyn std::error::Error>> {
        Ok(page.readout(name)?.ok_or_else(|| format!("no {name}"))?)
    };
    let (base, tuned) = (number("Base validation loss")?, number("Validation loss")?);
    assert!(tuned < 0.7 * base, "held-out loss {base} to {tuned}");

    page.wait_until_enabled("Generate", SOON)?;
    page.press("Generate")?;
    page.wait("both answers", LOADING, || {
        let tuned = page.text("Tuned output")?;
        Ok(match page.is_enabled("Generate")? && !tuned.is_empty() {
            true => Seen::Yes(()),
            false => Seen::NotYet(tuned),
        })
    })?;
    let answers = (page.text("Base output")?, page.text("Tuned output")?);
    println!("base: {}\ntuned: {}", answers.0, answers.1);
    picture(page, picture_name)?;
    Ok(answers)
}

/// Scores the held-out rows and waits for the result.
fn score(page: &Page) -> Outcome {
    page.wait_until_enabled("Score the held-out rows", SOON)?;
    page.press("Score the held-out rows")?;
    page.wait("the scores", RUN, || {
        let scores = page.text("Scores")?;
        Ok(match scores.contains("Exact match") {
            true => Seen::Yes(()),
            false => Seen::NotYet(scores),
        })
    })?;
    Ok(())
}

#[test]
fn the_manner_is_learned() -> Outcome {
    let Some(visit) = Visit::start("sample-manner", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let (base, tuned) = taught(&page, "Load sample dataset", "sample-manner")?;
    assert!(
        !base.contains("Wick") && tuned.contains("Wick"),
        "{base}\n{tuned}"
    );
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn messages_become_json() -> Outcome {
    let Some(visit) = Visit::start("sample-extraction", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let (base, tuned) = taught(&page, "Load sample: extraction", "sample-extraction")?;
    assert_eq!(page.value("System prompt")?, "Write the booking as JSON.");
    let keys = |text: &str| -> Option<Vec<String>> {
        let json: Value = serde_json::from_str(text.trim()).ok()?;
        let mut keys: Vec<String> = json.as_object()?.keys().cloned().collect();
        keys.sort();
        Some(keys)
    };
    let expected = ["day", "name", "people", "time"].map(str::to_owned);
    assert_eq!(keys(&tuned), Some(expected.to_vec()), "{tuned}");
    assert_ne!(keys(&base), Some(expected.to_vec()), "{base}");
    assert!(
        tuned.contains("Thea") && tuned.contains("Saturday"),
        "{tuned}"
    );
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn tickets_get_their_labels() -> Outcome {
    let Some(visit) = Visit::start("sample-classification", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let (base, tuned) = taught(
        &page,
        "Load sample: classification",
        "sample-classification",
    )?;
    let labels = ["billing", "delivery", "returns", "technical"];
    assert!(labels.contains(&tuned.trim()), "{tuned}");
    assert!(!labels.contains(&base.trim()), "{base}");
    score(&page)?;
    let after = page.text("Labels of the held-out rows: tuned")?;
    for label in labels {
        assert!(after.contains(&format!("predicted {label}")), "{after}");
    }
    picture(&page, "sample-classification-scores")?;
    page.expect_quiet_console()?;
    Ok(())
}
