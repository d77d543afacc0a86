//! What single rows mean: switches on messages, preferences, earlier turns, choices, exports, answers that are no texts.

use formats::{row::Example, row_file::StoredRow};
use protocol::{FindingKind, Message, ReadSpec, RowShape, TrainOn};
use serde_json::{Value, json};

use super::dataset::{Reading, read_files};

/// Reads rows as JSON lines.
fn read(rows: &[Value]) -> Reading {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    read_text("rows.jsonl", &text)
}

fn read_text(name: &str, text: &str) -> Reading {
    read_files(&[(name, text.as_bytes())], &ReadSpec::default()).unwrap()
}

/// Roles and contents of a row's messages; a pair has two, a text one without a role.
fn turns(stored: &StoredRow) -> Vec<(&str, &str)> {
    match &stored.row.example {
        Example::Conversation { messages, .. } => messages
            .iter()
            .map(|message| (message.role.as_str(), message.content.as_str()))
            .collect(),
        Example::Pair { prompt, completion } => {
            vec![
                ("user", prompt.as_str()),
                ("assistant", completion.as_str()),
            ]
        }
        Example::Text(text) => vec![("", text.as_str())],
    }
}

fn messages(stored: &StoredRow) -> &[Message] {
    match &stored.row.example {
        Example::Conversation { messages, .. } => messages,
        other => panic!("{other:?}"),
    }
}

fn learned(stored: &StoredRow, train_on: TrainOn) -> String {
    stored.row.example.targets(train_on).join("|")
}

/// What is learned of each row.
fn all_learned(reading: &Reading) -> Vec<String> {
    let rows = reading.rows.iter();
    rows.map(|row| learned(row, TrainOn::AssistantTurns))
        .collect()
}

fn problems(reading: &Reading) -> Vec<&str> {
    let problems = &reading.dataset.summary.problems;
    problems
        .iter()
        .map(|problem| problem.what.as_str())
        .collect()
}

fn notes(reading: &Reading) -> Vec<&str> {
    let notes = &reading.dataset.summary.notes;
    notes.iter().map(String::as_str).collect()
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

#[test]
fn messages_of_weight_0_are_context() {
    let row = |name: &str, bad: Value, good: Value| {
        let mut first = assistant("wrong");
        first[name] = bad;
        let mut second = assistant("right");
        second[name] = good;
        json!({"messages": [user("q"), first, user("again"), second]})
    };
    let rows = [
        row("weight", json!(0), json!(1)),
        row("weight", json!("0"), json!("1.0")),
        row("weight", json!(false), json!(null)),
        row("train", json!(false), json!(true)),
        row("loss", json!(false), json!(true)),
        row("loss_weight", json!(0.0), json!(1.0)),
        row("loss_scale", json!(0), json!("")),
        row("trainable", json!(false), json!(true)),
        row("masked", json!(true), json!(false)),
        json!({"messages": {"role": ["user", "assistant", "user", "assistant"], "content": ["q", "wrong", "again", "right"],
            "weight": [null, 0, null, 1]}}),
    ];
    let reading = read(&rows);
    assert_eq!(problems(&reading), [""; 0]);
    for stored in &reading.rows {
        assert_eq!(turns(stored).len(), 4);
        assert_eq!(
            learned(stored, TrainOn::AssistantTurns),
            "right",
            "{stored:?}"
        );
        assert_eq!(learned(stored, TrainOn::LastTurn), "right");
        assert_eq!(learned(stored, TrainOn::Everything), "q|again|right");
    }
    assert_eq!(
        notes(&reading),
        ["10 rows have answers that the dataset marks as context only; those are not learned."]
    );
    // The last turn is the last one that may be learned, and the table shows it.
    let reading = read(&[row("weight", json!(1), json!(0))]);
    assert_eq!(learned(&reading.rows[0], TrainOn::LastTurn), "wrong");
    assert_eq!(reading.dataset.summary.first_rows[0].completion, "wrong");
}

#[test]
fn switches_that_cannot_be_obeyed_are_refused() {
    let weighted = |weight: Value| {
        let mut answer = assistant("a");
        answer["weight"] = weight;
        json!({"messages": [user("q"), answer]})
    };
    let mut detailed = assistant("a");
    detailed["train_detail"] = json!([{"begin_offset": 0, "end_offset": 1, "train": false}]);
    let reading = read(&[
        weighted(json!(0)),
        weighted(json!(0.5)),
        json!({"messages": [user("q"), detailed]}),
        // A number that was logged is no switch.
        json!({"messages": [user("q"), {"role": "assistant", "content": "fine", "loss": 2.31}]}),
    ]);
    let problems = problems(&reading);
    assert!(
        problems[0].contains("marked as context only"),
        "{problems:?}"
    );
    assert!(
        problems[1].contains("message 2 has the `weight` 0.5"),
        "{problems:?}"
    );
    assert!(problems[2].contains("`train_detail`"), "{problems:?}");
    assert_eq!(problems.len(), 3);
    assert_eq!(learned(&reading.rows[0], TrainOn::AssistantTurns), "fine");
}

#[test]
fn calls_of_functions_are_calls_of_tools() {
    let function = json!({"name": "tide", "arguments": "{\"buoy\": 1}"});
    let called = |call: Value| {
        json!({"functions": [{"name": "tide", "parameters": {"type": "object"}}],
            "messages": [user("Tide?"), call, {"role": "function", "name": "tide", "content": "1.4"}, assistant("1.4 m")]})
    };
    let reading = read(&[
        called(json!({"role": "assistant", "content": null, "function_call": function})),
        called(json!({"role": "assistant", "function_call": function})),
        called(
            json!({"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}),
        ),
        called(
            json!({"role": "assistant", "content": null, "tool_calls": [{"name": "tide", "args": {"buoy": 1}}]}),
        ),
        called(
            json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "tide", "input": {"buoy": 1}}]}),
        ),
        json!({"tools": [{"name": "tide", "input_schema": {"type": "object"}}], "conversations": [
            {"from": "human", "value": "Tide?"}, {"from": "function_call", "value": function.to_string()},
            {"from": "observation", "value": "1.4"}, {"from": "gpt", "value": "1.4 m"}]}),
    ]);
    assert_eq!(problems(&reading), [""; 0]);
    for stored in &reading.rows {
        let Example::Conversation {
            messages, tools, ..
        } = &stored.row.example
        else {
            panic!("{stored:?}");
        };
        let roles: Vec<&str> = messages
            .iter()
            .map(|message| message.role.as_str())
            .collect();
        assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
        assert!(messages[1].content.is_empty());
        let call: Value = serde_json::from_str(&messages[1].tool_calls[0]).unwrap();
        assert_eq!(
            (&call["type"], &call["function"]["name"]),
            (&json!("function"), &json!("tide"))
        );
        assert!(call["function"].get("arguments").is_some(), "{call}");
        assert_eq!(messages[2].content, "1.4");
        let tool: Value = serde_json::from_str(&tools[0]).unwrap();
        assert_eq!(
            (&tool["type"], &tool["function"]["name"]),
            (&json!("function"), &json!("tide"))
        );
        assert_eq!(tool["function"]["parameters"], json!({"type": "object"}));
    }
}

