use protocol::*;

use super::events::{dataset, loaded};
use crate::state::State;
use crate::state::findings::{alarm, of_control_tokens, of_files, of_run, of_tokens};
use crate::state::form::Form;
use crate::state::reading::ReaderId;
use crate::state::summary::summary;

fn prepared(spec: DataSpec) -> Event {
    let dataset = PreparedSummary {
        spec,
        scored_tokens: 871_400,
        ..PreparedSummary::default()
    };
    Event::DatasetPrepared { dataset }
}

fn planned(spec: RunSpec) -> Event {
    let plan = PlanSummary {
        spec,
        num_steps: 114,
        steps_per_epoch: 38,
        trainable_parameters: 1,
        estimated_memory_bytes: 1,
        estimated_secs: None,
        warnings: Vec::new(),
    };
    Event::Planned { plan }
}

#[test]
fn the_line_says_what_is_known() {
    let mut state = loaded();
    state.data.loaded = Some(DatasetSummary {
        num_rows: 1204,
        num_usable_rows: 1201,
        num_problems: 3,
        num_duplicates: 12,
        ..dataset()
    });
    let read = "1,201 of 1,204 rows; 3 cannot be used, 12 duplicates";
    assert_eq!(summary(&state).unwrap(), read);
    let spec = RunSpec::default();
    state.apply(prepared(spec.data.clone()));
    state.apply(planned(spec.clone()));
    assert_eq!(
        summary(&state).unwrap(),
        format!("{read}, 871 k trained tokens, 38 steps per epoch")
    );
    state.apply(prepared(DataSpec {
        max_seq_length: 64,
        ..spec.data
    }));
    assert_eq!(
        summary(&state).unwrap(),
        format!("{read}, 871 k trained tokens"),
        "the plan is of other settings"
    );
    let dataset = PreparedSummary {
        num_left_out: 4,
        num_without_target: 1,
        scored_tokens: 1,
        ..PreparedSummary::default()
    };
    state.apply(Event::DatasetPrepared { dataset });
    assert_eq!(
        summary(&state).unwrap(),
        "1,196 of 1,204 rows; 3 cannot be used; 5 left out, 12 duplicates, 1 trained token, 38 steps per epoch"
    );
}

#[test]
fn what_is_being_read_is_not_what_was_encoded() {
    assert_eq!(summary(&State::default()), None);
    let mut state = loaded();
    state.apply(prepared(DataSpec::default()));
    state.begin_reading(ReaderId(2), "next.jsonl");
    let row = RowSummary {
        row: 0,
        shape: RowShape::Text,
        prompt: String::new(),
        completion: "one".into(),
        num_turns: 0,
        findings: Vec::new(),
    };
    let dataset = DatasetSummary {
        num_rows: 50,
        first_rows: vec![row],
        ..dataset()
    };
    state.apply_reader(ReaderId(2), ReaderEvent::Preview { dataset });
    assert_eq!(summary(&state).unwrap(), "50 rows, still reading");
}

#[test]
fn lost_rows_are_counted_in_the_headline_and_in_the_plan() {
    let mut state = loaded();
    let refused = FileProblem {
        file: "b.csv".into(),
        what: "b.csv is empty".into(),
        remedy: String::new(),
    };
    state.data.loaded = Some(DatasetSummary {
        num_rows: 90,
        num_usable_rows: 60,
        num_problems: 30,
        refused_files: vec![refused],
        ..dataset()
    });
    assert_eq!(
        summary(&state).unwrap(),
        "60 of 90 rows; 30 cannot be used, 1 file cannot be read"
    );
    assert_eq!(of_run(&state)[0], "Only 60 of 90 rows; 30 cannot be used.");
    // What the model cannot take, and what the user leaves out.
    let prepared = PreparedSummary {
        num_not_encoded: 2,
        num_left_out: 5,
        num_truncated: 7,
        scored_tokens: 9,
        ..PreparedSummary::default()
    };
    state.apply(Event::DatasetPrepared { dataset: prepared });
    assert!(
        summary(&state)
            .unwrap()
            .starts_with("53 of 90 rows; 32 cannot be used; 5 left out, 1 file cannot be read, 7 rows cut short, 9 trained"),
        "{:?}",
        summary(&state)
    );
    state.data.loaded = Some(DatasetSummary {
        num_rows: 90,
        num_usable_rows: 90,
        ..dataset()
    });
    state.prepared = None;
    assert_eq!(summary(&state).unwrap(), "90 rows");
    assert!(of_run(&state).is_empty());
}

