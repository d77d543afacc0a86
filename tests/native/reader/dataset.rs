//! Whole readings: which rows come out, what they were recognized as, what is refused and where, what is found.

use std::io::Cursor;

use formats::{
    row::Example,
    row_file::{RowIndex, StoredRow},
};
use protocol::{
    DatasetSummary, Failure, FailureKind, FindingKind, Mapping, ReadSpec, RowFilter, RowShape,
    TrainOn,
};
use reader::{
    DatasetError, Input,
    dataset::{Observer, ReadDataset, read_dataset},
};

/// What a reading gave: the dataset, its rows, and the summary that came first.
pub struct Reading {
    pub dataset: ReadDataset,
    pub rows: Vec<StoredRow>,
    pub preview: Option<DatasetSummary>,
}

#[derive(Default)]
struct Watcher {
    done: u64,
    preview: Option<DatasetSummary>,
    file: Vec<u8>,
}

impl Observer for Watcher {
    fn progress(&mut self, done: u64, total: u64) {
        assert!(self.done <= done && done <= total, "{done} of {total}");
        self.done = done;
    }

    fn preview(&mut self, dataset: DatasetSummary) {
        assert!(
            self.preview.replace(dataset).is_none(),
            "there is one preview"
        );
    }

    fn rows(&mut self, part: Vec<u8>) {
        self.file.extend(part);
    }
}

pub fn read_files(files: &[(&str, &[u8])], spec: &ReadSpec) -> Result<Reading, DatasetError> {
    let mut inputs: Vec<Input> = files
        .iter()
        .map(|(name, bytes)| Input {
            name: (*name).to_owned(),
            num_bytes: bytes.len() as u64,
            source: Box::new(Cursor::new(bytes.to_vec())),
        })
        .collect();
    let mut watcher = Watcher::default();
    let dataset = read_dataset(&mut inputs, spec, &mut watcher)?;
    let file = watcher.file;
    let num_bytes = file.len() as u64;
    let part = |range: std::ops::Range<u64>| &file[range.start as usize..range.end as usize];
    let trailer = part(RowIndex::trailer(num_bytes).unwrap());
    let place = RowIndex::range(trailer, num_bytes).unwrap();
    let index = RowIndex::parse(part(place.clone()), place.start).unwrap();
    assert_eq!(index, dataset.index);
    let all = 0..index.len();
    let rows = index.rows(all.clone(), part(index.bytes(all))).unwrap();
    Ok(Reading {
        dataset,
        rows,
        preview: watcher.preview,
    })
}

fn read_as(text: impl AsRef<[u8]>, mapping: Mapping) -> Result<Reading, DatasetError> {
    let spec = ReadSpec {
        mapping,
        ..ReadSpec::default()
    };
    read_files(&[("rows.jsonl", text.as_ref())], &spec)
}

fn read(text: impl AsRef<[u8]>) -> Result<Reading, DatasetError> {
    read_as(text, Mapping::Automatic)
}

impl Reading {
    pub fn summary(&self) -> &DatasetSummary {
        &self.dataset.summary
    }

    /// Row numbers and what is learned of each row.
    pub fn targets(&self) -> Vec<(usize, String)> {
        let target = |example: &Example| example.targets(TrainOn::AssistantTurns).join("|");
        self.rows
            .iter()
            .map(|stored| (stored.row.row, target(&stored.row.example)))
            .collect()
    }

    /// Row, line, column and a part of the reason of every problem.
    fn assert_problems(&self, expected: &[(usize, usize, usize, &str)]) {
        let problems = &self.summary().problems;
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, (row, line, column, what)) in problems.iter().zip(expected) {
            assert_eq!(problem.row, *row, "{problem:?}");
            assert_eq!(problem.line, Some(*line), "{problem:?}");
            assert_eq!(problem.column, Some(*column), "{problem:?}");
            assert!(problem.what.contains(what), "{problem:?}");
            assert!(!problem.remedy.is_empty());
        }
    }

    pub fn found(&self, kind: FindingKind) -> Vec<usize> {
        let findings = &self.summary().findings;
        let finding = findings.iter().find(|finding| finding.kind == kind);
        let rows = finding.map_or(&[][..], |finding| &finding.rows);
        let rows: Vec<usize> = rows.iter().map(|problem| problem.row).collect();
        let (selected, total) = self.dataset.select(0, 1000, RowFilter::Finding(kind));
        let selected: Vec<usize> = selected
            .into_iter()
            .map(|index| self.rows[index].row.row)
            .collect();
        assert_eq!((&selected, total), (&rows, rows.len()));
        rows
    }
}

