//! Tokens that a tokenizer has and the model's embedding has not: told when the model loads, refused by name in rows and
//! prompts, and never on the device.

use engine::workbench::Workbench;
use formats::{
    row::{Example, Row},
    row_file::{RowFacts, StoredRow},
};
use futures_executor::block_on;
use protocol::{
    Command, Conversation, DataSpec, DatasetSummary, Event, Failure, FailureKind, GenerationId,
    GenerationSpec, Message, PreparedSummary, RunId, RunSpec, Speaker,
};
use serde_json::{Value, json};

use crate::common::{
    file,
    host::ScriptedHost,
    workbench::{self, load_model, load_rows, named},
};

/// Tokens of the model's embedding.
const NUM_EMBEDDINGS: u64 = 320;

/// A workbench with the odd model, these tokens added to its tokenizer and these settings to its config.
fn bench<'h>(host: &'h ScriptedHost, added: &[&str], settings: &[(&str, Value)]) -> Workbench<'h> {
    let read = |name: &str| file::bytes(&format!("model/odd/{name}"));
    let mut tokenizer: Value = serde_json::from_slice(&read("tokenizer.json")).unwrap();
    let list = tokenizer["added_tokens"].as_array_mut().unwrap();
    for (content, id) in added.iter().zip(NUM_EMBEDDINGS..) {
        list.push(json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }));
    }
    let mut config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    for (key, value) in settings {
        config[*key] = value.clone();
    }
    let files = vec![
        named("config.json", config.to_string().into_bytes()),
        named("tokenizer.json", tokenizer.to_string().into_bytes()),
        named("model.safetensors", read("model.safetensors")),
    ];
    let mut bench = workbench::empty(host);
    load_model(&mut bench, files);
    bench
}

fn give_rows(bench: &mut Workbench<'_>, rows: &[(&str, &str)]) {
    let stored = |(row, (prompt, completion)): (usize, &(&str, &str))| StoredRow {
        row: Row {
            row,
            example: Example::Pair {
                prompt: (*prompt).to_owned(),
                completion: (*completion).to_owned(),
            },
        },
        facts: RowFacts::default(),
    };
    let rows: Vec<StoredRow> = rows.iter().enumerate().map(stored).collect();
    load_rows(bench, &rows, DatasetSummary::default());
}

fn events<T>(host: &ScriptedHost, wanted: impl Fn(&Event) -> Option<T>) -> Vec<T> {
    let events = host.events.borrow();
    events
        .iter()
        .filter_map(|(_, event)| wanted(event))
        .collect()
}

fn warnings(host: &ScriptedHost) -> Vec<String> {
    events(host, |event| match event {
        Event::Warning { message } => Some(message.clone()),
        _ => None,
    })
}

fn failures(host: &ScriptedHost) -> Vec<Failure> {
    events(host, |event| match event {
        Event::Failed { failure } => Some(failure.clone()),
        _ => None,
    })
}

fn is_loaded(host: &ScriptedHost) -> bool {
    !events(host, |event| {
        matches!(event, Event::ModelLoaded { .. }).then_some(())
    })
    .is_empty()
}

fn prepared(bench: &mut Workbench<'_>, host: &ScriptedHost) -> Option<PreparedSummary> {
    let spec = DataSpec {
        validation_split: 0.0,
        ..DataSpec::default()
    };
    block_on(bench.handle(Command::PrepareDataset { spec }, Vec::new()));
    events(host, |event| match event {
        Event::DatasetPrepared { dataset } => Some(dataset.clone()),
        _ => None,
    })
    .pop()
}

fn ask(bench: &mut Workbench<'_>, prompt: &str) {
    let spec = GenerationSpec {
        conversations: vec![Conversation {
            speaker: Speaker::Base,
            messages: vec![Message::new("user", prompt)],
            tools: Vec::new(),
        }],
        as_text: false,
        max_new_tokens: 3,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        repetition_penalty: 1.0,
        seed: 0,
    };
    let id = GenerationId(1);
    block_on(bench.handle(Command::Generate { id, spec }, Vec::new()));
}

#[test]
fn a_tokenizer_beyond_the_embedding_loads_with_a_word() {
    for (added, told) in [
        (&["<pad>"][..], "`<pad>` (320)"),
        (&["<tool>", "</tool>"], "`<tool>` (320), `</tool>` (321)"),
        (
            &["<1>", "<2>", "<3>", "<4>", "<5>", "<6>", "<7>"],
            "`<5>` (324) and 2 more",
        ),
    ] {
        let host = ScriptedHost::default();
        let mut bench = bench(&host, added, &[]);
        assert!(is_loaded(&host));
        let warnings = warnings(&host);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(told), "{warnings:?}");
        // What does not hold one works as ever.
        ask(&mut bench, "Name the lamp.");
        assert!(failures(&host).is_empty(), "{:?}", failures(&host));
    }
    let host = ScriptedHost::default();
    bench(&host, &[], &[]);
    assert!(warnings(&host).is_empty());
}

