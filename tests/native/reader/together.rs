//! What many rows and files mean together: splits by name, rows of one message, columns without telling names, words for
//! missing values, files that cannot be read.

use formats::row::Example;
use protocol::{DatasetSummary, FindingKind, Mapping, ReadSpec, RowShape, Side};
use reader::{
    DatasetError, Input,
    dataset::{Observer, read_dataset},
};

use crate::{
    dataset::{Reading, read_files},
    packing::zip,
};

fn read(files: &[(&str, &[u8])]) -> Reading {
    read_files(files, &ReadSpec::default()).unwrap()
}

fn read_one(name: &str, text: &str) -> Reading {
    read(&[(name, text.as_bytes())])
}

/// The messages of each row, as `role: content`.
fn conversations(reading: &Reading) -> Vec<Vec<String>> {
    let messages = |example: &Example| match example {
        Example::Conversation { messages, .. } => messages
            .iter()
            .map(|message| format!("{}: {}", message.role, message.content))
            .collect(),
        other => panic!("{other:?} is no conversation"),
    };
    let rows = reading.rows.iter();
    rows.map(|stored| messages(&stored.row.example)).collect()
}

fn splits(reading: &Reading) -> Vec<(&str, Option<Side>)> {
    let files = reading.summary().files.iter();
    files.map(|file| (file.name.as_str(), file.split)).collect()
}

/// What a reading told before it failed.
#[derive(Default)]
struct Last(Option<DatasetSummary>);

impl Observer for Last {
    fn progress(&mut self, _: u64, _: u64) {}
    fn preview(&mut self, dataset: DatasetSummary) {
        self.0 = Some(dataset);
    }
    fn rows(&mut self, _: Vec<u8>) {}
}

/// The reason, and what was told before.
pub fn failed(files: &[(&str, &[u8])]) -> (DatasetError, Option<DatasetSummary>) {
    let mut inputs: Vec<Input> = crate::records::inputs(files);
    let mut last = Last::default();
    let read = read_dataset(&mut inputs, &ReadSpec::default(), &mut last);
    (read.err().unwrap(), last.0)
}

#[test]
fn rows_of_one_message_become_conversations() {
    let reading = read_one(
        "rows.csv",
        "conversation_id,role,content\n1,user,Where is the key?\n1,assistant,Under the mat.\n\
         2,user,Where is the mat?\n2,assistant,At the door.\n",
    );
    assert_eq!(
        conversations(&reading),
        [
            ["user: Where is the key?", "assistant: Under the mat."],
            ["user: Where is the mat?", "assistant: At the door."],
        ]
    );
    let summary = reading.summary();
    assert_eq!((summary.num_rows, summary.num_usable_rows), (2, 2));
    assert_eq!(summary.files[0].num_rows, 2);
    assert_eq!(summary.shapes, [(RowShape::Messages, 2)]);
    let gathered = summary.gathered.as_ref().unwrap();
    assert_eq!((gathered.num_messages, gathered.num_conversations), (4, 2));
    assert_eq!(gathered.conversation, "conversation_id");
    assert_eq!(gathered.order, None);
    let lines: Vec<_> = reading.rows.iter().map(|row| row.facts.line).collect();
    assert_eq!(lines, [Some(2), Some(4)]);
    assert!(matches!(summary.mapping, Some(Mapping::MessageRows { .. })));
}