#[test]
fn each_row_is_read_by_the_columns_that_it_fills() {
    let columns = [
        "prompt",
        "completion",
        "messages",
        "instruction",
        "output",
        "chosen",
        "rejected",
        "text",
    ];
    let row = |empty: Value, filled: Value| {
        let mut row = serde_json::Map::new();
        for column in columns {
            let value = filled.get(column).cloned();
            row.insert(column.to_owned(), value.unwrap_or_else(|| empty.clone()));
        }
        Value::Object(row)
    };
    // Nulls, as datasets that were put together have them, and empty texts, as their tables do.
    for empty in [json!(null), json!("")] {
        let reading = read(&[
            row(
                empty.clone(),
                json!({"messages": [user("a"), assistant("the bowline")]}),
            ),
            row(
                empty.clone(),
                json!({"prompt": "b", "completion": "the jib"}),
            ),
            row(
                empty.clone(),
                json!({"instruction": "c", "output": "the tern"}),
            ),
            row(
                empty.clone(),
                json!({"prompt": "d", "chosen": "the cod", "rejected": "a brick"}),
            ),
            row(empty.clone(), json!({"text": "the tide"})),
        ]);
        assert_eq!(problems(&reading), [""; 0], "{empty}");
        let all = all_learned(&reading);
        assert_eq!(
            all,
            ["the bowline", "the jib", "the tern", "the cod", "the tide"]
        );
        let asked: Vec<&str> = reading.rows.iter().map(|row| turns(row)[0].1).collect();
        assert_eq!(asked, ["a", "b", "c", "d", "the tide"]);
        assert_eq!(reading.rows[3].facts.rejected.as_deref(), Some("a brick"));
    }
    // A struct of nulls yields to the one that is filled; a chosen answer alone is an answer.
    let reading = read(&[
        json!({"messages": {"role": null, "content": null}, "row": {"prompt": null, "completion": null},
            "data": {"prompt": "p", "completion": "c"}}),
        json!({"prompt": "p", "chosen": "c", "rejected": null}),
        json!({"chosen": [null], "rejected": {"content": null}, "question": "p", "answer": "c"}),
    ]);
    assert_eq!(problems(&reading), [""; 0]);
    for stored in &reading.rows {
        assert_eq!(turns(stored), [("user", "p"), ("assistant", "c")]);
    }
}

