//! What was asked of the engine, and what becomes of an engine that dies.

use protocol::*;

use super::events::{dataset, device, model};
use crate::state::reading::{Held, ReaderId};
use crate::state::status::{Activity, status};
use crate::state::work::{Input, MAX_RESTARTS, Next, Work};
use crate::state::{ExportState, State, Step};

fn load_model() -> Command {
    Command::LoadModel {
        source: ModelSource::Files {
            names: vec!["a.gguf".into()],
        },
    }
}

fn prepare() -> Command {
    Command::PrepareDataset {
        spec: DataSpec::default(),
    }
}

fn answered(state: &mut State, ticket: Option<Ticket>) {
    state.apply(Event::Answered {
        ticket: ticket.unwrap(),
    });
}

/// Whatever kind the failure of a load has, the load is over and its message is in its step.
#[test]
fn a_load_ends_with_its_answer_whatever_was_said() {
    for kind in [
        FailureKind::ModelFile,
        FailureKind::Template,
        FailureKind::Settings,
        FailureKind::Dataset,
        FailureKind::Adapter,
        FailureKind::NonFinite,
        FailureKind::WrongState,
        FailureKind::Internal,
    ] {
        let mut state = State::default();
        state.apply(device());
        state.begin_model("a.gguf");
        let ticket = state.ask(&load_model());
        let failure = Failure::new(kind, "it does not compile");
        state.apply(Event::Failed { failure });
        answered(&mut state, ticket);
        assert!(state.pending.is_empty(), "{kind:?}");
        assert!(state.model.loading.is_none(), "{kind:?}");
        assert_eq!(state.notices[0].step, Step::Model, "{kind:?}");
        assert_eq!(status(&state).activity, Activity::Failed, "{kind:?}");
    }
}

/// Even where the engine says nothing but that it is done.
#[test]
fn nothing_waits_for_an_answer_that_came() {
    let mut state = State::default();
    state.apply(device());
    state.begin_model("a.gguf");
    let loaded = state.ask(&load_model());
    state.hand_over(Held {
        reader: ReaderId(1),
        dataset: dataset(),
    });
    let taken = state.ask(&Command::LoadDataset { dataset: dataset() });
    state.begin_encoding();
    let prepared = state.ask(&prepare());
    state.export = ExportState::Packing;
    let exported = state.ask(&Command::Export {
        adapter: AdapterId(1),
        kind: ExportKind::Peft,
    });
    state.begin_run(RunId(1), RunSpec::default());
    let trained = state.ask(&Command::StartTraining {
        run: RunId(1),
        spec: RunSpec::default(),
    });

    answered(&mut state, loaded);
    assert!(state.model.loading.is_none());
    assert!(!state.readings.handed.is_empty(), "its turn has not come");
    answered(&mut state, taken);
    assert!(state.data.loading.is_none() && state.readings.handed.is_empty());
    assert!(state.encoding.is_some());
    answered(&mut state, prepared);
    answered(&mut state, exported);
    assert_eq!(state.export, ExportState::None);
    assert!(state.is_training());
    answered(&mut state, trained);
    assert!(!state.is_training());
    assert!(state.encoding.is_none());
}

#[test]
fn an_earlier_load_ends_without_the_one_behind_it() {
    let mut state = State::default();
    state.apply(device());
    state.begin_model("a.gguf");
    let first = state.ask(&load_model());
    state.begin_model("b.gguf");
    let second = state.ask(&load_model());
    answered(&mut state, first);
    assert!(state.model.loading.is_some());
    state.apply(Event::ModelLoaded { model: model("b") });
    answered(&mut state, second);
    assert!(state.model.loading.is_none() && state.model.loaded.is_some());
}

/// What was loaded stays, and nothing is told as a failure.
#[test]
fn a_cancelled_load_leaves_no_trace() {
    let mut state = State::default();
    state.apply(device());
    state.apply(Event::ModelLoaded { model: model("a") });
    state.begin_model("b.gguf");
    let ticket = state.ask(&load_model());
    assert_eq!(state.cancellable(Step::Model), [ticket.unwrap()]);
    let failure = Failure::new(FailureKind::Cancelled, "It was cancelled.");
    state.apply(Event::Failed { failure });
    answered(&mut state, ticket);
    assert!(state.notices.is_empty());
    assert_eq!(state.model.loaded.as_ref().unwrap().sha256, "a");
    assert!(state.model.loading.is_none());
    assert!(state.cancellable(Step::Model).is_empty());
}

