//! Whether people who use a keyboard, a magnifier or a screen reader can use the page, as far as a program can tell:
//! axe looks at it with everything open, wide and narrow, light and dark. The pictures are for people to look at.

use e2e::axe;
use e2e::browser::Window;
use e2e::page::{Page, Seen};

use crate::visit::{LOADING, Outcome, RUN, SOON, Visit, fill, picture};

/// A wide and a narrow window.
const SIZES: [(u32, u32); 2] = [(1280, 1000), (360, 740)];

/// Rows about which something of every kind is found: repeated, nearly repeated, with a key, an address, broken
/// letters, an empty answer, and some that cannot be used.
fn rows_with_findings() -> String {
    let mut rows: Vec<String> = (0..40)
        .map(|row| {
            let place = ["the harbour", "the old mill", "a garden shed", "the third floor"][row % 4];
            let thing = ["kettle", "violin", "bicycle", "lantern", "atlas"][row % 5];
            format!(
                r#"{{"question": "Where does the {thing} with the number {row} stand, and who put it there?", "answer": "The {thing} stands in {place}. Person {row} put it there in the year {}.", "author": "Person {}"}}"#,
                1900 + row,
                row % 7
            )
        })
        .collect();
    let long = "It goes on and on, through every room and every year of the house. ".repeat(60);
    // Put together here, so that no scanner takes this file for a leak.
    let key = ["AKIA", "Q3EGRIF7", "ZLMW2XPA"].concat();
    rows.push(rows[3].clone());
    rows.push(rows[4].clone());
    rows.push(format!(
        r#"{{"question": "How does it end?", "answer": "{long}"}}"#
    ));
    let tale = "Once the mill had stopped, nobody in the village could say why the wheel went on turning at night, slowly, \
                as if somebody far below were still counting sacks of flour that had long been eaten.";
    for ending in ["eaten", "sold"] {
        let tale = tale.replace("eaten", ending);
        rows.push(format!(
            r#"{{"question": "Tell me a tale.", "answer": "{tale}"}}"#
        ));
    }
    rows.push(format!(
        r#"{{"question": "How do I sign in?", "answer": "With the key {key}."}}"#
    ));
    rows.push(
        r#"{"question": "Whom do I write to?", "answer": "Write to anna.berg@harbour-mill.org."}"#
            .into(),
    );
    rows.push(
        r#"{"question": "Where do we meet?", "answer": "In the cafÃ© near the bridge, at nine."}"#
            .into(),
    );
    rows.push(r#"{"question": "And then?", "answer": ""}"#.into());
    rows.push(r#"{"question": "Cut", "answer": "o"#.into());
    rows.push(r#"{"something": 5}"#.into());
    rows.join("\n")
}

/// Texts with labels, one of them far more frequent, and one with a name as long as labels get.
fn rows_with_labels() -> String {
    let mut rows = "text,label\n".to_owned();
    for row in 0..33 {
        let label = match row {
            0..30 => "praise",
            30..32 => "a complaint about the time that a delivery took",
            _ => "other",
        };
        rows += &format!(
            "\"Letter {row}: it came on day {}\",{label}\n",
            row * 7 % 31
        );
    }
    rows
}

/// What axe finds in the page as it is now, each theme in each size; leaves a picture of each.
pub fn look(visit: &Visit, page: &Page, name: &str) -> Outcome {
    let mut found = Vec::new();
    for (width, height) in SIZES {
        for is_dark in [false, true] {
            let scheme = if is_dark { "dark" } else { "light" };
            visit.browser.set_window(Window {
                width,
                height,
                is_dark,
            })?;
            page.unfold()?;
            picture(page, &format!("{name}-{width}-{scheme}"))?;
            assert!(
                page.sideways_scroll_px()? <= 0,
                "{name}: {width} px wide, the page scrolls sideways"
            );
            let said = axe::violations(&visit.browser.session)?;
            found.extend(
                said.into_iter()
                    .map(|said| format!("{width} {scheme}: {said}")),
            );
        }
    }
    assert!(
        found.is_empty(),
        "{name}: {} things:\n{}",
        found.len(),
        found.join("\n")
    );
    Ok(())
}

#[test]
fn axe_finds_nothing() -> Outcome {
    let test = "axe_finds_nothing";
    if !axe::script_file().exists() {
        println!("SKIPPED {test}: axe is missing (npm ci in tests/e2e)");
        return Ok(());
    }
    let Some(visit) = Visit::start("axe", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    look(&visit, &page, "axe-arrived")?;
    // It does find what is wrong.
    let spoil = "const image = document.createElement('img'); image.src = 'icon.svg'; image.id = 'spoilt'; \
                 document.querySelector('main').append(image)";
    visit.browser.session.script(spoil, serde_json::json!([]))?;
    let said = axe::violations(&visit.browser.session)?;
    assert!(
        said.len() == 1 && said[0].starts_with("image-alt"),
        "{said:?}"
    );
    let mend = "document.querySelector('#spoilt').remove()";
    visit.browser.session.script(mend, serde_json::json!([]))?;

    data_step(&visit, &page)?;
    first_batch_and_scores(&visit, &page)?;
    scores_of_labels(&visit, &page)?;
    page.expect_quiet_console()?;
    Ok(())
}

fn data_step(visit: &Visit, page: &Page) -> Outcome {
    let labelled = visit.write("letters.csv", rows_with_labels())?;
    page.choose_files("Dataset files", &[&labelled])?;
    page.wait_for_text("Labels", LOADING)?;
    page.wait_for_status(&["Ready"], LOADING)?;
    page.wait_for_text("Row 1 as the model sees it", SOON)?;
    look(visit, page, "axe-labels")?;

    let dataset = visit.write("findings.jsonl", rows_with_findings())?;
    page.choose_files("Dataset files", &[&dataset])?;
    page.wait_for_text("e-mail address", LOADING)?;
    page.wait_for_status(&["Ready"], LOADING)?;
    page.wait_for_text("cut to 512 tokens", SOON)?;
    page.choose("Rows shown", "Duplicates")?;
    page.press("Look at row 42 as tokens")?;
    page.wait_for_text("Row 42 as the model sees it", SOON)?;
    look(visit, page, "axe-data")?;

    // What plain text is split by, templates with fields to choose from, and a file that is refused.
    page.choose("Rows shown", "All")?;
    page.choose("Row format", "Template")?;
    look(visit, page, "axe-template")?;
    let broken = visit.write("picture.jsonl", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0")?;
    page.choose_files("Dataset files", &[&broken])?;
    page.wait_for_text("a PNG picture", LOADING)?;
    look(visit, page, "axe-refused")
}

fn first_batch_and_scores(visit: &Visit, page: &Page) -> Outcome {
    fill(
        page,
        &[
            ("Max steps", "1"),
            ("Batch size", "2"),
            ("Sequence length", "48"),
            ("Validation split", "0.1"),
            ("Test split", "0.1"),
        ],
    )?;
    page.wait_for_text("for testing", LOADING)?;
    page.press("Step one batch")?;
    page.wait_for_text("First batch", RUN)?;
    page.wait_until_enabled("Start training", SOON)?;
    look(visit, page, "axe-first-batch")?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    page.press("Score the held-out rows")?;
    wait_for_score(page, "held-out")?;
    page.wait_until_enabled("Score the test rows", SOON)?;
    page.press("Score the test rows")?;
    wait_for_score(page, "test")?;
    page.unfold()?;
    let measures = page.text("Metrics of the test rows")?;
    for measure in ["Loss", "Perplexity", "Token accuracy", "Exact match"] {
        assert!(measures.contains(measure), "{measure}: {measures}");
    }
    let prompts = page.text("General prompts scored with the test rows")?;
    assert!(
        prompts.contains("What is the capital of France?"),
        "{prompts}"
    );
    look(visit, page, "axe-scores")
}

fn wait_for_score(page: &Page, rows: &str) -> Outcome {
    page.wait(&format!("the score of the {rows} rows"), RUN, || {
        let scores = page.text("Scores")?;
        Ok(if scores.contains(&format!("{rows} rows: mean loss")) {
            Seen::Yes(())
        } else {
            Seen::NotYet(scores)
        })
    })?;
    Ok(())
}

/// The confusion matrices, of rows with labels.
fn scores_of_labels(visit: &Visit, page: &Page) -> Outcome {
    let labelled = visit.write("letters.csv", rows_with_labels())?;
    page.choose_files("Dataset files", &[&labelled])?;
    page.wait_for_text("Letter 0", LOADING)?;
    // A row that is cut has no room for other labels.
    fill(page, &[("Sequence length", "128")])?;
    page.wait_until_enabled("Start training", LOADING)?;
    page.press("Start training")?;
    page.wait_for_status(&["Training", "Evaluating"], RUN)?;
    page.wait_for_status(&["Finished"], RUN)?;
    page.press("Score the held-out rows")?;
    wait_for_score(page, "held-out")?;
    for model in ["base", "tuned"] {
        let table = page.text(&format!("Labels of the held-out rows: {model}"))?;
        for label in ["praise", "predicted praise", "predicted other"] {
            assert!(table.contains(label), "{label}: {table}");
        }
    }
    look(visit, page, "axe-scores-of-labels")
}