#[test]
fn answers_that_are_marked_as_bad_are_never_learned() {
    let row = |label: Value| json!({"prompt": "Greet.", "completion": "x", "label": label});
    for (good, bad) in [
        (json!(true), json!(false)),
        (json!(1), json!(0)),
        (json!("true"), json!("False")),
        (json!("desirable"), json!("undesirable")),
    ] {
        let conversation = |label: &Value| json!({"messages": [user("q"), assistant("earlier"), user("r"), assistant("last")], "kto_tag": label});
        let listed = |label: &Value| json!({"prompt": [user("q")], "completion": [assistant("listed")], "label": label});
        let reading = read(&[
            row(good.clone()),
            row(bad.clone()),
            conversation(&good),
            conversation(&bad),
            listed(&good),
            listed(&bad),
        ]);
        assert_eq!(problems(&reading), [""; 0]);
        let summary = &reading.dataset.summary;
        assert_eq!(summary.shapes, [(RowShape::Preference, 6)]);
        let is_bad: Vec<bool> = reading.rows.iter().map(|row| row.facts.is_bad()).collect();
        assert_eq!(is_bad, [false, true, false, true, false, true]);
        let finding = &summary.findings[0];
        assert_eq!(
            (finding.kind, finding.num_rows, finding.can_leave_out),
            (FindingKind::BadAnswer, 3, false)
        );
        assert_eq!(
            finding.rows[0].what,
            "`label` marks its answer as a bad one"
        );
        // The mark is about the last answer.
        assert_eq!(learned(&reading.rows[2], TrainOn::AssistantTurns), "last");
    }
    // Where there is no answer to be marked, or the mark is none, nothing changes.
    let reading = read(&[
        json!({"text": "dull film", "label": false}),
        json!({"question": "q", "answer": "a", "label": "positive"}),
        json!({"question": "q", "answer": "a", "label": 3}),
    ]);
    assert!(reading.rows.iter().all(|row| row.facts.is_good.is_none()));
    assert_eq!(learned(&reading.rows[0], TrainOn::AssistantTurns), "false");
}

#[test]
fn preferences_are_known_in_their_usual_forms() {
    let pair = |prompt: &str, chosen: &str, rejected: &str| json!({(prompt): "q", (chosen): "good", (rejected): "bad"});
    let mut rows = vec![
        json!({"input": {"messages": [user("q")], "tools": [], "parallel_tool_calls": true},
            "preferred_output": [assistant("good")], "non_preferred_output": [assistant("bad")]}),
        json!({"prompt": [user("q")], "chosen": [assistant("good")], "rejected": [assistant("bad")]}),
        json!({"chosen": [user("q"), assistant("good")], "rejected": [user("q"), assistant("bad")]}),
        json!({"messages": [user("q"), assistant("good")], "rejected_response": "bad"}),
        json!({"query": "q", "response": "good", "rejected_response": "bad"}),
        json!({"prompt": [user("q")], "chosen": "good", "rejected": "bad"}),
        json!({"prompt": "q", "chosen": json!([assistant("good")]).to_string(), "rejected": json!([assistant("bad")]).to_string()}),
        json!({"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"}}),
    ];
    rows.extend([
        pair("prompt", "chosen", "rejected"),
        pair("question", "response_j", "response_k"),
        pair("instruction", "chosen_response", "rejected_response"),
        pair("prompt", "better", "worse"),
        pair("input", "preferred", "dispreferred"),
        pair("prompt", "preferred_output", "non_preferred_output"),
    ]);
    let reading = read(&rows);
    assert_eq!(problems(&reading), [""; 0]);
    for stored in &reading.rows {
        assert_eq!(stored.shape(), RowShape::Preference);
        assert_eq!(
            turns(stored),
            [("user", "q"), ("assistant", "good")],
            "{stored:?}"
        );
        assert_eq!(learned(stored, TrainOn::AssistantTurns), "good");
        assert_eq!(stored.facts.rejected.as_deref(), Some("bad"), "{stored:?}");
    }
    // What belongs to the prompt is kept; what was rejected is never taken for a good answer.
    let reading = read(&[
        json!({"system": "S", "instruction": "q", "input": "more", "history": [["a", "b"]], "chosen": "good", "rejected": "bad"}),
        json!({"prompt": "q", "rejected": "bad"}),
        json!({"rejected": [user("q"), assistant("bad")]}),
        json!({"id": 1, "rejected": {"role": "assistant", "content": "bad"}}),
    ]);
    assert_eq!(
        turns(&reading.rows[0]),
        [
            ("system", "S"),
            ("user", "a"),
            ("assistant", "b"),
            ("user", "q\n\nmore"),
            ("assistant", "good")
        ]
    );
    assert_eq!(learned(&reading.rows[0], TrainOn::AssistantTurns), "good");
    assert_eq!(
        (reading.rows.len(), reading.dataset.summary.num_problems),
        (1, 3)
    );
    assert_eq!(
        problems(&reading)[1],
        "the row has a `rejected` but no `chosen`"
    );
}

