//! The whole journey on the CPU: the bundled model, fifty generated rows, a short run, both answers, the zip.

use std::collections::BTreeMap;
use std::error::Error;

use e2e::browser::Window;
use e2e::page::{Page, Seen};
use serde_json::Value;

use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, file, fill, load, log_lines, picture, questions, seed,
    unzipped,
};

const NUM_ROWS: usize = 50;
const NUM_STEPS: usize = 12;
const SEQUENCE_LENGTH: u64 = 96;
const SETTINGS: [(&str, &str); 8] = [
    ("Rank", "8"),
    ("Alpha", "16"),
    ("Learning rate", "0.005"),
    ("Max steps", "12"),
    ("Batch size", "2"),
    ("Sequence length", "96"),
    ("Validation split", "0.1"),
    ("Seed", "7"),
];

#[test]
fn a_stranger_finishes_the_journey() -> Outcome {
    let Some(visit) = Visit::start("journey", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    picture(&page, "journey-1-arrived")?;
    let dataset = visit.write("questions.jsonl", questions(NUM_ROWS, seed()))?;
    load(&page, &dataset)?;
    picture(&page, "journey-2-loaded")?;

    fill(&page, &SETTINGS)?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait("Training loss", RUN, || {
        Ok(page
            .readout("Training loss")?
            .map_or(Seen::NotYet("no number".to_owned()), Seen::Yes))
    })?;
    picture(&page, "journey-3-training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    let shown_loss = page.readout("Training loss")?.ok_or("no training loss")?;
    assert!(
        page.readout("Tokens per second")?
            .is_some_and(|rate| rate > 0.0)
    );

    answers_differ(&page)?;
    score(&page)?;
    picture(&page, "journey-4-finished")?;

    page.press("Download adapter")?;
    let zip = visit.browser.downloaded(".zip", LOADING)?;
    let files = unzipped(&zip)?;
    check_zip(&page, &files)?;
    check_log(shown_loss, &log_lines(&files)?)?;
    page.expect_quiet_console()?;

    let requests = visit.browser.close(&visit.origin)?;
    assert!(
        requests.iter().any(|url| url.ends_with(".gguf")),
        "the model came from the page's origin: {requests:?}"
    );
    let away: Vec<&String> = requests
        .iter()
        .filter(|url| !url.starts_with(&visit.origin))
        .collect();
    assert!(away.is_empty(), "requests that left the origin: {away:?}");
    Ok(())
}

fn answers_differ(page: &Page) -> Outcome {
    page.fill("Prompt", "Where is the red kettle 42?")?;
    page.fill("Max new tokens", "12")?;
    page.press("Generate")?;
    page.wait("both answers", LOADING, || {
        // While it answers, nothing more can be asked.
        let is_over = page.is_enabled("Generate")?;
        let (base, tuned) = (page.text("Base output")?, page.text("Tuned output")?);
        let is_there = is_over && !base.trim().is_empty() && !tuned.trim().is_empty();
        Ok(if is_there {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("'{base}' and '{tuned}'"))
        })
    })?;
    let (base, tuned) = (page.text("Base output")?, page.text("Tuned output")?);
    println!("base: {base}\ntuned: {tuned}");
    assert_ne!(base, tuned);
    assert!(
        tuned.contains("Zounds") && !base.contains("Zounds"),
        "the manner is learned: '{base}' and '{tuned}'"
    );
    Ok(())
}

/// The held-out rows are scored, and the most improved row is shown in the table.
fn score(page: &Page) -> Outcome {
    page.wait_until_enabled("Score the held-out rows", SOON)?;
    page.press("Score the held-out rows")?;
    page.wait("the score of the held-out rows", RUN, || {
        let scores = page.text("Scores")?;
        Ok(if scores.contains("held-out rows: mean loss") {
            Seen::Yes(())
        } else {
            Seen::NotYet(scores)
        })
    })?;
    assert!(page.text("Scores")?.contains("General prompts: "));
    let best = page.text("Most improved held-out rows")?;
    let row = best.split("Row ").find_map(|part| {
        let number: String = part.chars().take_while(char::is_ascii_digit).collect();
        (!number.is_empty()).then_some(number)
    });
    let row = row.ok_or_else(|| format!("no row in {best}"))?;
    page.press(&format!("Show row {row} in the table"))?;
    page.wait_for_text(&format!("Row {row} as the model sees it"), SOON)?;
    Ok(())
}

/// What was scored on the page stands in the zip, with every row.
fn check_scores(page: &Page, evaluation: &Value) -> Outcome {
    let report = &evaluation["scores"][0];
    assert_eq!(report["side"], "validation");
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(NUM_ROWS / 10));
    let measures = page.text("Metrics of the held-out rows")?;
    for (model, key) in [("base", "base_loss"), ("tuned", "tuned_loss")] {
        let loss = report["total"][model]["loss"].as_f64();
        let loss = loss.ok_or_else(|| format!("no loss in {report}"))?;
        assert!(measures.contains(&format!("{loss:.4}")), "{measures}");
        let of_run = evaluation[key].as_f64().ok_or("no loss of the run")?;
        assert!((loss - of_run).abs() < 1e-3, "{loss} and {of_run}");
    }
    let accuracy = |model: &str| report["total"][model]["token_accuracy"].as_f64();
    assert!(accuracy("tuned") > accuracy("base"), "{report}");
    assert_eq!(report["keep"]["prompts"].as_array().map(Vec::len), Some(16));
    Ok(())
}