/// Apart from each other, in the wrong order, over two files, with tickets' own roles.
#[test]
fn messages_are_put_in_order_wherever_they_stand() {
    let one = concat!(
        "{\"ticket_id\": \"b\", \"sender\": \"agent\", \"message\": \"Have you tried the other?\", \"turn\": 10}\n",
        "{\"ticket_id\": \"a\", \"sender\": \"customer\", \"message\": \"Hello\", \"turn\": 1}\n",
        "{\"ticket_id\": \"b\", \"sender\": \"customer\", \"message\": \"It is broken\", \"turn\": 9}\n",
    );
    let two = concat!(
        "{\"ticket_id\": \"a\", \"sender\": \"agent\", \"message\": \"Good day\", \"turn\": 2}\n",
        "{\"ticket_id\": \"b\", \"sender\": \"customer\", \"message\": \"Yes\", \"turn\": 11}\n",
    );
    let reading = read(&[("one.jsonl", one.as_bytes()), ("two.jsonl", two.as_bytes())]);
    assert_eq!(
        conversations(&reading),
        [
            vec![
                "user: It is broken",
                "assistant: Have you tried the other?",
                "user: Yes"
            ],
            vec!["user: Hello", "assistant: Good day"],
        ]
    );
    let summary = reading.summary();
    assert_eq!(
        summary.gathered.as_ref().unwrap().order.as_deref(),
        Some("turn")
    );

    // Dates order as well; without a sound one for each message, the file does.
    let dated = "thread_id,role,text,created_at\n7,assistant,later,2024-05-02T10:00:00Z\n7,user,sooner,2024-05-02T09:59:00Z\n\
        8,user,first,2024-05-03\n8,assistant,second,\n";
    assert_eq!(
        conversations(&read_one("dated.csv", dated)),
        [
            ["user: sooner", "assistant: later"],
            ["user: first", "assistant: second"],
        ]
    );
}

#[test]
fn a_message_that_cannot_be_used_is_told_by_its_line() {
    let reading = read_one(
        "rows.csv",
        "conversation_id,role,content\n1,user,q\n1,assistant,a\n2,user,q\n2,narrator,n\n2,assistant,a\n,user,lost\n3,user,alone\n",
    );
    assert_eq!(conversations(&reading), [["user: q", "assistant: a"]]);
    let summary = reading.summary();
    let told: Vec<_> = summary
        .problems
        .iter()
        .map(|problem| (problem.line, problem.what.as_str()))
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0].0, Some(7));
    assert!(told[0].1.contains("`conversation_id` is empty"), "{told:?}");
    assert_eq!(told[1].0, Some(5));
    assert!(told[1].1.contains("\"narrator\""), "{told:?}");
    assert_eq!(told[2].0, Some(8));
    assert_eq!((summary.num_rows, summary.num_problems), (4, 3));
}

/// Nothing says which message belongs to which: each alone would be learned as a text.
#[test]
fn messages_without_a_conversation_are_refused() {
    let lone =
        "{\"role\": \"user\", \"content\": \"q\"}\n{\"role\": \"assistant\", \"content\": \"a\"}\n";
    let (error, _) = failed(&[("rows.jsonl", lone.as_bytes())]);
    assert!(
        error
            .to_string()
            .contains("no column says which conversation"),
        "{error}"
    );
    let tree = "{\"message_id\": \"1\", \"parent_id\": null, \"role\": \"prompter\", \"text\": \"q\"}\n\
        {\"message_id\": \"2\", \"parent_id\": \"1\", \"role\": \"assistant\", \"text\": \"a\"}\n";
    let (error, _) = failed(&[("tree.jsonl", tree.as_bytes())]);
    assert!(
        error
            .to_string()
            .contains("one message of a tree (`parent_id`)"),
        "{error}"
    );
}

/// A pair next to an id and a role stays a pair.
#[test]
fn other_rows_with_a_role_are_no_messages() {
    let reading = read_one(
        "rows.jsonl",
        "{\"session_id\": 1, \"role\": \"user\", \"prompt\": \"p\", \"completion\": \"c\", \"text\": \"t\"}\n",
    );
    assert_eq!(reading.targets(), [(0, "c".to_owned())]);
    assert_eq!(reading.summary().gathered, None);
}

const PAIR: &[u8] = b"{\"prompt\": \"p\", \"completion\": \"c\"}\n";