#[test]
fn history_becomes_earlier_turns() {
    let row = |history: Value| json!({"instruction": "And today?", "input": "", "output": "Rain.", "system": "You log weather.", "history": history});
    let reading = read(&[
        row(json!([["Yesterday?", "Sun."]])),
        row(json!([user("Yesterday?"), assistant("Sun.")])),
        row(json!([{"question": "Yesterday?", "answer": "Sun."}])),
        row(json!("[[\"Yesterday?\", \"Sun.\"]]")),
        row(json!(["Yesterday?", "Sun."])),
        row(json!([])),
        row(json!(null)),
    ]);
    assert_eq!(problems(&reading), [""; 0]);
    for stored in &reading.rows[..5] {
        assert_eq!(
            turns(stored),
            [
                ("system", "You log weather."),
                ("user", "Yesterday?"),
                ("assistant", "Sun."),
                ("user", "And today?"),
                ("assistant", "Rain.")
            ]
        );
        assert_eq!(learned(stored, TrainOn::AssistantTurns), "Sun.|Rain.");
        assert_eq!(learned(stored, TrainOn::LastTurn), "Rain.");
    }
    for stored in &reading.rows[5..] {
        assert_eq!(turns(stored).len(), 3);
    }
    assert!(notes(&reading)[0].starts_with("5 rows have earlier turns"));
}

#[test]
fn system_texts_outside_the_messages_are_kept() {
    let asked = || json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]);
    let reading = read(&[
        json!({"system_prompt": "S", "conversations": asked()}),
        json!({"systemPrompt": "S", "instruction": "q", "output": "a"}),
        json!({"system_message": "S", "chat": {"messages": asked()}}),
        json!({"systemInstruction": {"role": "system", "parts": [{"text": "S"}]},
            "contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}),
        json!({"system_instruction": {"parts": {"text": "S"}},
            "contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}),
        json!({"system": [{"text": "S"}], "messages": [
            {"role": "user", "content": [{"text": "q"}]}, {"role": "assistant", "content": [{"text": "a"}]}]}),
        json!({"system": "other", "messages": [user("q"), assistant("a"), {"role": "system", "content": "S"}]}),
    ]);
    assert_eq!(problems(&reading), [""; 0]);
    let (own, outside) = reading.rows.split_last().unwrap();
    for stored in outside {
        assert_eq!(
            turns(stored),
            [("system", "S"), ("user", "q"), ("assistant", "a")]
        );
    }
    // A system message of its own wins.
    assert_eq!(
        turns(own),
        [("user", "q"), ("assistant", "a"), ("system", "S")]
    );
}

#[test]
fn texts_next_to_messages_are_system_texts_and_other_unused_texts_are_told() {
    let asked = || json!([user("q"), assistant("a")]);
    let own = json!([{"role": "system", "content": "S"}, user("q"), assistant("a")]);
    let reading = read(&[
        json!({"persona": "S", "messages": asked()}),
        json!({"instructions": "S", "conversations": asked()}),
        json!({"context": "S", "messages": asked().to_string()}),
        json!({"system": "S", "context": "C", "messages": asked()}),
        json!({"persona": "P", "messages": own.clone()}),
        json!({"persona": ["P"], "messages": asked()}),
    ]);
    let expected = [("system", "S"), ("user", "q"), ("assistant", "a")];
    for stored in &reading.rows[..5] {
        assert_eq!(turns(stored), expected);
    }
    assert_eq!(turns(&reading.rows[5]), expected[1..]);
    assert_eq!(notes(&reading), [""; 0]);
    let unused = |row: Value| {
        let notes = read(&[row.clone(), row]).dataset.summary.notes;
        notes.join("|")
    };
    assert_eq!(
        unused(json!({"persona": "You are a pirate", "prompt": "q", "completion": "a"})),
        "The column \"persona\" is not used."
    );
    assert_eq!(
        unused(
            json!({"row_idx": 0, "row": {"question": "q", "answer": "a", "hint": "Use algebra.", "explanation": "It is so."}})
        ),
        "The columns \"row.hint\" and \"row.explanation\" are not used."
    );
    assert_eq!(
        unused(json!({"persona": "You are a pirate", "messages": own})),
        "The column \"persona\" is not used."
    );
    // Where a row comes from, and what it is about, is missed by nobody.
    assert_eq!(
        unused(
            json!({"id": "a b", "conversation_id": "c d", "source": "my own notes", "model": "GPT 4", "url": "https://a.de/x",
            "category": "Closed QA", "score": 3, "date": "3 May 2024", "sku": "A-17", "meta": {"by": "Jo Fin"},
            "tools": "[]", "prompt": "q", "completion": "a"})
        ),
        ""
    );
}

#[test]
fn roles_are_known_in_any_case_and_named_where_they_are_not() {
    let row = |asks: &str, answers: &str| json!({"conversations": [{"from": asks, "value": "q"}, {"from": answers, "value": "a"}]});
    let known = [
        ("human", "gpt"),
        ("Human", "ChatGPT"),
        ("user", "bing"),
        ("USER", "bard"),
        ("customer", "Agent"),
        ("prompter", "assistant"),
        ("Question", "Answer"),
        ("human", "gpt-4"),
    ];
    let mut rows: Vec<Value> = known
        .iter()
        .map(|(asks, answers)| row(asks, answers))
        .collect();
    rows.push(json!({"messages": [{"Role": "User", "Content": "q"}, {"Role": "Assistant", "Content": "a"}]}));
    rows.push(
        json!({"messages": [{"author": {"role": "user"}, "content": "q", "text": null},
        {"author": {"role": "assistant"}, "content": null, "text": "a"}]}),
    );
    rows.extend([row("narrator", "gpt"), row("human", "stage direction")]);
    let reading = read(&rows);
    assert_eq!(
        problems(&reading),
        [
            "message 1 has the role \"narrator\"",
            "message 2 has the role \"stage direction\""
        ]
    );
    assert_eq!(reading.rows.len(), known.len() + 2);
    for stored in &reading.rows {
        assert_eq!(turns(stored), [("user", "q"), ("assistant", "a")]);
    }
}

#[test]
fn conversations_are_known_in_other_shapes() {
    let reading = read(&[
        json!({"messages": {"role": ["user", "assistant"], "content": ["q", "a"]}}),
        json!({"conversations": {"from": ["human", "gpt"], "value": ["q", "a"]}}),
        json!({"conversation": [{"human": "q", "assistant": "a"}]}),
        json!({"conversation": [{"input": "q", "output": "a"}]}),
        json!({"dialogue": [["q", "a"]]}),
        json!([user("q"), assistant("a")]),
        json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]),
        json!({"messages": [user("q")], "response": "a"}),
        json!({"prompt": "q", "completion": [assistant("a")]}),
        json!({"prompt": json!([user("q")]).to_string(), "completion": json!([assistant("a")]).to_string()}),
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, assistant("a")]}),
        json!({"messages": {"role": ["user", "assistant"], "content": ["q"]}}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}, assistant("a")]}),
        json!({"contents": [{"role": "user", "parts": [{"inlineData": {"data": "x"}}]}, {"role": "model", "parts": [{"text": "a"}]}]}),
    ]);
    assert_eq!(
        problems(&reading),
        [
            "`messages` has 2 of `role` but 1 of `content`",
            "message 1 has a part of the type `image_url`, and only text can be learned",
            "message 1 has a part with `inlineData`, and only text can be learned",
        ]
    );
    assert_eq!(reading.rows.len(), 11);
    for stored in &reading.rows {
        assert_eq!(turns(stored), [("user", "q"), ("assistant", "a")]);
        assert_eq!(learned(stored, TrainOn::AssistantTurns), "a");
    }
    // Calls of tools among Gemini's parts, and what they answer.
    let reading = read(&[
        json!({"contents": [{"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"n": 1}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"m": 2}}}]},
        {"role": "model", "parts": [{"text": "think", "thought": true}, {"text": "a"}]}]}),
    ]);
    assert_eq!(
        turns(&reading.rows[0]),
        [
            ("user", "q"),
            ("assistant", ""),
            ("tool", "{\"m\":2}"),
            ("assistant", "a")
        ]
    );
    let [_, call, result, last] = messages(&reading.rows[0]) else {
        panic!("{:?}", reading.rows[0]);
    };
    assert_eq!(
        call.tool_calls,
        ["{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"n\":1}}}"]
    );
    assert_eq!(
        (result.name.as_deref(), last.reasoning_content.as_deref()),
        (Some("f"), Some("think"))
    );
}

