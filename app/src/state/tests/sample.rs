use std::collections::{BTreeMap, BTreeSet};

use protocol::DataSpec;
use serde_json::Value;

use crate::state::form::Form;
use crate::state::sample::{SAMPLES, Sample};

fn rows(sample: &Sample) -> Vec<Value> {
    let lines = sample.rows.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a row asks.
fn asked(row: &Value) -> &str {
    let asked = row.get("prompt").or(row.get("text"));
    asked
        .unwrap_or(&row["messages"][1]["content"])
        .as_str()
        .unwrap()
}

#[test]
fn every_sample_has_new_rows_and_sound_settings() {
    for sample in &SAMPLES {
        let rows = rows(sample);
        assert!((60..=120).contains(&rows.len()), "{}", sample.title);
        let prompts: BTreeSet<String> = rows.iter().map(|row| asked(row).to_lowercase()).collect();
        assert_eq!(
            prompts.len(),
            rows.len(),
            "no row asks what another one asks"
        );
        assert!(!prompts.contains(&sample.prompt.to_lowercase()));

        let mut form = Form::default();
        sample.set(&mut form);
        assert_eq!(form.prompt, sample.prompt);
        let spec = form.run_spec().unwrap();
        let DataSpec {
            validation_split, ..
        } = spec.data;
        assert!(validation_split > 0.0);
        let seen = spec.max_steps * spec.per_device_train_batch_size as u64;
        assert!(seen as usize >= rows.len() / 2, "{}", sample.title);
    }
    assert_eq!(SAMPLES[0].button, "Load sample dataset");
}

#[test]
fn a_sample_takes_the_place_of_another_and_leaves_the_users_prompt() {
    let mut form = Form::default();
    SAMPLES[0].set(&mut form);
    SAMPLES[1].set(&mut form);
    assert_eq!(form.prompt, SAMPLES[1].prompt);
    let mut fresh = Form::default();
    SAMPLES[1].set(&mut fresh);
    assert_eq!(form, fresh, "nothing of the first one is left");
    form.prompt = "My own question".to_owned();
    SAMPLES[2].set(&mut form);
    assert_eq!(form.prompt, "My own question");
}

#[test]
fn every_extraction_is_json_that_stands_in_its_message() {
    let numbers = [
        "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    ];
    for row in rows(&SAMPLES[1]) {
        let messages = row["messages"].as_array().unwrap();
        let roles: Vec<&str> = messages
            .iter()
            .map(|it| it["role"].as_str().unwrap())
            .collect();
        assert_eq!(roles, ["system", "user", "assistant"]);
        assert_eq!(messages[0]["content"], "Write the booking as JSON.");
        let message = asked(&row);
        let text = messages[2]["content"].as_str().unwrap();
        let json: BTreeMap<String, Value> = serde_json::from_str(text).unwrap();
        let keys: Vec<&str> = json.keys().map(String::as_str).collect();
        assert_eq!(keys, ["day", "name", "people", "time"], "{text}");
        for key in ["name", "day", "time"] {
            assert!(
                message.contains(json[key].as_str().unwrap()),
                "{message} {text}"
            );
        }
        let people = json["people"].as_u64().unwrap() as usize;
        let words = message.to_lowercase();
        let is_said = words.contains(numbers[people])
            || (people == 1 && words.contains("alone"))
            || (people == 2 && words.contains("and i "));
        assert!(is_said, "{people}: {message}");
    }
}

#[test]
fn labels_are_balanced() {
    let mut counts = BTreeMap::<String, usize>::new();
    for row in rows(&SAMPLES[2]) {
        *counts
            .entry(row["label"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    let labels: Vec<(&str, usize)> = counts
        .iter()
        .map(|(label, rows)| (label.as_str(), *rows))
        .collect();
    assert_eq!(
        labels,
        [
            ("billing", 20),
            ("delivery", 20),
            ("returns", 20),
            ("technical", 20)
        ]
    );
}