#[test]
fn rows_that_hold_such_a_token_are_refused_by_name() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host, &["<pad>", "<more>"], &[]);
    let rows = [
        ("Name lamp 1.", "Amber."),
        ("Name <pad> lamp 2.", "Amber."),
        ("Name lamp 3.", "Amber <more> amber."),
        ("Name lamp 4.", "Amber."),
        ("Name lamp 5.", "Amber<pad>"),
    ];
    give_rows(&mut bench, &rows);
    let prepared = prepared(&mut bench, &host).unwrap();
    assert_eq!(prepared.num_training_rows, 2);
    let told: Vec<(usize, String)> = prepared
        .problems
        .iter()
        .map(|problem| (problem.row, problem.what.clone()))
        .collect();
    let no_embedding = "which the model has no embedding for";
    assert_eq!(
        told,
        [
            (1, format!("it holds `<pad>`, token 320, {no_embedding}")),
            (2, format!("it holds `<more>`, token 321, {no_embedding}")),
            (4, format!("it holds `<pad>`, token 320, {no_embedding}")),
        ]
    );
    assert!(
        prepared.problems[0]
            .remedy
            .contains("resize_token_embeddings")
    );
    // The rest trains.
    let mut spec = RunSpec {
        max_steps: 2,
        ..RunSpec::default()
    };
    spec.data.validation_split = 0.0;
    spec.data.max_seq_length = 64;
    let run = RunId(1);
    block_on(bench.handle(Command::StartTraining { run, spec }, Vec::new()));
    assert!(failures(&host).is_empty(), "{:?}", failures(&host));
    let ended = events(&host, |event| {
        matches!(event, Event::RunEnded { .. }).then_some(())
    });
    assert_eq!(ended.len(), 1);
}

#[test]
fn where_every_row_holds_one_the_reason_is_told() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host, &["<pad>"], &[]);
    give_rows(&mut bench, &[("A <pad>", "b"), ("C", "d <pad>")]);
    assert!(prepared(&mut bench, &host).is_none());
    let failure = failures(&host).remove(0);
    assert_eq!(failure.kind, FailureKind::Dataset);
    let place = failure.place.unwrap();
    assert!(
        place.contains("row 1: it holds `<pad>`, token 320"),
        "{place}"
    );
}

#[test]
fn a_prompt_that_holds_one_is_refused() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host, &["<pad>", "<more>"], &[]);
    for (prompt, token) in [
        ("Name <pad> it", "`<pad>`, token 320"),
        ("<more>", "`<more>`, token 321"),
    ] {
        ask(&mut bench, prompt);
        let failure = failures(&host).pop().unwrap();
        assert_eq!(
            (failure.kind, failure.place.as_deref()),
            (FailureKind::Settings, Some("Prompt"))
        );
        assert!(failure.what.contains(token), "{failure}");
    }
}

/// Special ids of the config beyond the embedding, and beyond the tokenizer.
#[test]
fn special_ids_beyond_the_embedding_are_passed_over() {
    for (settings, told) in [
        (vec![("eos_token_id", json!(320))], "eos_token_id 320"),
        (
            vec![("eos_token_id", json!([2, 999_999]))],
            "eos_token_id 999999",
        ),
        (
            vec![("bos_token_id", json!(321)), ("pad_token_id", json!(4_000))],
            "bos_token_id 321",
        ),
    ] {
        let host = ScriptedHost::default();
        let mut bench = bench(&host, &["<pad>"], &settings);
        assert!(is_loaded(&host), "{:?}", failures(&host));
        assert!(
            warnings(&host).iter().any(|warning| warning.contains(told)),
            "{:?}",
            warnings(&host)
        );
        give_rows(
            &mut bench,
            &[("Name it.", "Amber."), ("Name it again.", "Amber.")],
        );
        let prepared = prepared(&mut bench, &host).unwrap();
        assert_eq!(
            (prepared.num_training_rows, prepared.problems.len()),
            (2, 0)
        );
        ask(&mut bench, "Name it.");
        assert!(failures(&host).is_empty(), "{:?}", failures(&host));
    }
}