/// A node of ChatGPT's tree.
fn node(parent: Option<&str>, children: &[&str], role: &str, text: &str) -> Value {
    json!({"parent": parent, "children": children, "message": {"author": {"role": role}, "weight": 1.0, "recipient": "all",
        "content": {"content_type": "text", "parts": [text]}}})
}

#[test]
fn chatgpt_exports_are_read_along_their_current_branch() {
    let simple = |number: usize| {
        json!({"title": "Talk", "create_time": 1.5, "current_node": "a", "mapping": {
            "r": {"id": "r", "message": null, "parent": null, "children": ["u"]},
            "u": node(Some("r"), &["a"], "user", &format!("q{number}")),
            "a": node(Some("u"), &[], "assistant", &format!("a{number}"))}})
    };
    let mut hidden = node(Some("r"), &["u"], "system", "be nice");
    hidden["message"]["metadata"] = json!({"is_visually_hidden_from_conversation": true});
    let mut code = node(Some("u"), &["t"], "assistant", "");
    code["message"]["content"] = json!({"content_type": "code", "text": "1 + 1"});
    code["message"]["recipient"] = json!("python");
    let branched = json!({"title": "Talk", "current_node": "a2", "mapping": {
        "r": {"message": null, "parent": null, "children": ["s"]},
        "s": hidden,
        "u": node(Some("s"), &["c", "a1"], "user", "sum?"),
        "a1": node(Some("u"), &[], "assistant", "three"),
        "c": code,
        "t": node(Some("c"), &["a2"], "tool", "2"),
        "a2": node(Some("t"), &[], "assistant", "two"),
    }});
    let mut picture = simple(9);
    picture["mapping"]["u"]["message"]["content"] = json!({"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer"}, "what is it?"]});
    let mut looped = simple(8);
    looped["mapping"]["r"]["parent"] = json!("a");
    let export = json!([simple(1), simple(2), branched, picture, looped]).to_string();
    let reading = read_text("conversations.json", &export);
    assert_eq!(
        turns(&reading.rows[0]),
        [("user", "q1"), ("assistant", "a1")]
    );
    assert_eq!(
        turns(&reading.rows[1]),
        [("user", "q2"), ("assistant", "a2")]
    );
    assert_eq!(
        turns(&reading.rows[2]),
        [("user", "sum?"), ("assistant", "two")]
    );
    assert_eq!(reading.rows.len(), 4);
    assert!(
        problems(&reading)[0].ends_with("shows an image or a file"),
        "{:?}",
        problems(&reading)
    );
    assert_eq!(
        notes(&reading),
        ["1 conversation has several branches; the current one is learned."]
    );
}

