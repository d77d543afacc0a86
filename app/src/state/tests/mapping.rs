use protocol::*;

use crate::state::mapping::{ReadForm, Shape, SplitBy, in_words, part_label};

fn mappings() -> Vec<Mapping> {
    let of = str::to_owned;
    vec![
        Mapping::Automatic,
        Mapping::Text { text: of("body") },
        Mapping::PromptCompletion {
            system: None,
            history: Some(of("earlier")),
            prompt: of("data.question"),
            input: Some(of("context")),
            completion: of("answers[0].text"),
            verdict: Some(of("is_good")),
        },
        Mapping::Messages {
            messages: of("conversations"),
            system: Some(of("system_prompt")),
            verdict: Some(of("label")),
        },
        Mapping::Choice {
            prompt: of("question"),
            input: None,
            choices: vec![of("A"), of("B"), of("C")],
            answer: of("right"),
        },
        Mapping::Choice {
            prompt: of("question"),
            input: Some(of("passage")),
            choices: vec![of("choices")],
            answer: of("answer"),
        },
        Mapping::Classification {
            text: of("review"),
            label: of("stars"),
        },
        Mapping::Preference {
            system: Some(of("system")),
            history: None,
            prompt: None,
            input: Some(of("input")),
            chosen: of("good"),
            rejected: of("bad"),
        },
        Mapping::MessageRows {
            conversation: of("thread"),
            role: of("speaker"),
            content: of("text"),
            order: Some(of("turn")),
        },
        Mapping::Template {
            prompt: of("Say {word}"),
            completion: of("{{{word}}}"),
        },
    ]
}

#[test]
fn what_was_asked_is_what_the_form_says() {
    let splits = [
        TextSplit::Automatic,
        TextSplit::Document,
        TextSplit::Paragraph,
        TextSplit::Length { characters: 1234 },
    ];
    for mapping in mappings() {
        for text_split in splits {
            for group_by in [None, Some("author".to_owned())] {
                let spec = ReadSpec {
                    mapping: mapping.clone(),
                    text_split,
                    group_by,
                };
                let dataset = DatasetSummary {
                    spec: spec.clone(),
                    ..DatasetSummary::default()
                };
                assert_eq!(ReadForm::of(&dataset).spec(), Ok(spec));
            }
        }
    }
}

#[test]
fn a_correction_begins_at_what_was_recognized() {
    let dataset = DatasetSummary {
        mapping: Some(Mapping::PromptCompletion {
            system: None,
            history: None,
            prompt: "question".into(),
            input: None,
            completion: "answer".into(),
            verdict: None,
        }),
        ..DatasetSummary::default()
    };
    let mut form = ReadForm::of(&dataset);
    assert_eq!(form.shape, Shape::Automatic);
    assert_eq!(form.spec(), Ok(ReadSpec::default()));
    form.shape = Shape::PromptCompletion;
    form.set(Part::Completion, "long_answer");
    let expected = Mapping::PromptCompletion {
        system: None,
        history: None,
        prompt: "question".into(),
        input: None,
        completion: "long_answer".into(),
        verdict: None,
    };
    assert_eq!(form.spec().unwrap().mapping, expected);
}

#[test]
fn what_is_missing_is_named() {
    let mut form = ReadForm::default();
    for shape in Shape::ALL {
        form.shape = shape;
        match shape.parts().iter().find(|(_, is_optional)| !is_optional) {
            Some((part, _)) => {
                let error = form.spec().unwrap_err();
                assert!(error.contains(&part_label(*part).to_lowercase()), "{error}");
            }
            None => assert!(form.spec().is_ok()),
        }
    }
    form.shape = Shape::Automatic;
    form.split_by = SplitBy::Length;
    for (text, is_good) in [
        ("1,500", true),
        ("2_000", true),
        ("3", false),
        ("many", false),
    ] {
        form.characters = text.to_owned();
        assert_eq!(form.spec().is_ok(), is_good, "{text}");
    }
}

#[test]
fn a_mapping_is_told_in_words() {
    let said: Vec<String> = mappings().iter().map(in_words).collect();
    assert_eq!(said[0], "");
    assert_eq!(
        said[2],
        "history from “earlier”, prompt from “data.question”, input from “context”, completion from “answers[0].text”, \
         good or bad mark from “is_good”"
    );
    assert_eq!(
        said[4],
        "prompt from “question”, choices from “A, B, C”, answer from “right”"
    );
    let plain = Mapping::Classification {
        text: "text".into(),
        label: "label".into(),
    };
    assert_eq!(in_words(&plain), "text, label");
}
