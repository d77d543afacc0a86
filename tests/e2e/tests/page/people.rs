//! Three people at work, from what they bring to what they take away. In each journey axe looks at the whole page, wide and
//! narrow, light and dark, and pictures of it are left.

use std::error::Error;
use std::fmt::Write as _;

use e2e::axe;
use e2e::browser::Window;
use e2e::page::{Page, Seen};
use serde_json::json;

use crate::accessible::look;
use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, file, fill, log_lines, picture, unzipped, wait_for,
};

/// A run of seconds.
const SHORT: [(&str, &str); 3] = [("Max steps", "6"), ("Batch size", "1"), ("Seed", "7")];

/// The adapter among the downloads, with as many steps in its log.
fn take_home(visit: &Visit, page: &Page, steps: usize) -> Outcome {
    page.press("Download adapter")?;
    let files = unzipped(&visit.browser.downloaded(".zip", SOON)?)?;
    assert!(file(&files, "adapter_model.safetensors")?.len() > 1000);
    let log = log_lines(&files)?;
    let steps_taken = log.iter().filter(|line| line["type"] == "step").count();
    assert_eq!(steps_taken, steps);
    Ok(())
}

/// Leaves pictures and fails on what axe finds; the window is as before.
fn is_open_to_all(visit: &Visit, page: &Page, name: &str) -> Outcome {
    if axe::script_file().exists() {
        look(visit, page, name)?;
    } else {
        println!("SKIPPED {name}: axe is missing (npm ci in tests/e2e)");
    }
    visit.browser.set_window(Window::default())?;
    Ok(())
}

/// A table as Excel saves it in Germany: semicolons, windows-1252, line ends of Windows.
fn german_table(num_rows: usize) -> Vec<u8> {
    let mut table = "Frage;Antwort\r\n".to_owned();
    let things = ["Käse", "Brötchen", "Müsli", "Soße", "Ärmel"];
    for row in 0..num_rows {
        let thing = things[row % things.len()];
        let _ = write!(
            table,
            "Was kostet {thing} Nr. {row}?;\"Gern: {thing} kostet {},{:02} €; bitte sehr.\"\r\n",
            row / 7 + 1,
            row * 13 % 100
        );
    }
    let byte = |c: char| match c {
        '€' => 0x80,
        other => u8::try_from(u32::from(other)).unwrap_or(b'?'),
    };
    table.chars().map(byte).collect()
}