#[test]
fn claude_exports_are_read() {
    let said = |id: &str, sender: &str, text: &str| {
        json!({"uuid": id, "sender": sender, "text": text, "content": [{"type": "text", "text": text}],
            "attachments": [], "files": [], "created_at": "2025-01-01"})
    };
    let talk = |messages: Value| json!({"uuid": "c", "name": "Talk", "account": {"uuid": "x"}, "chat_messages": messages});
    let mut attached = said("1", "human", "Sum it up.");
    attached["attachments"] = json!([{"file_name": "n.txt", "extracted_content": "A long note."}]);
    let mut filed = said("1", "human", "What is it?");
    filed["files"] = json!([{"file_name": "photo.png"}]);
    let parented = |mut message: Value, parent: &str| {
        message["parent_message_uuid"] = json!(parent);
        message
    };
    let export = json!([
        talk(json!([
            said("1", "human", "q"),
            said("2", "assistant", "a")
        ])),
        talk(json!([attached, said("2", "assistant", "Short.")])),
        talk(json!([
            parented(said("1", "human", "q"), "0"),
            parented(said("2", "assistant", "old"), "1"),
            parented(said("3", "assistant", "new"), "1")
        ])),
        talk(json!([filed, said("2", "assistant", "A cat.")])),
    ]);
    let reading = read_text("conversations.json", &export.to_string());
    assert_eq!(turns(&reading.rows[0]), [("user", "q"), ("assistant", "a")]);
    assert_eq!(turns(&reading.rows[1])[0].1, "Sum it up.\n\nA long note.");
    assert_eq!(
        turns(&reading.rows[2]),
        [("user", "q"), ("assistant", "new")]
    );
    assert!(
        problems(&reading)[0].contains("has a file"),
        "{:?}",
        problems(&reading)
    );
}

