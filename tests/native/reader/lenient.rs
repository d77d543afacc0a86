//! What is not quite JSON and is read all the same: as programs print it, as people type it, as files are glued together.

use serde_json::{Value, json};

use protocol::{ReadSpec, RowShape};

use super::{
    dataset::read_files,
    records::{Records, read_one},
};

fn read(text: &str) -> Records {
    read_one("rows.jsonl", text).unwrap()
}

/// All rows are read, and a note has this in it.
fn assert_read(text: &str, expected: &[Value], note: &str) {
    let records = read(text);
    records.assert_faults(&[]);
    assert_eq!(
        records.values(),
        expected.iter().collect::<Vec<_>>(),
        "{text}"
    );
    let notes = &records.notes;
    assert!(
        note.is_empty() && notes.is_empty()
            || notes
                .iter()
                .any(|(_, said)| !note.is_empty() && said.contains(note)),
        "{text}: {notes:?}"
    );
}

fn pair(prompt: &str, completion: &str) -> Value {
    json!({"prompt": prompt, "completion": completion})
}

#[test]
fn missing_numbers_are_null() {
    let text = "{\"prompt\": \"Depth?\", \"score\": NaN}\n{\"prompt\": \"NaN\", \"score\": -Infinity}\n{\"prompt\": \"x\", \"score\": 1.5}";
    let rows = [
        json!({"prompt": "Depth?", "score": null}),
        json!({"prompt": "NaN", "score": null}),
        json!({"prompt": "x", "score": 1.5}),
    ];
    assert_read(
        text,
        &rows,
        "NaN and Infinity, which JSON does not have, were read as missing values in 2 rows (the first in line 1).",
    );
    assert_read(
        "[{\"a\": [1, Infinity]},\n {\"a\": [nan, 2]}]",
        &[json!({"a": [1, null]}), json!({"a": [null, 2]})],
        "in 2 rows",
    );
    assert_read(
        "{\"text\": \"a\", \"n\": {\"x\": NaN}}\n",
        &[json!({"text": "a", "n": {"x": null}})],
        "in 1 row (line 1)",
    );
}

#[test]
fn commas_and_comments_cost_no_row() {
    let rows = [
        pair("One?", "Uno."),
        pair("Two?", "Dos."),
        pair("Three?", "Tres."),
    ];
    let array = "[\n  {\"prompt\": \"One?\", \"completion\": \"Uno.\"},\n  // it's the \"second\" }\n  {\"prompt\": \"Two?\", \"completion\": \"Dos.\",},\n  {\"prompt\": \"Three?\", \"completion\": \"Tres.\"}, # last\n]\n";
    assert_read(array, &rows, "Extra commas were ignored in 2 places");
    assert_read(array, &rows, "Comments were ignored in 2 places");
    let lines = "# made by hand\n{\"prompt\": \"One?\", \"completion\": \"Uno.\"},\n/* more,\n   { below */\n{\"prompt\": \"Two?\", \"completion\": \"Dos.\"}, // two\n{\"prompt\": \"Three?\", \"completion\": \"Tres.\",}\n";
    assert_read(lines, &rows, "Extra commas were ignored in 3 places");
    let object = "/* header */ {\"data\": [{\"prompt\": \"One?\", \"completion\": \"Uno.\"}, /* , ] */\n{\"prompt\": \"Two?\", \"completion\": \"Dos.\"},\n{\"prompt\": \"Three?\", \"completion\": \"Tres.\"},]}";
    assert_read(object, &rows, "Comments were ignored");
    // Signs of comments inside texts are the texts'.
    let text = "{\"text\": \"see https://x.y/z # 1 /* a */\"}";
    assert_read(
        text,
        &[json!({"text": "see https://x.y/z # 1 /* a */"})],
        "",
    );
}

#[test]
fn control_characters_inside_texts_are_kept() {
    assert_read(
        "{\"text\": \"tab\there\"}\n{\"text\": \"b\"}",
        &[json!({"text": "tab\there"}), json!({"text": "b"})],
        "inside texts were kept",
    );
    assert_read(
        "[{\"text\": \"two\nlines\"}]",
        &[json!({"text": "two\nlines"})],
        "inside texts were kept",
    );
}