#[test]
fn every_shape_is_read_row_by_row() {
    let reading = read(concat!(
        "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"},",
        " {\"role\": \"user\", \"content\": \"r\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n",
        "\n",
        "{\"prompt\": \"p\", \"completion\": \"c\", \"more\": 1}\r\n",
        "{\"text\": \"t\", \"messages\": null}\n",
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": \"y\"}],",
        " \"completion\": [{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"z\"}]}]}\n",
        "{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"gpt\", \"value\": \"s\"}]}\n",
        "{\"instruction\": \"Add\", \"input\": \"1 1\", \"output\": 2}\n",
        "{\"prompt\": \"p\", \"chosen\": \"good\", \"rejected\": \"bad\"}\n",
        "{\"text\": \"fine film\", \"label\": \"good\"}\n",
        "  {\"text\": \"t\"}",
    ))
    .unwrap();
    let expected = [
        (0, "a|b"),
        (1, "c"),
        (2, "t"),
        (3, "z"),
        (4, "s"),
        (5, "2"),
        (6, "good"),
        (7, "good"),
        (8, "t"),
    ];
    let expected = expected.map(|(row, text)| (row, text.to_owned()));
    assert_eq!(reading.targets(), expected);
    let summary = reading.summary();
    assert_eq!(
        (
            summary.num_rows,
            summary.num_usable_rows,
            summary.num_duplicates
        ),
        (9, 9, 1)
    );
    assert_eq!(
        summary.shapes,
        [
            (RowShape::PromptCompletion, 3),
            (RowShape::Messages, 2),
            (RowShape::Text, 2),
            (RowShape::Classification, 1),
            (RowShape::Preference, 1),
        ]
    );
    let first = &summary.first_rows[0];
    assert_eq!((first.prompt.as_str(), first.num_turns), ("r", 4));
    assert_eq!(reading.rows[6].facts.rejected.as_deref(), Some("bad"));
    assert_eq!(
        reading.rows[5].row.example,
        Example::Pair {
            prompt: "Add\n\n1 1".to_owned(),
            completion: "2".to_owned(),
        }
    );
    assert_eq!(reading.found(FindingKind::Duplicate), [8]);
}

#[test]
fn refused_rows_are_placed_and_counted() {
    let reading = read(concat!(
        "{\"text\": \"ok\"}\n",
        "{\"prompt\": [5], \"completion\": \"x\"}\n",
        "\n",
        "{\"text\": \"żółw\", oops}\n",
        "[1, 2]\n",
        "  {\"prompt\": \"a\"}\n",
        "{\"conversations\": []}\n",
        "{\"id\": 1, \"messages\": [{\"role\": \"narrator\", \"content\": \"a\"}]}\n",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n",
        "{}\n",
        "{\"prompt\": \"a\", \"completion\": \"cut o",
    ))
    .unwrap();
    reading.assert_problems(&[
        (1, 2, 17, "`prompt` is a list but `completion` is a string"),
        (2, 4, 18, "not valid JSON"),
        (3, 5, 1, "a list, not an object"),
        (4, 6, 4, "no `completion`"),
        (5, 7, 2, "an empty list"),
        (6, 8, 11, "the role \"narrator\""),
        (7, 9, 2, "nothing to learn"),
        (8, 10, 1, "no fields"),
        (9, 11, 36, "the file ends inside this row"),
    ]);
    let summary = reading.summary();
    assert_eq!((summary.num_rows, summary.num_problems), (10, 9));
}