#[test]
fn choices_stand_in_the_prompt_and_the_right_one_is_the_answer() {
    let listed = |answer: Value| json!({"question": "Which floats?", "subject": "sea", "choices": ["stone", "cork", "lead"], "answer": answer});
    let rows = [
        listed(json!(1)),
        listed(json!("B")),
        listed(json!("(b)")),
        listed(json!("cork")),
        listed(json!("1")),
        json!({"question": "Which floats?", "choices": {"text": ["stone", "cork", "lead"], "label": ["1", "2", "3"]}, "answerKey": "2"}),
        json!({"question": {"stem": "Which floats?", "choices": [{"label": "A", "text": "stone"}, {"label": "B", "text": "cork"},
            {"label": "C", "text": "lead"}]}, "answerKey": "B"}),
        json!({"question": "Which floats?", "options": {"A": "stone", "B": "cork", "C": "lead"}, "answer": "cork", "answer_idx": "B"}),
        json!({"question": "Which floats?", "A": "stone", "B": "cork", "C": "lead", "answer": "B"}),
        json!({"question": "Which floats?", "option_a": "stone", "option_b": "cork", "option_c": "lead", "correct_option": "b"}),
        json!({"question": "Which floats?", "opa": "stone", "opb": "cork", "opc": "lead", "cop": 1}),
        json!({"question": "Which floats?", "option1": "stone", "option2": "cork", "option3": "lead", "answer": "2"}),
        json!({"ctx": "Which floats?", "ending0": "stone", "ending1": "cork", "ending2": "lead", "label": "1"}),
        json!({"goal": "Which floats?", "sol1": "stone", "sol2": "cork", "sol3": "lead", "label": 1}),
    ];
    let reading = read(&rows);
    assert_eq!(problems(&reading), [""; 0]);
    for stored in &reading.rows {
        let asked = "Which floats?\n\nA. stone\nB. cork\nC. lead";
        assert_eq!(
            turns(stored),
            [("user", asked), ("assistant", "B. cork")],
            "{stored:?}"
        );
    }
    assert_eq!(
        notes(&reading),
        [
            "14 rows are multiple-choice questions: the choices stand in the prompt, and the right one is the answer."
        ]
    );
    // Letters that are there already, a passage, and an answer in words of its own.
    let reading = read(&[
        json!({"question": "How many?", "options": ["A)20", "B)21"], "correct": "B"}),
        json!({"article": "A text.", "question": "Who?", "options": ["he", "she"], "answer": "A"}),
        json!({"question": "Who?", "options": ["he", "she"], "answer": "It was she who did."}),
        json!({"question": "How many?", "choices": ["0", "4", "2"], "answer": 1}),
    ]);
    assert_eq!(
        turns(&reading.rows[0]),
        [("user", "How many?\n\nA)20\nB)21"), ("assistant", "B)21")]
    );
    assert_eq!(
        turns(&reading.rows[1]),
        [
            ("user", "Who?\n\nA text.\n\nA. he\nB. she"),
            ("assistant", "A. he")
        ]
    );
    assert_eq!(
        turns(&reading.rows[2]),
        [
            ("user", "Who?\n\nA. he\nB. she"),
            ("assistant", "It was she who did.")
        ]
    );
    assert_eq!(turns(&reading.rows[3])[1].1, "B. 4");
    let reading = read(&[
        listed(json!(1)),
        listed(json!(3)),
        listed(json!(-1)),
        listed(json!("E")),
        json!({"question": "How many?", "choices": ["0", "4", "2"], "answer": "2"}),
    ]);
    let expected = [
        "`answer` is 3, but the choices are numbered 0 to 2",
        "`answer` is -1, but the choices are numbered 0 to 2",
        "`answer` is \"E\", which is none of the choices",
    ];
    assert_eq!(problems(&reading), expected);
    // As a text and as a number it is the same one.
    assert_eq!(turns(&reading.rows[1])[1].1, "C. 2");
}

#[test]
fn answers_that_are_lists_or_objects_are_learned_as_json() {
    let reading = read(&[
        json!({"input": "Take aspirin and iron.", "output": ["aspirin", "iron"]}),
        json!({"input": "Nothing.", "output": []}),
        json!({"prompt": "Bo, 41", "completion": {"name": "Bo", "age": 41, "role": "cook"}}),
        json!({"question": "Which?", "answers": ["one", "two"]}),
        json!({"instruction": "From?", "output": [{"from": "Rome", "to": "Bern"}]}),
    ]);
    assert_eq!(problems(&reading), [""; 0]);
    let all = all_learned(&reading);
    assert_eq!(
        all,
        [
            "[\"aspirin\",\"iron\"]",
            "[]",
            "{\"name\":\"Bo\",\"age\":41,\"role\":\"cook\"}",
            "[\"one\",\"two\"]",
            "[{\"from\":\"Rome\",\"to\":\"Bern\"}]"
        ]
    );
    assert_eq!(
        notes(&reading),
        ["5 answers are lists or objects and are learned as JSON text."]
    );
    // A list of one is what it lists; of answers that are all right the first is taken, and that is said.
    let reading = read(&[
        json!({"question": "q", "answers": ["only"]}),
        json!({"question": "q", "answers": {"text": ["same", "same"], "answer_start": [1, 1]}}),
        json!({"question": "q", "answers": {"text": ["first", "second"], "answer_start": [1, 5]}}),
        json!({"question": "q", "ideal": ["first", "second"]}),
        json!({"question": "q", "answer": {"value": "first", "aliases": ["second"]}}),
        json!({"question": "q", "answers": {"text": [], "answer_start": []}}),
    ]);
    let all = all_learned(&reading);
    assert_eq!(all, ["only", "same", "first", "first", "first"]);
    assert_eq!(
        notes(&reading),
        ["3 rows list several accepted answers; the first one is learned."]
    );
    assert_eq!(problems(&reading), ["`answers` accepts no answer"]);
}