#[test]
fn rows_of_one_message_and_control_tokens_are_told() {
    let gathered = |order: Option<&str>| {
        let dataset = DatasetSummary {
            gathered: Some(GatheredSummary {
                num_messages: 184,
                num_conversations: 40,
                conversation: "thread".into(),
                order: order.map(str::to_owned),
            }),
            ..dataset()
        };
        of_files(&dataset)
    };
    assert_eq!(
        gathered(Some("turn")),
        [
            "184 message rows became 40 conversations: joined by \u{201c}thread\u{201d}, in the order of \u{201c}turn\u{201d}."
        ]
    );
    assert!(gathered(None)[0].ends_with("in the order of the file."));

    let clean = PreparedSummary::default();
    assert_eq!(of_control_tokens(&clean), None);
    let found = |control_tokens| PreparedSummary {
        spec: DataSpec {
            control_tokens,
            ..DataSpec::default()
        },
        control_tokens: ControlTokensFound {
            tokens: vec!["<|im_end|>".into(), "<|im_start|>".into()],
            num_rows: 4,
            rows: Vec::new(),
        },
        ..PreparedSummary::default()
    };
    let (what, as_tokens) = of_control_tokens(&found(ControlTokens::AsTokens)).unwrap();
    assert_eq!(
        what,
        "4 rows have control tokens in the text: `<|im_end|>`, `<|im_start|>`"
    );
    let (_, as_text) = of_control_tokens(&found(ControlTokens::AsText)).unwrap();
    assert!(as_tokens.contains("as TRL does") && as_text.contains("plain text"));
}

#[test]
fn a_file_of_copies_is_called_out() {
    let copies = DatasetSummary {
        num_rows: 1050,
        num_usable_rows: 1050,
        num_duplicates: 1040,
        ..dataset()
    };
    assert_eq!(
        alarm(&copies).unwrap(),
        "Only 10 of 1,050 rows are distinct; the other 1,040 repeat them."
    );
    let few = DatasetSummary {
        num_duplicates: 12,
        ..copies
    };
    assert_eq!(alarm(&few), None);
}

#[test]
fn what_is_left_out_goes_into_the_run() {
    let mut form = Form::default();
    form.toggle_left_out(FindingKind::Secret);
    form.toggle_left_out(FindingKind::Duplicate);
    let spec = form.run_spec().unwrap();
    assert_eq!(
        spec.data.leave_out,
        [FindingKind::Duplicate, FindingKind::Secret],
        "in one order, so that equal choices are equal runs"
    );
    form.toggle_left_out(FindingKind::Duplicate);
    assert_eq!(form.data_spec().unwrap().leave_out, [FindingKind::Secret]);
}

#[test]
fn what_turned_out_has_a_remedy_each() {
    let clean = PreparedSummary::default();
    assert!(of_tokens(&clean).is_empty());
    let bad = PreparedSummary {
        num_leaked: 1,
        num_truncated: 2,
        num_without_target: 3,
        ..clean
    };
    let told = of_tokens(&bad);
    assert_eq!(told.len(), 3);
    assert_eq!(
        told[0].0,
        "1 held-out row also appears in the training data"
    );
    assert!(told[1].0.starts_with("2 rows are cut to 512 tokens"));
}

#[test]
fn a_warning_goes_with_the_rows_that_it_was_of() {
    let mut state = loaded();
    let (spec, name) = (RunSpec::default(), "Not needed for this model: notes.txt.");
    state.apply(Event::Warning {
        message: name.into(),
    });
    let leaky = PreparedSummary {
        spec: spec.data.clone(),
        num_leaked: 3,
        ..PreparedSummary::default()
    };
    state.apply(Event::DatasetPrepared { dataset: leaky });
    let plan = PlanSummary {
        spec: spec.clone(),
        num_steps: 1,
        steps_per_epoch: 1,
        trainable_parameters: 1,
        estimated_memory_bytes: 1,
        estimated_secs: None,
        warnings: vec!["Nothing is learned.".into()],
    };
    state.apply(Event::Planned { plan });
    let told = of_run(&state);
    assert_eq!((told[0].as_str(), told.len()), ("Nothing is learned.", 3));
    assert!(
        told[1].starts_with("3 held-out rows also appear"),
        "{told:?}"
    );

    // The duplicates are left out; the plan of before lasts until there is another.
    state.begin_encoding();
    assert_eq!(of_run(&state), [name]);
    let spec = DataSpec {
        leave_out: vec![FindingKind::Duplicate],
        ..spec.data
    };
    state.apply(prepared(spec));
    assert_eq!(of_run(&state), [name]);
    state.begin_model("another");
    assert!(of_run(&state).is_empty());
}

#[test]
fn a_plan_that_is_refused_leaves_none() {
    let mut state = loaded();
    state.apply(planned(RunSpec::default()));
    let failure = Failure::new(FailureKind::OutOfMemory, "it does not fit");
    state.apply(Event::Failed { failure });
    assert_eq!(state.plan, None);
}