#[test]
fn rows_are_numbered_through_the_files() {
    let files: [(&str, &[u8]); 2] = [
        ("one.jsonl", b"{\"text\": \"a\"}\nnonsense\n"),
        ("two.json", b"[{\"text\": \"b\"}, {\"text\": \"a\"}]"),
    ];
    let reading = read_files(&files, &ReadSpec::default()).unwrap();
    let expected = [(0, "a"), (2, "b"), (3, "a")].map(|(row, text)| (row, text.to_owned()));
    assert_eq!(reading.targets(), expected);
    let summary = reading.summary();
    assert_eq!(summary.problems[0].file, "one.jsonl");
    assert_eq!(summary.num_duplicates, 1);
    let rows: Vec<_> = summary
        .files
        .iter()
        .map(|file| (file.name.as_str(), file.num_rows))
        .collect();
    assert_eq!(rows, [("one.jsonl", 2), ("two.json", 2)]);
    assert_eq!(
        summary.sha256,
        // sha256sum of both files' bytes, one after the other
        "2118cc719cd0e9a1dbd7f7ec9e99cea1573724a58eac484f21705170335fce50"
    );
}

#[test]
fn a_mapping_by_hand_wins_over_names() {
    let rows = concat!(
        "{\"q\": {\"text\": \"2 + 2\"}, \"a\": [4, 5], \"text\": \"never\", \"topic\": \"sums\"}\n",
        "{\"q\": {}, \"a\": [1], \"text\": \"never\"}\n",
    );
    let pair = Mapping::PromptCompletion {
        system: Some("topic".to_owned()),
        history: None,
        prompt: "q.text".to_owned(),
        input: None,
        completion: "a[1]".to_owned(),
        verdict: None,
    };
    let reading = read_as(rows, pair.clone()).unwrap();
    assert_eq!(reading.targets(), [(0, "5".to_owned())]);
    reading.assert_problems(&[(1, 2, 2, "no `q.text`")]);
    assert_eq!(reading.summary().mapping, Some(pair));

    let template = |prompt: &str, completion: &str| Mapping::Template {
        prompt: prompt.to_owned(),
        completion: completion.to_owned(),
    };
    let reading = read_as(rows, template("{q.text} {{sure}}? ({topic})", "{a[0]}!")).unwrap();
    assert_eq!(
        reading.rows[0].row.example,
        Example::Pair {
            prompt: "2 + 2 {sure}? (sums)".to_owned(),
            completion: "4!".to_owned()
        }
    );
    reading.assert_problems(&[(1, 2, 1, "uses `topic`")]);
    let reading = read_as(rows, template(" ", "Q: {q.text}\nA: {a.0}")).unwrap();
    assert_eq!(reading.targets()[1].1, "Q: \nA: 1");
    for broken in ["{q", "q}", "{{a}"] {
        let error = read_as(rows, template("", broken)).err();
        assert!(
            matches!(error, Some(DatasetError::NoUsableRow { .. })),
            "{broken}: {error:?}"
        );
    }
}

#[test]
fn columns_are_offered_with_what_is_in_them() {
    let reading = read(concat!(
        "{\"question\": \"q\", \"meta\": {\"source\": {\"page\": 4}}, \"answer\": \"a\", \"turns\": null}\n",
        "{\"question\": \"q2\", \"meta\": {}, \"answer\": \"\", \"turns\": [{\"role\": \"user\"}]}\n",
    ))
    .unwrap();
    let columns: Vec<_> = reading
        .summary()
        .columns
        .iter()
        .map(|column| {
            (
                column.path.as_str(),
                column.kind.as_str(),
                column.num_filled,
            )
        })
        .collect();
    assert_eq!(
        columns,
        [
            ("question", "text", 2),
            ("meta.source.page", "a number", 1),
            ("answer", "text", 1),
            ("turns", "a list of messages", 1),
            ("meta", "an object", 1),
        ]
    );
    // Items where every row has them; of conversations none.
    let reading = read(concat!(
        "{\"bar\": [\"x\", 1], \"answers\": {\"text\": [\"a\"]}, \"refs\": [{\"url\": \"u\"}], \"messages\":",
        " [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}], \"ids\": [1,2,3,4,5,6,7,8,9]}\n",
        "{\"bar\": [\"y\"], \"answers\": {\"text\": [\"b\"]}, \"refs\": [{\"url\": \"v\"}], \"messages\":",
        " [{\"role\": \"user\", \"content\": \"r\"}, {\"role\": \"assistant\", \"content\": \"b\"}], \"ids\": [1,2,3,4,5,6,7,8,9]}\n",
    ))
    .unwrap();
    let paths = reading.summary().columns.iter();
    let paths: Vec<_> = paths.map(|column| column.path.as_str()).collect();
    let expected = "bar bar[0] answers.text answers.text[0] refs refs[0].url messages ids";
    assert_eq!(paths.join(" "), expected);
    assert_eq!(reading.summary().columns[1].example, "x");
}

