//! Answers that somebody judged: comparisons of two, marks, what annotators turned down; and guesses that keep off them.

use formats::row::Example;
use protocol::{FindingKind, ReadSpec, RowShape, TrainOn};
use serde_json::{Value, json};

use crate::{
    dataset::{Reading, read_files},
    together::failed,
};

fn read(rows: &[Value]) -> Reading {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    read_files(&[("rows.jsonl", text.as_bytes())], &ReadSpec::default()).unwrap()
}

/// Prompt, learned answer and rejected answer of each row.
fn judged(reading: &Reading) -> Vec<(String, String, String)> {
    let rows = reading.rows.iter();
    rows.map(|stored| {
        let prompt = match &stored.row.example {
            Example::Pair { prompt, .. } => prompt.clone(),
            Example::Conversation { messages, .. } => messages[0].content.clone(),
            Example::Text(_) => String::new(),
        };
        let learned = stored
            .row
            .example
            .targets(TrainOn::AssistantTurns)
            .join("|");
        (
            prompt,
            learned,
            stored.facts.rejected.clone().unwrap_or_default(),
        )
    })
    .collect()
}

#[test]
fn the_better_one_of_two_answers_is_learned() {
    let said = |text: &str| json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]);
    let reading = read(&[
        json!({"prompt": "q", "response_a": "bad", "response_b": "good", "winner": "model_b"}),
        json!({"prompt": "q", "response_a": "good", "response_b": "bad", "winner": "A"}),
        json!({"prompt": "q", "response_a": "bad", "response_b": "good", "winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}),
        json!({"model_a": "x", "model_b": "y", "winner": "model_a", "conversation_a": said("good"), "conversation_b": said("bad")}),
        json!({"prompt": "q", "response_0": "bad", "response_1": "good", "better_response_id": 1, "safer_response_id": 0}),
        json!({"question": "q", "answer_0": "good", "answer_1": "bad", "score_0": 0.5, "score_1": -0.5}),
        json!({"history": "q", "human_ref_A": "good", "human_ref_B": "bad", "labels": 1, "score_A": 3, "score_B": 9}),
        json!({"instruction": "q", "response_1": "bad", "response_2": "good", "preference": "2"}),
        json!({"context": "q", "response1": "good", "response2": "bad", "overall_preference": -2}),
        json!({"prompt": "q", "win": "good", "lose": "bad"}),
    ]);
    let expected = ("q".to_owned(), "good".to_owned(), "bad".to_owned());
    assert_eq!(judged(&reading), vec![expected; 10]);
    assert_eq!(reading.summary().shapes, [(RowShape::Preference, 10)]);
    // Neither is learned where nothing says which one is better.
    let reading = read(&[
        json!({"prompt": "q", "completion": "a"}),
        json!({"prompt": "q", "response_a": "x", "response_b": "y", "winner": "tie"}),
        json!({"prompt": "q", "response_a": "x", "response_b": "y", "preference": 1}),
        json!({"prompt": "q", "response_1": "x", "response_2": "y", "overall_preference": 0}),
    ]);
    assert_eq!(reading.rows.len(), 1);
    for problem in &reading.summary().problems {
        assert!(
            problem
                .what
                .ends_with("and does not say which one is better"),
            "{problem:?}"
        );
    }
}

#[test]
fn lists_around_the_texts_of_comparisons_are_unpacked() {
    let text = "prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n\
        \"[\"\"q\"\"]\",\"[\"\"bad\"\"]\",\"[\"\"good\"\"]\",0,1,0\n\
        \"[\"\"q\"\",\"\"r\"\"]\",\"[\"\"x\"\",\"\"good\"\"]\",\"[\"\"y\"\",\"\"bad\"\"]\",1,0,0\n\
        q,[1],bad,1,0,0\n";
    let reading = read_files(&[("rows.csv", text.as_bytes())], &ReadSpec::default()).unwrap();
    let expected = [
        ("q", "good", "bad"),
        ("q", "good", "bad"),
        ("q", "[1]", "bad"),
    ];
    assert_eq!(
        judged(&reading),
        expected.map(|(prompt, good, bad)| (prompt.to_owned(), good.to_owned(), bad.to_owned()))
    );
    let Example::Conversation { messages, .. } = &reading.rows[1].row.example else {
        panic!("{:?}", reading.rows[1]);
    };
    let said: Vec<_> = messages.iter().map(|said| said.content.as_str()).collect();
    assert_eq!(said, ["q", "x", "r", "good"]);
}

#[test]
fn thumbs_words_and_inverse_marks_are_verdicts() {
    let row = |name: &str, mark: Value| json!({"prompt": "q", "completion": "a", (name): mark});
    let pairs = [
        ("label", json!(1), json!(-1)),
        ("label", json!("👍"), json!("👎🏽")),
        ("rating", json!("thumbs_up"), json!("thumbs_down")),
        ("feedback", json!("positive"), json!("Negative")),
        ("vote", json!(1), json!(-1)),
        ("is_bad", json!(false), json!(true)),
        ("thumbs_down", json!(0), json!(1)),
    ];
    for (name, good, bad) in pairs {
        let reading = read(&[row(name, good), row(name, bad)]);
        let marks: Vec<_> = reading.rows.iter().map(|row| row.facts.is_good).collect();
        assert_eq!(marks, [Some(true), Some(false)], "{name}");
        let finding = &reading.summary().findings[0];
        assert_eq!(
            (finding.kind, finding.num_rows),
            (FindingKind::BadAnswer, 1)
        );
    }
    // Grades and sentiments are no verdicts.
    let reading = read(&[
        row("rating", json!(1)),
        row("label", json!("positive")),
        row("feedback", json!("Nice, but long.")),
    ]);
    assert!(reading.rows.iter().all(|row| row.facts.is_good.is_none()));
}

#[test]
fn what_annotators_turned_down_is_refused() {
    let row =
        |answer: &str| json!({"text": "t", "label": "SPORT", "_input_hash": 1, "answer": answer});
    let reading = read(&[row("accept"), row("reject"), row("ignore")]);
    assert_eq!(reading.rows.len(), 1);
    assert_eq!(reading.rows[0].facts.label.as_deref(), Some("SPORT"));
    let problem = &reading.summary().problems[0];
    assert_eq!(
        problem.what,
        "the annotator did not accept the row: its `answer` is \"reject\""
    );
}

/// A click must not swap columns, or learn wrong answers.
#[test]
fn nothing_is_guessed_where_a_guess_would_go_wrong() {
    for text in [
        "prompt,response_a,response_b,outcome\nq one,x one,y one,z\nq two,x two,y two,z\n",
        "Frage;Antwort A;Antwort B;Antwort C;Richtig\nWo?;Rom;Bern;Wien;?\nWer?;Bo;Al;Cy;?\n",
        "Item,Answer 1,Answer 2,Answer 3\nWho is it?,a b,c d,e f\nWhat is it?,g h,i j,k l\n",
        "dialog_id,turn,speaker,utterance\n1,1,A,Hi there\n1,2,B,Hello\n2,1,A,Good day\n2,2,B,Hey\n",
        "query,positive,rejected text\nq one,x one,y one\nq two,x two,y two\n",
    ] {
        let (_, summary) = failed(&[("rows.csv", text.as_bytes())]);
        assert_eq!(summary.unwrap().suggestion, None, "{text}");
    }
}

#[test]
fn lists_of_labels_are_labels_and_other_columns_of_texts_are_told() {
    let reading = read(&[
        json!({"id": 1, "text": "t", "label": ["news"]}),
        json!({"id": 2, "text": "u", "labels": ["joy", "fear"]}),
        json!({"id": 3, "text": "v", "labels": 2}),
        json!({"id": 4, "text": "w", "label": []}),
    ]);
    let labels: Vec<_> = reading
        .rows
        .iter()
        .map(|row| row.facts.label.as_deref())
        .collect();
    assert_eq!(labels, [Some("news"), Some("joy, fear"), Some("2")]);
    assert_eq!(reading.summary().problems[0].what, "`label` lists no label");
    let reading = read(&[json!({"id": 1, "text": "t", "entities": [{"start": 0, "type": "PER"}]})]);
    assert_eq!(
        reading.summary().notes,
        ["Only \"text\" is learned, as plain text; the columns \"id\" and \"entities\" are not."]
    );
}

#[test]
fn rows_without_spans_are_texts_as_those_with_spans_are() {
    let plain = |row: &Value| {
        let reading = read(&[row.clone(), json!({"id": 2, "text": "u", "label": []})]);
        assert_eq!(reading.summary().shapes, [(RowShape::Text, 2)]);
        assert_eq!(
            reading.summary().notes,
            ["Only \"text\" is learned, as plain text; the columns \"id\" and \"label\" are not."]
        );
    };
    plain(&json!({"id": 1, "text": "t", "label": [[0, 1, "ORG"]]}));
    plain(&json!({"id": 1, "text": "t", "label": []}));
}

#[test]
fn answers_and_earlier_turns_are_not_lost() {
    let reading = read(&[
        json!({"messages": [json!({"role": "user", "content": "q"}).to_string(), json!({"role": "assistant", "content": "a"}).to_string()]}),
        json!({"instruction": "q", "output": "a", "history": "User: first\nAssistant: second"}),
        json!({"input": "q", "output": {"task": null}}),
        json!({"question": "q", "answer": null}),
        json!({"question": "q", "choices": ["x", "y"], "answer": null}),
    ]);
    assert_eq!(
        judged(&reading)
            .into_iter()
            .map(|(prompt, learned, _)| (prompt, learned))
            .collect::<Vec<_>>(),
        [
            ("q".to_owned(), "a".to_owned()),
            (
                "q\n\nUser: first\nAssistant: second".to_owned(),
                "a".to_owned()
            ),
            ("q".to_owned(), "{\"task\":null}".to_owned()),
        ]
    );
    for problem in &reading.summary().problems {
        assert_eq!(problem.what, "`answer` is empty (null)");
    }
    let reading = read(&[
        json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "reasoning": "r"}]}),
    ]);
    let Example::Conversation { messages, .. } = &reading.rows[0].row.example else {
        panic!("{:?}", reading.rows[0]);
    };
    assert_eq!(messages[1].reasoning_content.as_deref(), Some("r"));
}