#[test]
fn files_are_the_splits_that_their_names_say() {
    use Side::{Test, Train, Validation};
    // Made on a Mac.
    let archive = zip(
        &[
            ("__MACOSX/._train.jsonl", b"\0\x05\x16\x07"),
            (".DS_Store", b"\0\0\0\x01Bud1"),
            ("test.jsonl", PAIR),
            ("train.jsonl", PAIR),
            ("valid.jsonl", PAIR),
        ],
        zip::CompressionMethod::Deflated,
    );
    assert_eq!(
        splits(&read(&[("data.zip", &archive)])),
        [
            ("data.zip/test.jsonl", Some(Test)),
            ("data.zip/train.jsonl", Some(Train)),
            ("data.zip/valid.jsonl", Some(Validation)),
        ]
    );
    assert_eq!(
        splits(&read(&[
            ("train-00000-of-00002.jsonl", PAIR),
            ("train-00001-of-00002.jsonl", PAIR),
            ("dev-00000-of-00001.jsonl", PAIR),
        ])),
        [
            ("train-00000-of-00002.jsonl", Some(Train)),
            ("train-00001-of-00002.jsonl", Some(Train)),
            ("dev-00000-of-00001.jsonl", Some(Validation)),
        ]
    );
    let folders = zip(
        &[("held_out/rows.jsonl", PAIR), ("learn/rows.jsonl", PAIR)],
        zip::CompressionMethod::Stored,
    );
    assert_eq!(
        splits(&read(&[("all.zip", &folders)])),
        [
            ("all.zip/held_out/rows.jsonl", Some(Test)),
            ("all.zip/learn/rows.jsonl", None),
        ]
    );
    // Alone, a test file is all that there is to train on.
    let alone = read(&[("test.jsonl", PAIR)]);
    assert_eq!(splits(&alone), [("test.jsonl", None)]);
    assert!(
        alone.summary().notes[0].contains("the only file"),
        "{:?}",
        alone.summary().notes
    );
}

#[test]
fn the_same_conversation_id_in_another_split_is_another_conversation() {
    let train = b"chat_id,role,content\n1,user,q\n1,assistant,a\n";
    let test = b"chat_id,role,content\n1,user,r\n1,assistant,b\n";
    let reading = read(&[("train.csv", train), ("test.csv", test)]);
    assert_eq!(
        conversations(&reading),
        [["user: q", "assistant: a"], ["user: r", "assistant: b"]]
    );
    let files: Vec<_> = reading.rows.iter().map(|row| row.facts.file).collect();
    assert_eq!(files, [0, 1]);
}

#[test]
fn a_file_that_cannot_be_read_does_not_sink_the_others() {
    let reading = read(&[
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0"),
        ("rows.jsonl", PAIR),
        ("nothing.csv", b""),
    ]);
    assert_eq!(reading.targets(), [(0, "c".to_owned())]);
    let refused: Vec<_> = reading
        .summary()
        .refused_files
        .iter()
        .map(|refused| (refused.file.as_str(), refused.what.as_str()))
        .collect();
    assert_eq!(
        refused,
        [
            ("picture.png", "picture.png is a PNG picture, not a dataset"),
            ("nothing.csv", "nothing.csv is empty"),
        ]
    );
    let (error, _) = failed(&[
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0"),
        ("nothing.csv", b""),
    ]);
    let message = error.to_string();
    assert!(
        message.contains("none of the 2 files")
            && message.contains("PNG")
            && message.contains("nothing.csv is empty"),
        "{message}"
    );
}

#[test]
fn words_for_missing_values_are_found_where_a_text_belongs() {
    let csv = "prompt,completion\nq1,fine\nq2,nan\nNULL,a\nq4,nandu\nq5, N/A \nq6,none\n";
    let reading = read_one("rows.csv", csv);
    assert_eq!(reading.found(FindingKind::MissingValue), [1, 2, 4]);
    // Alpaca's input as pandas writes it.
    let alpaca = "{\"instruction\": \"i\", \"input\": \"nan\", \"output\": \"o\"}\n{\"instruction\": \"j\", \"input\": \"\", \"output\": \"o\"}\n";
    assert_eq!(
        read_one("rows.jsonl", alpaca).found(FindingKind::MissingValue),
        [0]
    );
    // A label may be called None; a database's \N is no label.
    let labels = "text,label\na,None\nb,\\N\nc,spam\nd,None\n";
    assert_eq!(
        read_one("rows.csv", labels).found(FindingKind::MissingValue),
        [1]
    );
    let finding = &reading.summary().findings[0];
    assert!(finding.can_leave_out);
    assert!(
        finding.rows[0].what.contains("`completion` is “nan”"),
        "{finding:?}"
    );
}