#[test]
fn tables_and_conversations_in_their_cells_are_read() {
    let csv = concat!(
        "id;messages;tools\n",
        "1;\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"q\"\"}, {\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"a\"\"}]\";\n",
        "2;nonsense;\n",
    );
    let reading = read(csv).unwrap();
    assert_eq!(reading.targets(), [(0, "a".to_owned())]);
    let csv = "Question,Answer,Group\nq1,a1,x\nq2,a2,y\nq3,a3,x\n";
    let spec = ReadSpec {
        group_by: Some("Group".to_owned()),
        ..ReadSpec::default()
    };
    let reading = read_files(&[("table.csv", csv.as_bytes())], &spec).unwrap();
    let groups: Vec<_> = reading
        .rows
        .iter()
        .map(|stored| stored.facts.group)
        .collect();
    assert!(groups[0].is_some() && groups[0] == groups[2] && groups[0] != groups[1]);
    let lines: Vec<_> = reading
        .rows
        .iter()
        .map(|stored| stored.facts.line)
        .collect();
    assert_eq!(lines, [Some(2), Some(3), Some(4)]);
}

#[test]
fn tools_and_transcripts_are_kept() {
    let reading = read(concat!(
        "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}], \"messages\": [{\"role\": \"user\", \"content\": \"q\"},",
        " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"z\": 1, \"a\": 2}}}]},",
        " {\"role\": \"tool\", \"content\": {\"ok\": true}, \"tool_call_id\": \"1\"}, {\"role\": \"assistant\", \"content\": \"done\"}]}\n",
        "{\"chosen\": \"\\n\\nHuman: hi\\n\\nAssistant: hello\", \"rejected\": \"\\n\\nHuman: hi\\n\\nAssistant: go\"}\n",
        "{\"system\": \"Be kind\", \"conversation\": [\"hi\", \"hello\"]}\n",
    ))
    .unwrap();
    let Example::Conversation {
        messages, tools, ..
    } = &reading.rows[0].row.example
    else {
        panic!("{:?}", reading.rows[0]);
    };
    assert_eq!(tools.len(), 1);
    // In the order of the file.
    assert!(
        messages[1].tool_calls[0].contains("{\"z\":1,\"a\":2}"),
        "{messages:?}"
    );
    assert_eq!(messages[2].content, "{\"ok\":true}");
    let Example::Conversation {
        messages,
        first_trained,
        ..
    } = &reading.rows[1].row.example
    else {
        panic!("{:?}", reading.rows[1]);
    };
    assert_eq!((messages[1].content.as_str(), *first_trained), ("hello", 1));
    let Example::Conversation { messages, .. } = &reading.rows[2].row.example else {
        panic!("{:?}", reading.rows[2]);
    };
    assert_eq!(
        messages
            .iter()
            .map(|message| message.role.as_str())
            .collect::<Vec<_>>(),
        ["system", "user", "assistant"]
    );
}

