use protocol::*;

use super::events::{dataset, device, loaded, read};
use crate::state::reading::{Held, ReaderId};
use crate::state::status::{Activity, status};
use crate::state::{State, Step};

fn row(row: usize) -> RowSummary {
    RowSummary {
        row,
        shape: RowShape::Text,
        prompt: String::new(),
        completion: format!("row {row}"),
        num_turns: 0,
        findings: Vec::new(),
    }
}

fn named(name: &str, num_rows: usize) -> DatasetSummary {
    DatasetSummary {
        names: vec![name.into()],
        num_rows,
        num_usable_rows: num_rows,
        first_rows: (0..num_rows.min(50)).map(row).collect(),
        ..dataset()
    }
}

fn preview(name: &str, num_rows: usize) -> ReaderEvent {
    let dataset = named(name, num_rows);
    ReaderEvent::Preview { dataset }
}

fn all(name: &str, num_rows: usize) -> ReaderEvent {
    let dataset = named(name, num_rows);
    ReaderEvent::Read { dataset }
}

fn failed(what: &str) -> ReaderEvent {
    let failure = Failure::new(FailureKind::Dataset, what);
    ReaderEvent::Failed { failure }
}

fn taken(name: &str, num_rows: usize) -> Event {
    let dataset = named(name, num_rows);
    Event::DatasetLoaded { dataset }
}

fn shown(state: &State) -> &str {
    &state.shown_dataset().unwrap().names[0]
}

#[test]
fn first_rows_are_seen_while_the_others_are_read() {
    let mut state = State::default();
    state.apply(device());
    state.begin_reading(ReaderId(1), "big.csv");
    state.apply_reader(ReaderId(1), preview("big.csv", 50));
    let progress = ReaderEvent::Progress {
        done: 3_000_000,
        total: 100_000_000,
    };
    state.apply_reader(ReaderId(1), progress);
    assert_eq!(shown(&state), "big.csv");
    assert_eq!(state.rows.total, 50);
    assert_eq!(state.rows.get(49).unwrap().row, 49);
    assert_eq!(state.rows.wanted(0, 50), None);
    assert_eq!(status(&state).text(), "Reading data — 3.0 MB of 100 MB");
    assert!(!state.can_train());
    let held = state
        .apply_reader(ReaderId(1), all("big.csv", 100_000))
        .unwrap();
    assert_eq!(held.reader, ReaderId(1));
    assert_eq!(state.rows.total, 100_000);
    assert_eq!(state.rows.wanted(70_000, 12), Some(69_952));
    assert!(state.data.loaded.is_none(), "the engine has not said so");
    state.apply(taken("big.csv", 100_000));
    assert!(state.data.loading.is_none() && state.pending.is_empty());
}

#[test]
fn a_reading_that_fails_leaves_the_rows_that_were_there() {
    let mut state = loaded();
    state.begin_reading(ReaderId(2), "other.csv");
    state.apply_reader(ReaderId(2), preview("other.csv", 4));
    assert_eq!(shown(&state), "other.csv");
    state.apply_reader(ReaderId(2), failed("line 7 is cut off"));
    assert_eq!(shown(&state), "rows.jsonl");
    assert_eq!(state.rows.total, 3);
    assert_eq!(status(&state).text(), "Failed — line 7 is cut off");
    assert_eq!(state.notices[0].step, Step::Data);
    assert!(state.can_train() && state.needs_reader(ReaderId(1)));
    assert!(!state.needs_reader(ReaderId(2)));
}

#[test]
fn fields_of_a_file_without_a_usable_row_can_still_be_mapped() {
    let mut state = loaded();
    state.begin_reading(ReaderId(2), "odd.csv");
    let odd = DatasetSummary {
        num_usable_rows: 0,
        first_rows: Vec::new(),
        columns: vec![ColumnSummary {
            path: "frage".into(),
            kind: "text".into(),
            num_filled: 9,
            num_seen: 9,
            example: "Was?".into(),
        }],
        ..named("odd.csv", 9)
    };
    let so_far = ReaderEvent::Preview {
        dataset: odd.clone(),
    };
    state.apply_reader(ReaderId(2), so_far);
    assert_eq!(shown(&state), "rows.jsonl", "there is nothing to see");
    let read = ReaderEvent::Read { dataset: odd };
    assert_eq!(state.apply_reader(ReaderId(2), read), None);
    assert_eq!(state.mapped_dataset().unwrap().names, ["odd.csv"]);
    assert_eq!(status(&state).activity, Activity::Failed);
    assert_eq!(state.notices.len(), 1);
    state.begin_reading(ReaderId(3), "odd.csv");
    assert!(state.notices.is_empty());
    assert_eq!(state.mapped_dataset().unwrap().names, ["rows.jsonl"]);
}