#[test]
fn columns_whose_names_say_nothing_are_shown_and_asked_about() {
    let spam = "v1,v2\nham,\"Shall we meet at the quay, then\"\nspam,Claim a prize today\nham,Fine by me\nspam,You were picked\n";
    let (error, told) = failed(&[("spam.csv", spam.as_bytes())]);
    assert!(
        matches!(error, DatasetError::NoUsableRow { num_rows: 4, .. }),
        "{error}"
    );
    let told = told.unwrap();
    let suggestion = Mapping::Classification {
        text: "v2".to_owned(),
        label: "v1".to_owned(),
    };
    assert_eq!(told.suggestion.as_ref(), Some(&suggestion));
    assert_eq!(
        told.first_records[0],
        [
            ("v1".to_owned(), "ham".to_owned()),
            (
                "v2".to_owned(),
                "Shall we meet at the quay, then".to_owned()
            ),
        ]
    );
    assert_eq!(told.first_records.len(), 4);
    // The one click.
    let spec = ReadSpec {
        mapping: suggestion,
        ..ReadSpec::default()
    };
    let reading = read_files(&[("spam.csv", spam.as_bytes())], &spec).unwrap();
    assert_eq!(
        reading.summary().labels,
        [("ham".to_owned(), 2), ("spam".to_owned(), 2)]
    );
    assert_eq!(reading.summary().suggestion, None);
}

/// What a message has besides role and text comes along: calls of tools, and their answers.
#[test]
fn tools_of_gathered_messages_come_along() {
    let rows = concat!(
        "{\"session_id\": 5, \"role\": \"user\", \"content\": \"Weather?\"}\n",
        "{\"session_id\": 5, \"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"type\": \"function\",",
        " \"function\": {\"name\": \"weather\", \"arguments\": \"{}\"}}]}\n",
        "{\"session_id\": 5, \"role\": \"tool\", \"content\": \"rain\", \"name\": \"weather\"}\n",
        "{\"session_id\": 5, \"role\": \"assistant\", \"content\": \"It rains.\", \"tool_calls\": []}\n",
    );
    let reading = read_one("rows.jsonl", rows);
    let Example::Conversation { messages, .. } = &reading.rows[0].row.example else {
        panic!("a conversation");
    };
    assert_eq!(messages.len(), 4);
    assert!(messages[1].tool_calls[0].contains("weather"));
    assert_eq!(messages[2].role, "tool");
    assert_eq!(messages[3].content, "It rains.");
}

#[test]
fn a_column_that_names_splits_is_followed() {
    let text =
        "question,answer,split\nq1,a1,train\nq2,a2,test\nq3,a3,val\nq4,a4,train\nq5,a5,test\n";
    let reading = read_one("rows.csv", text);
    assert_eq!(
        splits(&reading),
        [
            ("rows.csv", None),
            ("rows.csv/test", Some(Side::Test)),
            ("rows.csv/validation", Some(Side::Validation)),
        ]
    );
    let files: Vec<usize> = reading.rows.iter().map(|row| row.facts.file).collect();
    assert_eq!(files, [0, 1, 2, 0, 1]);
    let counts: Vec<usize> = reading
        .summary()
        .files
        .iter()
        .map(|file| file.num_rows)
        .collect();
    assert_eq!(counts, [2, 2, 1]);
    assert_eq!(
        reading.summary().notes,
        ["rows.csv: The column \"split\" says which split each row belongs to."]
    );
    // Kaggle's words, with a second file; messages of one conversation.
    let one = "text,label,Usage\nx y,pos,Training\nz w,neg,PublicTest\nu v,pos,PrivateTest\n";
    let two = "{\"conversation_id\": 1, \"role\": \"user\", \"content\": \"q\", \"split\": \"test\"}\n\
        {\"conversation_id\": 1, \"role\": \"assistant\", \"content\": \"a\", \"split\": \"test\"}\n";
    let reading = read(&[("one.csv", one.as_bytes()), ("two.jsonl", two.as_bytes())]);
    assert_eq!(
        splits(&reading),
        [
            ("one.csv", None),
            ("one.csv/test", Some(Side::Test)),
            ("two.jsonl", None),
            ("two.jsonl/test", Some(Side::Test)),
        ]
    );
    let files: Vec<usize> = reading.rows.iter().map(|row| row.facts.file).collect();
    assert_eq!(files, [0, 1, 1, 3]);
    // A column of that name that says other things is followed by nobody; rows of one split alone are trained on.
    let reading = read_one(
        "rows.csv",
        "question,answer,set\nq1,a1,Testing tips\nq2,a2,train tickets\n",
    );
    assert_eq!(splits(&reading), [("rows.csv", None)]);
    let reading = read_one(
        "rows.csv",
        "question,answer,split\nq1,a1,test\nq2,a2,test\n",
    );
    assert!(
        reading
            .summary()
            .files
            .iter()
            .all(|file| file.split.is_none())
    );
}

