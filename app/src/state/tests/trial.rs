use protocol::*;

use super::{chat::adapters, events::loaded};
use crate::state::status::status;
use crate::state::trial::Tried;
use crate::state::{State, Step};

const ID: RunId = RunId(9);

fn batch() -> BatchPreview {
    BatchPreview {
        rows: Vec::new(),
        loss_before: 3.0,
        loss_after: 2.5,
        grad_norm: 1.0,
        learning_rate: 1e-3,
        scored_tokens: 12,
    }
}

fn report(side: Side, tuned_loss: f64) -> ScoreReport {
    let score = |loss: f64| ModelScore {
        loss,
        perplexity: loss.exp(),
        token_accuracy: 0.5,
        exact_matches: 1,
    };
    ScoreReport {
        side,
        dataset_sha256: "d".into(),
        total: BothScores {
            num_rows: 4,
            scored_tokens: 40,
            base: score(3.0),
            tuned: score(tuned_loss),
        },
        labels: None,
        keep: None,
        worst: Vec::new(),
        best: Vec::new(),
        rows: Vec::new(),
    }
}

fn tried(tried: Tried) -> State {
    let mut state = loaded();
    state.begin_trial(ID, tried);
    state
}

#[test]
fn the_first_batch_comes_and_goes_with_its_data() {
    let mut state = tried(Tried::FirstBatch);
    assert!(state.is_busy() && !state.is_training());
    assert!(status(&state).text().starts_with("Training"));
    state.apply(Event::BatchStepped {
        run: RunId(8),
        batch: Some(batch()),
    });
    assert_eq!(state.trials.first_batch, None, "it is of another trial");
    state.apply(Event::BatchStepped {
        run: ID,
        batch: Some(batch()),
    });
    assert_eq!(state.trials.first_batch, Some(batch()));
    assert!(!state.is_busy());
    assert!(status(&state).text().starts_with("Ready"));
    let dataset = super::events::dataset();
    state.apply(Event::DatasetLoaded { dataset });
    assert_eq!(state.trials.first_batch, None);
}

#[test]
fn a_trial_is_stopped_once_and_shows_nothing() {
    let mut state = tried(Tried::FirstBatch);
    assert_eq!(state.stop_trial(), Some(ID));
    assert_eq!(state.stop_trial(), None);
    state.apply(Event::BatchStepped {
        run: ID,
        batch: None,
    });
    assert!(!state.is_busy());
    assert_eq!(state.stop_trial(), None);
    assert_eq!(state.trials.first_batch, None);
}

#[test]
fn a_trial_that_fails_says_so_where_it_was_asked_for() {
    for (asked, step) in [
        (Tried::FirstBatch, Step::Train),
        (Tried::Score(Side::Test), Step::Try),
    ] {
        let mut state = tried(asked);
        let failure = Failure::new(FailureKind::NonFinite, "the loss is no number").in_run(ID);
        state.apply(Event::Failed { failure });
        assert!(!state.is_busy());
        assert_eq!(state.notices[0].step, step);
        assert_eq!(status(&state).text(), "Failed — the loss is no number");
        assert!(state.can_train());
    }
}

#[test]
fn each_side_is_scored_anew() {
    let mut state = tried(Tried::Score(Side::Test));
    assert!(status(&state).text().starts_with("Evaluating"));
    state.apply(Event::Progress {
        phase: Phase::Evaluating,
        done: 3,
        total: Some(7),
    });
    assert!(status(&state).text().ends_with("3 of 7"));
    for (side, loss) in [
        (Side::Test, 2.0),
        (Side::Validation, 1.5),
        (Side::Test, 1.0),
    ] {
        state.begin_trial(ID, Tried::Score(side));
        state.apply(Event::Scored {
            run: ID,
            adapter: AdapterId(1),
            report: Some(report(side, loss)),
        });
    }
    let expected = [report(Side::Validation, 1.5), report(Side::Test, 1.0)];
    state.apply(adapters(&[1, 2], 1));
    assert_eq!(state.scores(), expected);
    // Those of another adapter are its own, and go with it.
    state.apply(adapters(&[1, 2], 2));
    assert!(state.scores().is_empty());
    state.apply(adapters(&[1, 2], 1));
    assert_eq!(state.scores(), expected);
    state.apply(adapters(&[2], 2));
    assert!(state.trials.scores.is_empty());
    state.forget_worker();
    assert!(state.trials.scores.is_empty());
}

#[test]
fn switches_reach_the_run() {
    let mut form = crate::state::form::Form::default();
    let spec = form.run_spec().unwrap();
    assert!(!spec.packing && !spec.group_by_length);
    form.settings.run.packing = true;
    form.settings.run.group_by_length = true;
    let spec = form.run_spec().unwrap();
    assert!(spec.packing && spec.group_by_length);
}
