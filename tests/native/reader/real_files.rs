//! Files as people share them (`tests/fixtures/datasets/README.md`): what they are taken for without being told.

use formats::row::Example;
use protocol::{Failure, Mapping, ReadSpec, RowShape, TrainOn};
use reader::DatasetError;

use super::{
    dataset::{Reading, read_files},
    records::fixture,
};

fn read_as(name: &str, spec: &ReadSpec) -> Result<Reading, DatasetError> {
    read_files(&[(name, &fixture(&format!("real/{name}")))], spec)
}

fn read(name: &str) -> Reading {
    read_as(name, &ReadSpec::default()).unwrap()
}

fn pair(prompt: &str, input: Option<&str>, completion: &str) -> Mapping {
    Mapping::PromptCompletion {
        system: None,
        history: None,
        prompt: prompt.to_owned(),
        input: input.map(str::to_owned),
        completion: completion.to_owned(),
        verdict: None,
    }
}

fn messages(field: &str) -> Mapping {
    Mapping::Messages {
        messages: field.to_owned(),
        system: None,
        verdict: None,
    }
}

fn preference(prompt: Option<&str>, chosen: &str, rejected: &str) -> Mapping {
    Mapping::Preference {
        system: None,
        history: None,
        input: None,
        prompt: prompt.map(str::to_owned),
        chosen: chosen.to_owned(),
        rejected: rejected.to_owned(),
    }
}

fn text(field: &str) -> Mapping {
    Mapping::Text {
        text: field.to_owned(),
    }
}

/// Format, rows, shape, mapping, and the beginning of what is learned of the first row.
#[test]
fn every_file_is_what_a_person_would_take_it_for() {
    use RowShape::{Messages, Preference, PromptCompletion, Text};
    let alpaca = || pair("instruction", Some("input"), "output");
    let options = || pair("question", Some("options"), "answer");
    let cases = [
        (
            "alpaca_en_demo.json",
            "JSON",
            12,
            PromptCompletion,
            alpaca(),
            "Making crepes is an easy",
        ),
        (
            "alpaca_zh_demo.json",
            "JSON",
            12,
            PromptCompletion,
            alpaca(),
            "",
        ),
        (
            "identity.json",
            "JSON",
            91,
            PromptCompletion,
            alpaca(),
            "Hello! I am {{name}}",
        ),
        (
            "dpo_en_demo.json",
            "JSON",
            5,
            Preference,
            preference(Some("conversations"), "chosen", "rejected"),
            "That sounds like a fun",
        ),
        (
            "v1_dpo_demo.jsonl",
            "JSONL",
            4,
            Preference,
            preference(None, "chosen_messages", "rejected_messages"),
            "Abdulah Hasanagic is the proud owner",
        ),
        (
            "glaive_toolcall_en_demo.json",
            "JSON",
            6,
            Messages,
            messages("conversations"),
            "Of course! I can help",
        ),
        (
            "kto_en_demo.json",
            "JSON",
            8,
            Preference,
            Mapping::Messages {
                messages: "messages".to_owned(),
                system: None,
                verdict: Some("label".to_owned()),
            },
            "Ooh ooh ah ah!",
        ),
        (
            "v1_sft_demo.jsonl",
            "JSONL",
            20,
            Messages,
            messages("messages"),
            "Hello! I am {{name}}",
        ),
        (
            "reason_tool_use_demo_50.jsonl",
            "JSONL",
            3,
            Messages,
            messages("messages"),
            "I'm sorry, but the available",
        ),
        (
            "dummy_conversation.json",
            "JSON",
            20,
            Messages,
            messages("conversations"),
            "I am Vicuna",
        ),
        (
            "HumanEval.jsonl.gz",
            "JSONL, gzipped",
            164,
            PromptCompletion,
            pair("prompt", None, "canonical_solution"),
            "    for idx, elem in enumerate(numbers):",
        ),
        (
            "logic-statements.jsonl",
            "JSONL",
            20,
            PromptCompletion,
            pair("input", None, "ideal"),
            "NO",
        ),
        (
            "css_verbal.jsonl",
            "JSONL",
            20,
            PromptCompletion,
            pair("input", None, "ideal"),
            ".",
        ),
        (
            "chinese_famous_novel.jsonl",
            "JSONL",
            20,
            PromptCompletion,
            pair("input", None, "ideal"),
            "王朔",
        ),
        (
            "mmlu.jsonl",
            "JSONL",
            20,
            PromptCompletion,
            options(),
            "B. 9 lines",
        ),
        (
            "openbookqa.jsonl",
            "JSONL",
            20,
            PromptCompletion,
            options(),
            "B. quit eating lunch out",
        ),
        (
            "disambiguation_qa.jsonl",
            "JSONL",
            20,
            PromptCompletion,
            options(),
            "B. The office was Sam's",
        ),
        (
            "truthfulqa.jsonl",
            "JSONL",
            20,
            PromptCompletion,
            pair("question", None, "answer"),
            "[\"Bears don’t wear anything when",
        ),
        (
            "sotu_1797_john_adams.json",
            "JSONL",
            1,
            Text,
            text("text"),
            "Gentlemen of the Senate",
        ),
        (
            "sotu_1793_george_washington.txt",
            "plain text",
            1,
            Text,
            text("text"),
            "Fellow-Citizens of the Senate",
        ),
    ];
    for (name, format, num_rows, shape, mapping, begin) in cases {
        let reading = read(name);
        let summary = &reading.dataset.summary;
        let [file] = summary.files.as_slice() else {
            panic!("{name}: {:?}", summary.files);
        };
        assert_eq!(
            (file.format.as_str(), file.encoding.as_str()),
            (format, "UTF-8"),
            "{name}"
        );
        assert_eq!(summary.problems, [], "{name}");
        assert_eq!(summary.shapes, [(shape, num_rows)], "{name}");
        assert_eq!(summary.mapping, Some(mapping), "{name}");
        let targets = reading.rows[0].row.example.targets(TrainOn::AssistantTurns);
        assert!(targets[0].starts_with(begin), "{name}: {targets:?}");
    }
}

