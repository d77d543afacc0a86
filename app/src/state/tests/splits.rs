use protocol::*;

use crate::state::form::Form;
use crate::state::mapping::{ReadForm, Shape};
use crate::state::splits::{about_shares, are_told_apart, file_splits};
use crate::state::suggestion::{question, raw_table};

fn dataset(files: &[(&str, Option<Side>)]) -> DatasetSummary {
    let file = |(name, split): &(&str, Option<Side>)| FileSummary {
        name: (*name).to_owned(),
        num_rows: 7,
        split: *split,
        ..FileSummary::default()
    };
    DatasetSummary {
        files: files.iter().map(file).collect(),
        ..DatasetSummary::default()
    }
}

#[test]
fn names_decide_until_the_user_does() {
    let data = dataset(&[
        ("train.jsonl", Some(Side::Train)),
        ("test.jsonl", Some(Side::Test)),
        ("more.jsonl", None),
    ]);
    let mut form = Form::default();
    let sides = |form: &Form| -> Vec<Side> {
        let files = file_splits(&data, form).into_iter();
        files.map(|file| file.side).collect()
    };
    assert_eq!(sides(&form), [Side::Train, Side::Test, Side::Train]);
    let files = file_splits(&data, &form);
    assert!(are_told_apart(&files));
    assert!(about_shares(&files).starts_with("Test split isn't used"));

    form.choose_side("test.jsonl", Some(Side::Test), Side::Train);
    form.choose_side("more.jsonl", None, Side::Validation);
    assert_eq!(sides(&form), [Side::Train, Side::Train, Side::Validation]);
    assert!(about_shares(&file_splits(&data, &form)).starts_with("Validation split isn't used"));
    let sent = form.data_spec().unwrap().file_sides;
    assert_eq!(sent.len(), 2);
    assert_eq!(
        (sent[0].file.as_str(), sent[0].side),
        ("test.jsonl", Side::Train)
    );
    // Back to what the names say: nothing is left to be said.
    form.choose_side("test.jsonl", Some(Side::Test), Side::Test);
    form.choose_side("more.jsonl", None, Side::Train);
    assert!(form.data_spec().unwrap().file_sides.is_empty());
}

#[test]
fn a_single_file_has_no_splits_to_choose() {
    let form = Form::default();
    assert!(file_splits(&dataset(&[("rows.csv", None)]), &form).is_empty());
    let two = file_splits(&dataset(&[("a.csv", None), ("b.csv", None)]), &form);
    assert!(!are_told_apart(&two));
    assert_eq!(two.len(), 2);
}

#[test]
fn a_guess_is_asked_and_taken_with_one_click() {
    let labelled = Mapping::Classification {
        text: "v2".into(),
        label: "v1".into(),
    };
    assert_eq!(
        question(&labelled).unwrap(),
        "Is \u{201c}v2\u{201d} the text and \u{201c}v1\u{201d} its label?"
    );
    let paired = Mapping::PromptCompletion {
        system: None,
        history: None,
        prompt: "Spalte1".into(),
        input: None,
        completion: "Spalte2".into(),
        verdict: None,
    };
    assert_eq!(
        question(&paired).unwrap(),
        "Is \u{201c}Spalte1\u{201d} the question and \u{201c}Spalte2\u{201d} the answer?"
    );
    assert_eq!(question(&Mapping::Automatic), None);
    // The columns are chosen already, to be corrected or applied.
    let unusable = DatasetSummary {
        suggestion: Some(paired.clone()),
        ..DatasetSummary::default()
    };
    let form = ReadForm::of(&unusable);
    assert_eq!(form.shape, Shape::PromptCompletion);
    assert_eq!(form.part(Part::Completion), "Spalte2");
    assert_eq!(form.spec().unwrap().mapping, paired);
}

#[test]
fn the_first_rows_are_shown_as_they_are() {
    let cell = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let data = DatasetSummary {
        first_records: vec![
            vec![cell("a", "1"), cell("b", "2")],
            vec![cell("b", "3"), cell("c", "4")],
        ],
        ..DatasetSummary::default()
    };
    let table = raw_table(&data);
    assert_eq!(table.names, ["a", "b", "c"]);
    assert_eq!(table.rows, [["1", "2", ""], ["", "3", "4"]]);
}