#[test]
fn misread_letters_and_failed_formulas_are_found() {
    let read_one =
        |name: &str, bytes: &[u8]| read_files(&[(name, bytes)], &ReadSpec::default()).unwrap();
    // windows-1252, though a few signs and a letter look like Latvian.
    let reading = read_one("a.txt", b"Price is \xA35 and \x806 for the na\xEFve\n");
    let Example::Text(text) = &reading.rows[0].row.example else {
        panic!("{:?}", reading.rows[0]);
    };
    assert_eq!(text, "Price is £5 and €6 for the naïve");
    // Mac Roman, which is read as something else.
    let reading = read_one("b.csv", b"question,answer\nCaf\x8E?,Tr\x8Fs bon\n");
    let finding = &reading.summary().findings[0];
    assert_eq!(finding.kind, FindingKind::BrokenEncoding);
    let reading = read_one(
        "c.csv",
        b"question,answer\nq1,#REF!\nq2,[deleted]\nq3,fine\n",
    );
    let finding = &reading.summary().findings[0];
    assert_eq!(
        (finding.kind, finding.num_rows),
        (FindingKind::MissingValue, 2)
    );
    let reading = read_one("d.csv", b"question,answer\nq1,a\x001\nq2,a2\n\0\0\0\n");
    assert_eq!(reading.rows.len(), 2);
}