#[test]
fn what_lies_beside_the_texts_is_kept() {
    let calls = read("glaive_toolcall_en_demo.json");
    let Example::Conversation {
        messages, tools, ..
    } = &calls.rows[0].row.example
    else {
        panic!("{:?}", calls.rows[0]);
    };
    let roles: Vec<&str> = messages
        .iter()
        .map(|message| message.role.as_str())
        .collect();
    assert_eq!(
        roles[..6],
        [
            "user",
            "assistant",
            "user",
            "assistant",
            "tool",
            "assistant"
        ]
    );
    assert!(
        messages[3].tool_calls[0]
            .starts_with("{\"type\":\"function\",\"function\":{\"name\":\"search_recipes\"")
    );
    assert!(
        tools.len() == 1 && tools[0].contains("search_recipes"),
        "{tools:?}"
    );

    let thought = read("reason_tool_use_demo_50.jsonl");
    let Example::Conversation { messages, .. } = &thought.rows[1].row.example else {
        panic!("{:?}", thought.rows[1]);
    };
    assert!(messages[2].reasoning_content.is_some() && messages[2].content.is_empty());
    assert!(messages[2].tool_calls[0].contains("\"name\":\"get_movie_details\""));

    let preferred = read("dpo_en_demo.json");
    let stored = &preferred.rows[0];
    assert!(!stored.facts.rejected.as_ref().unwrap().starts_with('{'));
    let Example::Conversation {
        messages,
        first_trained,
        ..
    } = &stored.row.example
    else {
        panic!("{stored:?}");
    };
    assert_eq!(
        (messages[0].role.as_str(), messages.len(), *first_trained),
        ("user", 2, 1)
    );

    // The options belong to the question.
    let read = read("mmlu.jsonl");
    let Example::Pair { prompt, .. } = &read.rows[0].row.example else {
        panic!("{:?}", read.rows[0]);
    };
    assert!(
        prompt.ends_with("\n\nA. 3 lines\nB. 9 lines\nC. 5 lines\nD. 7 lines"),
        "{prompt}"
    );
}

#[test]
fn where_a_person_would_have_to_say_the_reader_asks() {
    for (name, what) in [
        ("gapminder-health-income.csv", "`country`"),
        ("emoji_utf8_lexicon.txt", "`column 1`"),
        ("recipes_lunch.json", "`calories`"),
        // Questions alone.
        ("vicuna_question.jsonl", "nothing to learn"),
    ] {
        let error = read_as(name, &ReadSpec::default()).err().unwrap();
        assert!(
            matches!(error, DatasetError::NoUsableRow { .. }),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(what), "{name}: {error}");
    }
    let spec = ReadSpec {
        mapping: Mapping::Template {
            prompt: "How is {name.en} made?".to_owned(),
            completion: "{recipe.en}".to_owned(),
        },
        ..ReadSpec::default()
    };
    let recipes = read_as("recipes_lunch.json", &spec).unwrap();
    assert_eq!(recipes.rows.len(), 6);
    assert_eq!(recipes.dataset.summary.num_problems, 0);
    let spec = ReadSpec {
        mapping: pair("column 1", None, "column 2"),
        ..ReadSpec::default()
    };
    let emoji = read_as("emoji_utf8_lexicon.txt", &spec).unwrap();
    assert_eq!(emoji.dataset.summary.files[0].format, "TSV");
    assert_eq!(emoji.rows.len(), 60);
    let corpus = read_as("chatterbot_ai.yml", &ReadSpec::default())
        .err()
        .unwrap();
    assert!(corpus.to_string().contains("YAML"));
    assert!(Failure::from(corpus).remedy.unwrap().contains("JSONL"));
}