#[test]
fn the_rows_of_a_file_are_read_in_one_way() {
    // Lists of one are lists where others have more, or none.
    let row = |list: Value| json!({"input": "x", "output": list});
    let reading = read(&[row(json!(["a"])), row(json!(["a", "b"])), row(json!([]))]);
    assert_eq!(all_learned(&reading), ["[\"a\"]", "[\"a\",\"b\"]", "[]"]);
    let reading = read(&[row(json!(["a"])), row(json!(["b"]))]);
    assert_eq!(all_learned(&reading), ["a", "b"]);
    // Choices are counted from 1 where answers are all numbers from 1 to the last; one number too many is a mistake.
    let asked =
        |answer: Value| json!({"question": "q", "choices": ["w", "x", "y", "z"], "answer": answer});
    let reading = read(&[1, 2, 3, 4].map(|number| asked(json!(number))));
    assert_eq!(all_learned(&reading), ["A. w", "B. x", "C. y", "D. z"]);
    let lettered = |label: &str| json!({"context": "c", "question": "q", "answerA": "x", "answerB": "y", "answerC": "z", "label": label});
    let reading = read(&[lettered("1"), lettered("2"), lettered("3")]);
    assert_eq!(all_learned(&reading), ["A. x", "B. y", "C. z"]);
    let reading = read(&[asked(json!(1)), asked(json!(0)), asked(json!(4))]);
    assert_eq!(all_learned(&reading), ["B. x", "A. w"]);
    assert_eq!(
        problems(&reading),
        ["`answer` is 4, but the choices are numbered 0 to 3"]
    );
    // Each file has its own way, and rows keep their numbers.
    let zero = [asked(json!(0)), asked(json!(3))]
        .map(|row| row.to_string())
        .join("\n");
    let [one, two, three, four] = [1, 2, 3, 4].map(|number| asked(json!(number)));
    let one = format!("{one}\nnonsense\n{four}\n{two}\n{three}");
    let files = [
        ("zero.jsonl", zero.as_bytes()),
        ("one.jsonl", one.as_bytes()),
    ];
    let reading = read_files(&files, &ReadSpec::default()).unwrap();
    assert_eq!(
        all_learned(&reading),
        ["A. w", "D. z", "A. w", "D. z", "B. x", "C. y"]
    );
    let numbers: Vec<usize> = reading.rows.iter().map(|stored| stored.row.row).collect();
    assert_eq!(numbers, [0, 1, 2, 4, 5, 6]);
    assert_eq!(reading.dataset.summary.problems[0].row, 3);
}

#[test]
fn a_text_with_an_answer_is_a_prompt() {
    let all = |reading: &Reading| -> Vec<(String, String)> {
        let rows = reading.rows.iter();
        rows.map(|row| {
            let [(_, asked), (_, answered)] = turns(row)[..] else {
                panic!("{row:?}")
            };
            (asked.to_owned(), answered.to_owned())
        })
        .collect()
    };
    let pair = |asked: &str, answered: &str| (asked.to_owned(), answered.to_owned());
    let tickets = "subject,body,answer,queue\nHelp,It squeaks.,Oil it.,repairs\nBill,It is late.,\"Pay, then.\",billing\n";
    let reading = read_text("tickets.csv", tickets);
    assert_eq!(
        all(&reading),
        [
            pair("It squeaks.", "Oil it."),
            pair("It is late.", "Pay, then.")
        ]
    );
    // An answer that is empty is told of; the row is not learned as a text.
    let reading = read_text("mails.csv", "text,reply\nHello?,Hello.\nAnyone?,\n");
    assert_eq!(all(&reading)[1], pair("Anyone?", ""));
    assert_eq!(reading.rows[1].facts.findings, [FindingKind::EmptyAnswer]);
    // So is one that is null, even in the first row.
    let reading = read(&[
        json!({"text": "a", "answer": null}),
        json!({"text": "b", "answer": "c"}),
    ]);
    assert_eq!(all(&reading), [pair("b", "c")]);
    assert_eq!(problems(&reading), ["`answer` is empty (null)"]);
    // A column that is null in every row, or that belongs to a prompt, says nothing.
    for rows in [
        [
            json!({"text": "a", "answer": null}),
            json!({"text": "b", "answer": null}),
        ],
        [
            json!({"text": "a", "prompt": null, "answer": null}),
            json!({"text": "b", "prompt": "", "answer": ""}),
        ],
    ] {
        let reading = read(&rows);
        assert_eq!(problems(&reading), [""; 0]);
        let texts: Vec<_> = reading.rows.iter().flat_map(turns).collect();
        assert_eq!(texts, [("", "a"), ("", "b")]);
    }
    // Whether the answer is a good one is heeded here, too.
    let reading = read(&[
        json!({"text": "a", "response": "good", "label": true}),
        json!({"text": "b", "response": "bad", "label": false}),
    ]);
    let verdicts: Vec<_> = reading.rows.iter().map(|row| row.facts.is_good).collect();
    assert_eq!(verdicts, [Some(true), Some(false)]);
}

#[test]
fn what_is_known_but_cannot_be_learned_is_named() {
    let reading = read(&[
        json!({"text": "fine"}),
        json!({"anchor": "a", "positive": "b", "negative": "c"}),
        json!({"id": 1, "tokens": ["a", "b"], "ner_tags": [0, 1]}),
        json!({"prompt": "q", "completions": ["a", "b"], "labels": [true, false]}),
        json!({"image": {"bytes": [1, 2]}, "caption": "a", "size": "b"}),
        json!({"translation": {"en": "a", "de": "b"}}),
    ]);
    let problems = problems(&reading);
    for (problem, name) in
        problems
            .iter()
            .zip(["anchor", "ner_tags", "completions", "image", "translation"])
    {
        assert!(problem.contains(name), "{problem}");
    }
    assert_eq!(problems.len(), 5);
}