#[test]
fn a_cancelled_reading_leaves_what_was_there() {
    let mut state = State::default();
    state.apply(device());
    state.begin_reading(ReaderId(1), "rows.jsonl");
    assert_eq!(status(&state).activity, Activity::ReadingData);
    state.cancel_reading();
    assert!(state.data.loading.is_none() && state.pending.is_empty());
    assert!(!state.needs_reader(ReaderId(1)));
}

fn die(state: &mut State, work: Work) -> Next {
    state.deaths.died(Some(work), true, 0.0)
}

/// A dataset whose rows kill the engine again and again: the model loads each time in between.
#[test]
fn an_input_is_set_aside_after_three_restarts_even_if_others_load_in_between() {
    let mut state = State::default();
    for _ in 0..MAX_RESTARTS {
        assert_eq!(die(&mut state, Work::Prepare), Next::Restart);
        state.forget_worker();
        let loaded = state.ask(&load_model());
        answered(&mut state, loaded);
    }
    assert_eq!(
        die(&mut state, Work::Prepare),
        Next::SetAside(Input::Dataset)
    );
    state.begin_reading(ReaderId(2), "other.jsonl");
    assert_eq!(die(&mut state, Work::Prepare), Next::Restart, "another one");
}

/// A success with the same input wipes the slate; one with a neighbor does not.
#[test]
fn only_the_same_work_clears_an_input() {
    let mut state = State::default();
    let spec = DataSpec::default();
    for _ in 0..MAX_RESTARTS {
        die(&mut state, Work::Prepare);
        let other = state.ask(&Command::PreviewRow {
            row: 0,
            spec: spec.clone(),
        });
        answered(&mut state, other);
    }
    assert_eq!(state.deaths.at(Work::Prepare), MAX_RESTARTS);
    let same = state.ask(&prepare());
    answered(&mut state, same);
    assert_eq!(state.deaths.at(Work::Prepare), 0);
}

#[test]
fn an_engine_that_never_starts_is_given_up_and_one_that_does_is_not() {
    let mut state = State::default();
    let die_early = |state: &mut State| state.deaths.died(None, false, 0.0);
    for _ in 0..MAX_RESTARTS {
        assert_eq!(die_early(&mut state), Next::Restart);
    }
    assert_eq!(die_early(&mut state), Next::GiveUp);
    state.apply(device());
    assert_eq!(die_early(&mut state), Next::Restart);
}

/// What only the user asks for is never asked for again by itself, so it cannot go on without end.
#[test]
fn runs_and_answers_that_die_are_never_held_against_anything() {
    let mut state = State::default();
    for _ in 0..20 {
        assert_eq!(die(&mut state, Work::Train), Next::Restart);
        assert_eq!(die(&mut state, Work::Generate), Next::Restart);
    }
}

#[test]
fn idle_deaths_are_given_up_only_where_they_come_fast() {
    let mut state = State::default();
    for minute in 0..30 {
        let now_millis = 20_000.0 * f64::from(minute);
        assert_eq!(state.deaths.died(None, true, now_millis), Next::Restart);
    }
    let fast = (0..10).map(|second| 1e9 + 1000.0 * f64::from(second));
    let last = fast.map(|now_millis| state.deaths.died(None, true, now_millis));
    assert_eq!(last.last(), Some(Next::GiveUp));
}

#[test]
fn a_death_says_what_the_engine_was_at_and_what_follows() {
    let mut state = State::default();
    state.apply(device());
    state.apply(Event::ModelLoaded { model: model("a") });
    state.begin_reading(ReaderId(1), "rows.jsonl");
    state.tell_death("", Some(Work::Generate), Next::Restart);
    let notice = state.notices.last().unwrap();
    assert_eq!(notice.step, Step::Try);
    assert_eq!(
        notice.failure.what,
        "the engine stopped without a message while answering"
    );
    assert!(
        notice
            .failure
            .remedy
            .as_ref()
            .unwrap()
            .contains("has been restarted with your model"),
        "{notice:?}"
    );

    let mut state = State::default();
    state.begin_model("a.gguf");
    let next = Next::SetAside(Input::Model);
    state.tell_death(
        "Uncaught RuntimeError: unreachable",
        Some(Work::LoadModel),
        next,
    );
    let notice = state.notices.last().unwrap();
    assert_eq!(notice.step, Step::Model);
    assert!(
        notice
            .failure
            .what
            .contains("ran out of memory while loading the model"),
        "{notice:?}"
    );
    let remedy = notice.failure.remedy.clone().unwrap();
    assert!(
        remedy.contains("stopped 4 times while loading the model, so a.gguf was set aside"),
        "{remedy}"
    );
}