#[test]
fn an_older_readers_messages_change_nothing() {
    let mut state = loaded();
    state.begin_reading(ReaderId(2), "first.csv");
    state.begin_reading(ReaderId(3), "second.csv");
    assert!(!state.needs_reader(ReaderId(2)));
    let before = state.clone();
    for event in [
        ReaderEvent::Progress { done: 1, total: 2 },
        preview("first.csv", 4),
        all("first.csv", 4),
        failed("late"),
    ] {
        assert_eq!(state.apply_reader(ReaderId(2), event), None);
        assert_eq!(state, before);
    }
    let read = state.apply_reader(ReaderId(3), all("second.csv", 4));
    assert!(read.is_some());
}

#[test]
fn files_dropped_before_the_engine_took_the_last_ones_replace_them_in_turn() {
    let mut state = loaded();
    read(&mut state, 2, named("second.csv", 5));
    state.begin_reading(ReaderId(3), "third.csv");
    assert_eq!(shown(&state), "second.csv");
    state.apply(taken("second.csv", 5));
    assert!(!state.can_train(), "the third is still being read");
    assert!(!state.needs_reader(ReaderId(1)) && state.needs_reader(ReaderId(2)));
    state.apply_reader(ReaderId(3), failed("not a dataset"));
    assert_eq!(shown(&state), "second.csv");
    assert_eq!(state.shown_reader(), Some(ReaderId(2)));
    assert!(state.can_train());
}

#[test]
fn a_dataset_that_the_engine_cannot_take_leaves_the_one_it_has() {
    let mut state = loaded();
    read(&mut state, 2, named("second.csv", 5));
    assert_eq!(state.rows.total, 5);
    let failure = Failure::new(FailureKind::OutOfMemory, "no memory");
    state.apply(Event::Failed { failure });
    assert_eq!(state.notices[0].step, Step::Data);
    assert_eq!(shown(&state), "rows.jsonl");
    assert_eq!(state.rows.total, 3);
    assert!(state.can_train());
}

#[test]
fn a_new_engine_is_handed_the_rows_that_were_read() {
    let mut state = loaded();
    state.begin_reading(ReaderId(2), "second.csv");
    state.forget_worker();
    assert!(state.data.loaded.is_none());
    assert_eq!(state.pending, [Step::Data], "the reader goes on");
    state.hand_over(Held {
        reader: ReaderId(1),
        dataset: dataset(),
    });
    assert_eq!(shown(&state), "rows.jsonl");
    state.apply(Event::DatasetLoaded { dataset: dataset() });
    assert!(state.needs_reader(ReaderId(1)) && state.needs_reader(ReaderId(2)));
    let read = state.apply_reader(ReaderId(2), all("second.csv", 5));
    assert!(read.is_some());
    state.apply(taken("second.csv", 5));
    assert!(state.pending.is_empty() && state.data.loading.is_none());
}

#[test]
fn a_reader_that_dies_later_takes_no_dataset_with_it() {
    let mut state = loaded();
    let failure = Failure::new(FailureKind::Dataset, "the reader died");
    assert_eq!(state.rows.wanted(0, 3), Some(0));
    state.reader_failed(ReaderId(1), failure);
    assert_eq!(state.notices[0].step, Step::Data);
    assert_eq!(state.rows.wanted(0, 3), None, "nobody is left to ask");
    assert_eq!(shown(&state), "rows.jsonl");
    assert_eq!(status(&state).activity, Activity::Ready);
}

fn refused(what: &str) -> Event {
    let failure = Failure::new(FailureKind::Dataset, what);
    Event::Failed { failure }
}

#[test]
fn what_failed_to_be_read_is_told_while_settings_change() {
    let mut state = loaded();
    state.begin_reading(ReaderId(2), "other.csv");
    state.apply_reader(ReaderId(2), failed("line 7 is cut off"));
    state.begin_encoding();
    let prepared = || PreparedSummary::default();
    state.apply(Event::DatasetPrepared {
        dataset: prepared(),
    });
    let told = |state: &State| -> Vec<String> {
        let notices = state.notices.iter();
        notices.map(|notice| notice.failure.what.clone()).collect()
    };
    assert_eq!(told(&state), ["line 7 is cut off"]);
    assert_eq!(status(&state).activity, Activity::Ready);

    // An encoding failure is shown along with it, until encoding is tried again.
    state.begin_encoding();
    state.apply(refused("no row can be learned"));
    assert_eq!(told(&state), ["line 7 is cut off", "no row can be learned"]);
    assert_eq!(
        status(&state).text(),
        "Failed \u{2014} no row can be learned"
    );
    state.begin_encoding();
    assert_eq!(told(&state), ["line 7 is cut off"]);
    state.begin_reading(ReaderId(3), "good.csv");
    assert!(state.notices.is_empty(), "another file is another matter");
}