#[test]
fn what_python_prints_is_read() {
    let lines = "{'prompt': \"What's this?\", 'completion': None, 'ok': True}\n{'prompt': 'say \"hi\"', 'completion': 'it\\'s \\x41', 'ok': False}\n";
    let rows = [
        json!({"prompt": "What's this?", "completion": null, "ok": true}),
        json!({"prompt": "say \"hi\"", "completion": "it's A", "ok": false}),
    ];
    assert_read(
        lines,
        &rows,
        "Python's notation (single quotes, True, None) was read in place of JSON in 2 rows (the first in line 1).",
    );
    let list = format!("[{}]", lines.trim().replace('\n', ",\n "));
    assert_read(&list, &rows, "Python's notation");
    assert_read(
        "[{'text': 'a }'},\n {'text': ('b ' 'c'), 'n': (1, 2), 's': {3}}]",
        &[
            json!({"text": "a }"}),
            json!({"text": "b c", "n": [1, 2], "s": [3]}),
        ],
        "Python's notation",
    );
    let called = "{'messages': array([{'role': 'user', 'content': 'q'}\n {'role': 'assistant', 'content': 'a'}], dtype=object), 'at': datetime.datetime(2024, 2, 29, 12, 30), 'n': np.int64(3)}".replace('\n', " ");
    assert_read(
        &called,
        &[
            json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "at": "2024-02-29T12:30:00", "n": 3}),
        ],
        "Python's notation",
    );
    // What is neither is told as before.
    let broken = read("{'text': oops}\n{'text': [1 2 ... 9]}\n{\"text\": \"ok\"}");
    broken.assert_faults(&[(1, 2, "not valid JSON"), (2, 2, "not valid JSON")]);
}

#[test]
fn strings_side_by_side_are_no_value() {
    // Two values in a line, and quotes inside a text doubled as in a table: joining them would learn what nobody wrote.
    let good = "{\"text\": \"ok\"}\n".repeat(5);
    let bad = "\"two\" \"three\"\n{\"text\": \"She said \"\"no\"\" to me\"}\n'four' 'five'\n";
    let rows = read(&format!("{good}{bad}"));
    assert_eq!(rows.values(), [&json!({"text": "ok"}); 5]);
    let faults = rows.rows.iter().filter(|(_, row)| row.is_err());
    let lines: Vec<_> = faults.map(|(place, _)| place.line).collect();
    assert_eq!(lines, [Some(6), Some(7), Some(8)]);
    assert!(rows.notes.is_empty(), "{:?}", rows.notes);
}

#[test]
fn a_dataset_without_a_usable_row_says_so_plainly() {
    let told =
        |text: &str| match read_files(&[("rows.jsonl", text.as_bytes())], &ReadSpec::default()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{text} is no row"),
        };
    let one = told("{\"prompt\": \"p\"}");
    assert_eq!(
        one,
        "its only row cannot be used: the row has a `prompt` but no `completion`"
    );
    let two = told("{\"prompt\": \"p\"}\n{\"prompt\": \"q\"}");
    assert_eq!(
        two,
        "none of its 2 rows can be used; the first: the row has a `prompt` but no `completion`"
    );
}