#[test]
fn a_file_that_is_one_list_of_messages_is_one_conversation() {
    let talk = r#"[
  {"role": "system", "content": "S"},
  {"role": "user", "content": "q"},
  {"role": "assistant", "content": "a", "timestamp": "2024-05-01"}
]"#;
    let other = r#"[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]"#;
    let reading = read_one("talk.json", talk);
    assert_eq!(
        conversations(&reading),
        [["system: S", "user: q", "assistant: a"]]
    );
    assert_eq!(
        reading.summary().notes,
        [
            "talk.json: A bare list of messages was read as the field \"messages\" in 1 row (line 1)."
        ]
    );
    assert_eq!(
        conversations(&read_one("talk.json", other)),
        [["user: q", "assistant: a"]]
    );
    // Longer than what a file's kind is told by.
    let long = format!(
        r#"[{{"role": "user", "content": "{}"}}, {{"role": "assistant", "content": "{}"}}]"#,
        "q".repeat(40_000),
        "a".repeat(400_000)
    );
    assert_eq!(conversations(&read_one("talk.json", &long))[0].len(), 2);
    // Several conversations, of which nothing says where one ends, and messages that say which one is theirs.
    let twice = r#"[{"role": "system", "content": "S"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
        {"role": "system", "content": "S"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]"#;
    assert_eq!(
        failed(&[("talk.json", twice.as_bytes())])
            .1
            .unwrap()
            .num_problems,
        6
    );
    let named = r#"[{"chat_id": 1, "role": "user", "content": "q"}, {"chat_id": 1, "role": "assistant", "content": "a"},
        {"chat_id": 2, "role": "user", "content": "q"}, {"chat_id": 2, "role": "assistant", "content": "a"}]"#;
    assert_eq!(conversations(&read_one("talk.json", named)).len(), 2);
}

#[test]
fn arrays_named_as_splits_are_parts_and_other_arrays_are_told() {
    let row = |name: &str| {
        format!(
            r#"[{{"prompt": "{name}", "completion": "a {name}"}}, {{"prompt": "{name} 2", "completion": "b {name}"}}]"#
        )
    };
    let text = format!(
        r#"{{"version": "1", "train": {}, "validation": {}, "notes": [{{"by": "me"}}], "test": {}}}"#,
        row("one"),
        row("two"),
        row("three")
    );
    let reading = read_one("set.json", &text);
    assert_eq!(
        splits(&reading),
        [
            ("set.json/train", Some(Side::Train)),
            ("set.json/validation", Some(Side::Validation)),
            ("set.json/test", Some(Side::Test)),
        ]
    );
    let files: Vec<usize> = reading.rows.iter().map(|row| row.facts.file).collect();
    assert_eq!(files, [0, 0, 1, 1, 2, 2]);
    assert_eq!(
        reading.summary().notes,
        ["set.json: Its array \"notes\" is not read."]
    );
    let text = format!(
        r#"{{"data": {}, "more": {}, "test": {}}}"#,
        row("one"),
        row("two"),
        row("three")
    );
    let reading = read_one("set.json", &text);
    assert_eq!(reading.rows.len(), 2);
    assert_eq!(
        reading.summary().notes,
        ["set.json: Its arrays \"more\" and \"test\" are not read."]
    );
}