/// Somebody with a spreadsheet and no words for any of this: the file is all they bring.
#[test]
fn a_layperson_brings_a_spreadsheet() -> Outcome {
    let Some(visit) = Visit::start("layperson", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let table = visit.write("Preisliste.csv", german_table(30))?;
    page.choose_files("Dataset files", &[&table])?;
    // The included model loads without being asked for.
    page.wait_for_status(&["Ready"], LOADING)?;
    let summary = page.text("Dataset summary")?;
    assert!(summary.starts_with("30 rows"), "{summary}");
    let rows = page.text("Rows of the dataset")?;
    assert!(
        rows.contains("Was kostet Käse Nr. 0?") && rows.contains("1,00 €; bitte sehr."),
        "{rows}"
    );
    fill(&page, &SHORT)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    let verdict = page.text("Verdict")?;
    assert!(verdict.contains("learned"), "{verdict}");

    fill(
        &page,
        &[
            ("Prompt", "Was kostet Käse Nr. 0?"),
            ("Max new tokens", "8"),
        ],
    )?;
    page.press("Generate")?;
    page.wait("both answers", LOADING, || {
        let (base, tuned) = (page.text("Base output")?, page.text("Tuned output")?);
        let is_over = page.is_enabled("Generate")? && !base.is_empty() && !tuned.is_empty();
        Ok(match is_over {
            true => Seen::Yes(()),
            false => Seen::NotYet(format!("'{base}' and '{tuned}'")),
        })
    })?;
    take_home(&visit, &page, 6)?;
    is_open_to_all(&visit, &page, "layperson")?;
    page.expect_quiet_console()?;
    Ok(())
}

/// A teacher shows a class what a learning rate does. The page warns before the run, says afterward that it is ruined, and
/// offers a better rate.
#[test]
fn a_teacher_ruins_a_run() -> Outcome {
    let Some(visit) = Visit::start("teacher", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    page.press("Load sample dataset")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    page.unfold()?;
    fill(&page, &SHORT)?;
    fill(&page, &[("Warm-up", "0"), ("Learning rate", "fast")])?;
    page.wait("a status that names the field", SOON, || {
        let status = page.status()?;
        Ok(match status.contains("correct the field Learning rate") {
            true => Seen::Yes(()),
            false => Seen::NotYet(status),
        })
    })?;
    page.fill("Learning rate", "1")?;
    page.wait_for_text("far above what LoRA usually uses", SOON)?;
    wait_for(&page, "Planned run", &["6 steps", "to train (estimate)"])?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished", "Failed"], RUN)?;
    let verdict = page.text("Verdict")?;
    assert!(
        verdict.contains("It got worse.") || verdict.contains("The run diverged."),
        "{verdict}"
    );
    assert_eq!(page.readout("Time left")?, None, "nothing counts on");
    is_open_to_all(&visit, &page, "teacher")?;

    page.press("Lower the learning rate to 0.001")?;
    assert_eq!(page.value("Learning rate")?, "0.001");
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Training", "Evaluating"], SOON)?;
    page.wait_for_status(&["Finished"], RUN)?;
    let verdict = page.text("Verdict")?;
    assert!(verdict.contains("It learned"), "{verdict}");
    let title = visit
        .browser
        .session
        .script("return document.title", json!([]))?;
    let title = title.as_str().unwrap_or_default();
    assert!(title.starts_with("Finished: It learned"), "{title}");
    page.expect_quiet_console()?;
    Ok(())
}

/// Conversations with a tool, whose first answer is context only. The call is a field of its own, or text.
fn tool_calls(num_rows: usize, are_text: bool) -> String {
    let mut rows = String::new();
    for row in 0..num_rows {
        let city = ["Bergen", "Porto", "Lviv", "Izmir"][row % 4];
        let arguments = json!({ "city": city });
        let call = if are_text {
            let call = json!({ "name": "get_weather", "arguments": arguments });
            json!({ "role": "assistant", "content": format!("<tool_call>{call}</tool_call>") })
        } else {
            let function = json!({ "name": "get_weather", "arguments": arguments.to_string() });
            let call = json!({ "id": "call_1", "type": "function", "function": function });
            json!({ "role": "assistant", "content": null, "tool_calls": [call] })
        };
        let messages = json!([
            { "role": "system", "content": "You look things up." },
            { "role": "user", "content": format!("Hello, I am number {row}.") },
            { "role": "assistant", "content": "Untrained greeting.", "weight": 0 },
            { "role": "user", "content": format!("Is it raining in {city}?") },
            call,
            { "role": "tool", "tool_call_id": "call_1", "content": "dry" },
            { "role": "assistant", "content": format!("Learned: {city} is dry."), "weight": 1 },
        ]);
        let _ = writeln!(rows, "{}", json!({ "messages": messages }));
    }
    rows
}

/// The tokens of the shown row that are learned, or those that are only read, as one text.
fn tokens(visit: &Visit, are_trained: bool) -> Result<String, Box<dyn Error>> {
    let script =
        "return [...document.querySelectorAll('[aria-label=\"Tokens of the row\"] .token')]
        .filter((token) => token.classList.contains('is-trained') === arguments[0])
        .map((token) => token.textContent).join('')";
    let text = visit.browser.session.script(script, json!([are_trained]))?;
    Ok(text.as_str().unwrap_or_default().to_owned())
}

/// An engineer with a log of tool calls. The included model's template cannot write them, which the page says, with what to
/// do; once they are text, the engineer sees which tokens are trained.
#[test]
fn an_engineer_trains_on_tool_calls() -> Outcome {
    let Some(visit) = Visit::start("engineer", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let fields = visit.write("calls.jsonl", tool_calls(24, false))?;
    page.choose_files("Dataset files", &[&fields])?;
    page.wait_for_status(&["Failed"], LOADING)?;
    page.wait_for_text("leaves out the tool calls", SOON)?;
    page.wait_for_text("Write the calls as text in content", SOON)?;
    picture(&page, "engineer-refused")?;

    let texts = visit.write("texts.jsonl", tool_calls(20, true))?;
    page.choose_files("Dataset files", &[&texts])?;
    wait_for(&page, "Dataset summary", &["20 rows", "trained tokens"])?;
    wait_for(&page, "Run status", &["Ready", "20 rows"])?;
    fill(&page, &SHORT)?;
    page.press("Look at row 1 as tokens")?;
    wait_for(&page, "Tokens of the row", &["Learned", "greeting"])?;
    let (learned, read) = (tokens(&visit, true)?, tokens(&visit, false)?);
    for target in ["<tool_call>", "get_weather", "Learned: Bergen is dry."] {
        assert!(learned.contains(target), "{target}: {learned}");
    }
    for context in [
        "Untrained greeting.",
        "You look things up.",
        "Is it raining",
    ] {
        assert!(
            read.contains(context) && !learned.contains(context),
            "{context}: {learned}"
        );
    }
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    take_home(&visit, &page, 6)?;
    is_open_to_all(&visit, &page, "engineer")?;
    page.expect_quiet_console()?;
    Ok(())
}