#[test]
fn bare_lists_of_messages_are_conversations() {
    let line = |number: usize| {
        format!(
            "[{{\"role\": \"user\", \"content\": \"Knock {number}.\"}}, {{\"role\": \"assistant\", \"content\": \"Come in.\"}}]"
        )
    };
    let row = |number: usize| json!({"messages": [{"role": "user", "content": format!("Knock {number}.")}, {"role": "assistant", "content": "Come in."}]});
    assert_read(
        &[line(1), line(2)].join("\n"),
        &[row(1), row(2)],
        "A bare list of messages was read as the field \"messages\" in 2 rows",
    );
    assert_read(
        &format!("[{},\n{}]", line(1), line(2)),
        &[row(1), row(2)],
        "bare list",
    );
    assert_read(
        "[{'from': 'human', 'value': 'q'}, {'from': 'gpt', 'value': 'a'}]\n[{'from': 'human', 'value': 'r'}]",
        &[
            json!({"messages": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
            json!({"messages": [{"from": "human", "value": "r"}]}),
        ],
        "bare list",
    );
}

#[test]
fn json_inside_a_string_is_unpacked() {
    let rows = [pair("p", "c \"d\""), pair("q", "e")];
    let lines: Vec<String> = rows
        .iter()
        .map(|row| Value::String(row.to_string()).to_string())
        .collect();
    assert_read(
        &lines.join("\n"),
        &rows,
        "JSON inside a string was unpacked in 2 rows (the first in line 1).",
    );
    assert_read(
        &format!("[{}]", lines.join(",")),
        &rows,
        "unpacked in 2 rows",
    );
    let whole = Value::String(json!(rows).to_string()).to_string();
    assert_read(&whole, &rows, "the file is one string");
    let of_lines = Value::String(format!("{}\n{}\n", rows[0], rows[1])).to_string();
    assert_read(&of_lines, &rows, "the file is one string");
}

#[test]
fn columns_are_turned_into_rows() {
    let rows = [
        pair("Ask one?", "Answer, one."),
        pair("Ask [two]?", "Answer two."),
    ];
    for text in [
        "{\n \"prompt\": [\n  \"Ask one?\",\n  \"Ask [two]?\"\n ],\n \"completion\": [\n  \"Answer, one.\",\n  \"Answer two.\"\n ]\n}",
        "{'prompt': ['Ask one?', 'Ask [two]?'], 'completion': ['Answer, one.', 'Answer two.']}",
        "{\"columns\":[\"prompt\",\"completion\"],\"index\":[0,1],\"data\":[[\"Ask one?\",\"Answer, one.\"],[\"Ask [two]?\",\"Answer two.\"]]}",
        "{\"prompt\":{\"0\":\"Ask one?\",\"1\":\"Ask [two]?\"},\"completion\":{\"0\":\"Answer, one.\",\"1\":\"Answer two.\"}}",
        "{\"schema\":{\"fields\":[{\"name\":\"prompt\",\"type\":\"string\"}]},\"data\":[{\"prompt\":\"Ask one?\",\"completion\":\"Answer, one.\"},{\"prompt\":\"Ask [two]?\",\"completion\":\"Answer two.\"}]}",
    ] {
        let records = read_one("rows.json", text).unwrap();
        assert_eq!(records.values(), rows.iter().collect::<Vec<_>>(), "{text}");
        records.assert_faults(&[]);
    }
    let nested = "{\"id\": [1, 2], \"messages\": [[{\"role\": \"user\", \"content\": \"q\"}], []], \"meta\": [{\"a\": NaN}, {}]}";
    let records = read_one("rows.json", nested).unwrap();
    let expected = [
        json!({"id": 1, "messages": [{"role": "user", "content": "q"}], "meta": {"a": null}}),
        json!({"id": 2, "messages": [], "meta": {}}),
    ];
    assert_eq!(records.values(), expected.iter().collect::<Vec<_>>());
    // One row with lists of messages is one row.
    let one = read_one("rows.json", "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}").unwrap();
    assert_eq!(one.rows.len(), 1);
    let large: Vec<String> = (0..150_000).map(|row| format!("\"{row}\"")).collect();
    let records = read_one("rows.json", format!("{{\"text\": [{}]}}", large.join(","))).unwrap();
    assert_eq!(records.field("text")[149_999], "149999");
    let cut = read_one(
        "rows.json",
        "{\"prompt\": [\"a\", \"b\"],\n \"completion\": [\"c\"",
    )
    .unwrap();
    cut.assert_faults(&[(1, 1, "the file ends inside this table")]);
}

#[test]
fn marks_nuls_and_separators_are_cleaned() {
    // Three files put one after the other, the first without a line break at its end.
    let text = "\u{feff}{\"text\": \"a\"}\u{feff}{\"text\": \"b\"}\n\u{feff}{\"text\": \"c\"}\n";
    assert_read(
        text,
        &[
            json!({"text": "a"}),
            json!({"text": "b"}),
            json!({"text": "c"}),
        ],
        "2 byte-order marks in the middle of the text were removed; the first in line 1, column 14.",
    );
    let arrays = read_one(
        "rows.json",
        "\u{feff}[{\"text\": \"a\"}]\n\u{feff}[{\"text\": \"b\"}]",
    )
    .unwrap();
    assert_eq!(arrays.field("text"), ["a", "b"]);
    let csv = read_one(
        "rows.csv",
        "\u{feff}text,label\na,x\n\u{feff}text,label\nb,y\n",
    )
    .unwrap();
    assert_eq!(csv.field("text"), ["a", "b"]);
    assert!(
        csv.notes
            .iter()
            .any(|(_, note)| note == "1 row that only repeats the column names was skipped.")
    );

    assert_read(
        "{\"text\": \"a\0b\"}\n{\"text\": \"c\"}",
        &[json!({"text": "ab"}), json!({"text": "c"})],
        "A NUL character in the middle of the text was removed, in line 1, column 12.",
    );
    let csv = read_one(
        "rows.csv",
        "prompt,completion\nFirst call?,First reply.\nSecond\0 call?,Second reply.\n",
    )
    .unwrap();
    assert_eq!(csv.field("prompt"), ["First call?", "Second call?"]);
    assert!(
        csv.notes[0].1.contains("in line 3, column 7"),
        "{:?}",
        csv.notes
    );
    let escaped = read("{\"text\": \"a\\u0000b\"}");
    assert_eq!(escaped.field("text"), ["ab"]);

    assert_read(
        "{\"text\": \"one\u{2028}two\\u2029three\"}",
        &[json!({"text": "one\ntwo\nthree"})],
        "2 Unicode line separators (U+2028 or U+2029) became line breaks; the first in the row of line 1.",
    );
    let csv = read_one("rows.csv", "text,label\none\u{2028}two,x\nthree,y\n").unwrap();
    assert_eq!(csv.field("text"), ["one\ntwo", "three"]);
}

/// Conversations in a table that pandas saved: as lists, and as arrays of NumPy, which have no commas.
#[test]
fn conversations_that_python_printed_into_cells_are_read() {
    let cells = [
        "[{'role': 'user', 'content': \"What's crate 1?\"}, {'role': 'assistant', 'content': \"It's 1 dozen.\"}]",
        "[{'content': \"What's crate 1?\", 'role': 'user'}\n {'content': \"It's 1 dozen.\", 'role': 'assistant'}]",
        "[{'from': 'human', 'value': \"What's crate 1?\", 'ok': None}, {'from': 'gpt', 'value': 'It\\'s 1 dozen.', 'ok': True},]",
    ];
    for cell in cells {
        let csv = format!(
            "id,messages\n1,\"{}\"\n2,\"{}\"\n",
            cell.replace('"', "\"\""),
            cell.replace('"', "\"\"")
        );
        let reading = read_files(&[("rows.csv", csv.as_bytes())], &ReadSpec::default()).unwrap();
        let summary = &reading.dataset.summary;
        assert_eq!(
            (summary.num_rows, summary.num_usable_rows),
            (2, 2),
            "{cell}"
        );
        assert_eq!(summary.shapes[0].0, RowShape::Messages, "{cell}");
        assert_eq!(summary.first_rows[0].prompt, "What's crate 1?");
        assert_eq!(summary.first_rows[0].completion, "It's 1 dozen.");
    }
}

/// What is read as records becomes rows of the right kind.
#[test]
fn odd_files_become_usable_datasets() {
    for (name, text, num_rows, shape) in [
        (
            "lists.jsonl",
            "[{\"role\": \"user\", \"content\": \"Knock.\"}, {\"role\": \"assistant\", \"content\": \"Come in.\"}]\n[{\"role\": \"user\", \"content\": \"Knock 2.\"}, {\"role\": \"assistant\", \"content\": \"Come in.\"}]\n",
            2,
            RowShape::Messages,
        ),
        (
            "columns.json",
            "{\"prompt\": [\"a?\", \"b?\", \"c?\"], \"completion\": [\"x\", \"y\", \"z\"]}",
            3,
            RowShape::PromptCompletion,
        ),
        (
            "nan.jsonl",
            "{\"prompt\": \"a?\", \"completion\": \"x\", \"score\": NaN}\n{\"prompt\": \"b?\", \"completion\": \"y\", \"score\": Infinity}\n",
            2,
            RowShape::PromptCompletion,
        ),
        (
            "nul.csv",
            "prompt,completion\na?,x\nb\0?,y\n",
            2,
            RowShape::PromptCompletion,
        ),
        (
            "quote.tsv",
            "prompt\tcompletion\n\"a?\tx\nb \"c\"?\ty\n",
            2,
            RowShape::PromptCompletion,
        ),
    ] {
        let reading = read_files(&[(name, text.as_bytes())], &ReadSpec::default()).unwrap();
        let summary = &reading.dataset.summary;
        assert_eq!(
            (summary.num_rows, summary.num_usable_rows),
            (num_rows, num_rows),
            "{name}"
        );
        assert_eq!(summary.shapes, [(shape, num_rows)], "{name}");
    }
}