#[test]
fn lines_of_two_encodings_are_each_read_as_what_they_are() {
    let text = b"question,answer\nCaf\xC3\xA9,utf8 \xC3\xA9\nCaf\xE9,latin \xE9t\xE9\n\xC3\x89t\xC3\xA9?,oui\nd\xE9j\xE0 vu,oui\n";
    let reading = read_files(&[("rows.csv", text)], &ReadSpec::default()).unwrap();
    let rows: Vec<_> = judged(&reading)
        .into_iter()
        .map(|(prompt, learned, _)| (prompt, learned))
        .collect();
    let expected = [
        ("Café", "utf8 é"),
        ("Café", "latin été"),
        ("Été?", "oui"),
        ("déjà vu", "oui"),
    ];
    assert_eq!(
        rows,
        expected.map(|(prompt, learned)| (prompt.to_owned(), learned.to_owned()))
    );
    assert_eq!(
        reading.summary().notes,
        [
            "rows.csv: 2 lines, the first of them line 3, are not valid UTF-8 and were read as windows-1252."
        ]
    );
}

#[test]
fn json_in_the_only_cell_is_unpacked() {
    let text = "data\n\"{\"\"prompt\"\": \"\"q\"\", \"\"completion\"\": \"\"a\"\"}\"\n\"{'text': 'plain'}\"\n";
    let reading = read_files(&[("rows.csv", text.as_bytes())], &ReadSpec::default()).unwrap();
    let learned: Vec<String> = reading
        .targets()
        .into_iter()
        .map(|(_, target)| target)
        .collect();
    assert_eq!(learned, ["a", "{'text': 'plain'}"]);
    assert_eq!(
        reading.summary().notes,
        ["rows.csv: The JSON in the column \"data\" was unpacked to rows."]
    );
}

#[test]
fn rows_of_weight_0_are_not_learned() {
    let said = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
    let reading = read(&[
        json!({"prompt": "q0", "completion": "a", "weight": 0}),
        json!({"prompt": "q1", "completion": "a", "weight": 0.0}),
        json!({"messages": said, "weight": "0"}),
        json!({"prompt": "q3", "completion": "a", "weight": 1}),
        json!({"messages": said, "weight": "1.0"}),
        json!({"prompt": "q5", "completion": "a", "weight": 0.5}),
        json!({"prompt": "q6", "completion": "a", "weight": null}),
        json!({"prompt": "q7", "completion": "a", "weight": "heavy"}),
    ]);
    let marks: Vec<_> = reading.rows.iter().map(|row| row.facts.is_good).collect();
    assert_eq!(marks[..3], [Some(false); 3]);
    assert_eq!(marks[3..], [None; 5]);
    let finding = &reading.summary().findings[0];
    assert_eq!(
        (
            finding.kind,
            finding.num_rows,
            finding.rows[0].what.as_str()
        ),
        (FindingKind::BadAnswer, 3, "is given weight 0 by `weight`")
    );
    assert_eq!(
        reading.summary().notes,
        [
            "1 row has a weight that is ignored; only 0 and 1 are followed, and only where the columns are chosen automatically."
        ]
    );
}