fn check_zip(page: &Page, files: &BTreeMap<String, Vec<u8>>) -> Outcome {
    let shown = page.body_text()?;
    for name in files.keys() {
        assert!(shown.contains(name), "the page lists {name}");
    }
    let json = |name: &str| -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_slice(file(files, name)?)?)
    };
    check_evaluation(page, &json("evaluation.json")?)?;
    check_scores(page, &json("evaluation.json")?)?;

    let config = json("adapter_config.json")?;
    assert_eq!(config["peft_type"], "LORA");
    assert_eq!(config["task_type"], "CAUSAL_LM");
    assert_eq!(
        (config["r"].as_u64(), config["lora_alpha"].as_u64()),
        (Some(8), Some(16))
    );
    assert_eq!(
        config["target_modules"],
        serde_json::json!(["q_proj", "v_proj"])
    );

    check_tensors(file(files, "adapter_model.safetensors")?)?;

    let recipe = json("recipe.json")?.to_string();
    assert!(
        recipe.contains("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        "the model's hash: {recipe}"
    );
    let readme = std::str::from_utf8(file(files, "README.md")?)?;
    assert!(readme.contains("PeftModel"), "{readme}");
    Ok(())
}

/// The curve is looked at as a whole and in the log: how much of it the page shows at a moment depends on the machine.
fn check_log(shown_loss: f64, log: &[Value]) -> Outcome {
    let of_type = |kind: &str| log.iter().filter(|line| line["type"] == kind).collect();
    let (steps, evaluations): (Vec<&Value>, Vec<&Value>) = (of_type("step"), of_type("evaluation"));
    let losses: Vec<f64> = steps
        .iter()
        .filter_map(|step| step["loss"].as_f64())
        .collect();
    assert_eq!(losses.len(), NUM_STEPS, "a loss for each step");
    assert!(!evaluations.is_empty(), "evaluations in the log");
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..3]), mean(&losses[NUM_STEPS - 3..]));
    assert!(last < first, "the training loss falls: {losses:?}");
    let last = losses[NUM_STEPS - 1];
    assert!(
        (shown_loss - last).abs() < 0.01,
        "the page shows {shown_loss}, the log says {last}"
    );
    Ok(())
}

fn check_evaluation(page: &Page, evaluation: &Value) -> Outcome {
    let number = |name: &str| {
        evaluation[name]
            .as_f64()
            .ok_or_else(|| format!("no {name} in {evaluation}"))
    };
    let (base, tuned) = (number("base_loss")?, number("tuned_loss")?);
    assert!(tuned < base, "the held-out loss falls: {base} to {tuned}");
    for (name, loss) in [("Base validation loss", base), ("Validation loss", tuned)] {
        let shown = page.readout(name)?.ok_or_else(|| format!("no {name}"))?;
        assert!(
            (shown - loss).abs() < 0.01,
            "{name}: the page shows {shown}, the zip says {loss}"
        );
    }
    assert!(number("scored_tokens")? > 0.0);
    assert_eq!(evaluation["sequence_length"], SEQUENCE_LENGTH);
    let rows: Vec<u64> = evaluation["held_out_rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    assert_eq!(rows.len(), NUM_ROWS / 10, "a tenth is held out: {rows:?}");
    assert!(rows.iter().all(|&row| row < NUM_ROWS as u64), "{rows:?}");
    Ok(())
}

/// An adapter of rank 8 on q and v of SmolLM2-135M: 30 blocks, hidden size 576, 9 query and 3 key/value heads of 64.
fn check_tensors(bytes: &[u8]) -> Outcome {
    let header_len = usize::try_from(u64::from_le_bytes(bytes[..8].try_into()?))?;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..8 + header_len])?;
    let data = &bytes[8 + header_len..];
    assert_eq!(header["__metadata__"]["format"], "pt");
    assert_eq!(header.len() - 1, 120, "tensors");
    for block in 0..30 {
        for (module, out) in [("q_proj", 576), ("v_proj", 192)] {
            let prefix = format!("base_model.model.model.layers.{block}.self_attn.{module}");
            for (name, shape) in [("lora_A", [8, 576]), ("lora_B", [out, 8])] {
                let name = format!("{prefix}.{name}.weight");
                let tensor = header.get(&name).ok_or_else(|| format!("no {name}"))?;
                assert_eq!(tensor["dtype"], "F32", "{name}");
                assert_eq!(tensor["shape"], serde_json::json!(shape), "{name}");
                let offset = |at: usize| {
                    tensor["data_offsets"][at]
                        .as_u64()
                        .map(|offset| offset as usize)
                };
                let range = offset(0).ok_or("no start")?..offset(1).ok_or("no end")?;
                let values: Vec<f32> = data[range]
                    .chunks_exact(4)
                    .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                    .collect();
                assert!(
                    values.iter().all(|value| value.is_finite()),
                    "{name} is finite"
                );
                assert!(
                    values.iter().any(|&value| value != 0.0),
                    "{name} has learned something"
                );
            }
        }
    }
    Ok(())
}