#[test]
fn repetitions_secrets_and_broken_texts_are_found() {
    let key = ["AKIA", "ABCDEFGH12345678"].concat();
    let address = ["someone", "mail.test.org"].join("@");
    let rows = [
        serde_json::json!({"prompt": "How do I reset it?", "completion": "Press it."}),
        serde_json::json!({"prompt": "how do I reset it", "completion": "press it!"}),
        serde_json::json!({"prompt": "key?", "completion": key}),
        serde_json::json!({"prompt": "write to", "completion": address}),
        serde_json::json!({"prompt": "cafÃ©", "completion": "c"}),
        serde_json::json!({"prompt": "empty", "completion": " "}),
        serde_json::json!({"prompt": "key?", "completion": key}),
    ];
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let reading = read(text).unwrap();
    for (kind, expected) in [
        (FindingKind::Duplicate, &[6][..]),
        (FindingKind::NearDuplicate, &[1]),
        (FindingKind::Secret, &[2, 6]),
        (FindingKind::Email, &[3]),
        (FindingKind::BrokenEncoding, &[4]),
        (FindingKind::EmptyAnswer, &[5]),
    ] {
        assert_eq!(reading.found(kind), expected, "{kind:?}");
    }
    let findings = &reading.summary().findings;
    assert!(
        findings
            .iter()
            .flat_map(|finding| &finding.rows)
            .all(|row| row.line == Some(row.row + 1))
    );
    assert_eq!(
        reading.rows[6].facts.findings,
        [FindingKind::Duplicate, FindingKind::Secret]
    );
    // A secret is never shown.
    assert!(!format!("{findings:?}").contains("ABCDEFGH"));
}

/// As in the tech support corpus: 1,050 rows of which 10 are their own.
#[test]
fn a_dataset_of_repetitions_is_called_out() {
    let text: String = (0..1050)
        .map(|row| {
            format!(
                "{{\"prompt\": \"question {0}\", \"completion\": \"answer {0}\"}}\n",
                row % 10
            )
        })
        .collect();
    let reading = read(text).unwrap();
    let summary = reading.summary();
    assert_eq!(
        (summary.num_usable_rows, summary.num_duplicates),
        (1050, 1040)
    );
    assert_eq!(summary.findings[0].rows.len(), 100);
    let preview = reading.preview.as_ref().unwrap();
    assert_eq!(
        (preview.num_usable_rows, preview.first_rows.len()),
        (50, 50)
    );
    let (rows, total) =
        reading
            .dataset
            .select(1030, 100, RowFilter::Finding(FindingKind::Duplicate));
    assert_eq!((rows.len(), rows[0], total), (10, 1040, 1040));
    assert_eq!(
        reading.dataset.select(1049, 5, RowFilter::All),
        (vec![1049], 1050)
    );
}

#[test]
fn labels_are_counted_and_weighed() {
    let row = |label: &str| format!("{{\"text\": \"t{label}\", \"label\": {label}}}\n");
    let even: String = (0..30).map(|index| row(&(index % 3).to_string())).collect();
    let reading = read(&even).unwrap();
    let labels: Vec<_> = ["0", "1", "2"].map(|label| (label.to_owned(), 10)).to_vec();
    assert_eq!(reading.summary().labels, labels);
    let unbalanced = |reading: &Reading| {
        let findings = &reading.summary().findings;
        findings
            .iter()
            .any(|finding| finding.kind == FindingKind::UnbalancedLabels)
    };
    assert!(!unbalanced(&reading));
    let reading = read(row("true").repeat(40) + &row("false").repeat(4)).unwrap();
    assert!(unbalanced(&reading));
}

#[test]
fn what_cannot_be_read_says_where_and_what_to_do() {
    let unusable = read("{\"a\": 1}\n{\"b\": 2}\n").err().unwrap();
    assert!(matches!(
        unusable,
        DatasetError::NoUsableRow { num_rows: 2, .. }
    ));
    let failure = Failure::from(unusable);
    assert_eq!(failure.kind, FailureKind::Dataset);
    assert!(
        failure
            .remedy
            .is_some_and(|remedy| remedy.contains("Columns and format"))
    );
    assert!(failure.place.is_some_and(|place| place.contains("line 1")));
    assert_eq!(
        read_files(&[], &ReadSpec::default()).err(),
        Some(DatasetError::NoFiles)
    );
    assert!(matches!(read("").err(), Some(DatasetError::Empty { .. })));
}
