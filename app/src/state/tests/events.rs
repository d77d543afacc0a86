use protocol::*;

use crate::state::reading::ReaderId;
use crate::state::run::Asked;
use crate::state::status::{Activity, status};
use crate::state::{ExportState, State, Step};

pub fn model(sha256: &str) -> ModelSummary {
    ModelSummary {
        name: "A model".into(),
        base_model_name: None,
        architecture: "llama".into(),
        parameters: 1000,
        num_hidden_layers: 2,
        hidden_size: 8,
        intermediate_size: 16,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 4,
        vocab_size: 32,
        max_position_embeddings: 64,
        quantization: "F32".into(),
        file_bytes: 4000,
        sha256: sha256.into(),
        has_chat_template: true,
    }
}

pub fn dataset() -> DatasetSummary {
    DatasetSummary {
        names: vec!["rows.jsonl".into()],
        file_bytes: 10,
        sha256: "d".into(),
        num_rows: 3,
        num_usable_rows: 3,
        shapes: vec![(RowShape::Text, 3)],
        ..DatasetSummary::default()
    }
}

pub fn device() -> Event {
    let device = DeviceReport {
        kind: DeviceKind::Cpu,
        name: "CPU".into(),
        self_test: Vec::new(),
        threads: 1,
        precision: Precision::Single,
    };
    Event::Ready {
        protocol_version: PROTOCOL_VERSION,
        device,
    }
}

fn step(run: RunId, step: u64, loss: f64) -> Event {
    let metrics = StepMetrics {
        step,
        num_steps: 40,
        epoch: 0.1,
        loss,
        learning_rate: 1e-3,
        grad_norm: 1.0,
        num_tokens: 10,
        scored_tokens: 5,
        tokens_per_sec: 100.0,
        elapsed_millis: 10.0,
        device_memory_bytes: None,
        remaining_secs: Some(65.0),
    };
    Event::Steps {
        run,
        steps: vec![metrics],
    }
}

fn evaluation(run: RunId, step: u64, loss: f64) -> Event {
    let metrics = EvaluationMetrics {
        step,
        loss,
        scored_tokens: 5,
        is_best: true,
        elapsed_millis: 1.0,
    };
    Event::Evaluations {
        run,
        evaluations: vec![metrics],
    }
}

pub fn summary(outcome: RunOutcome) -> RunSummary {
    RunSummary {
        outcome,
        steps: 40,
        base_validation_loss: Some(3.5),
        tuned_validation_loss: Some(1.25),
        best_step: 36,
        elapsed_secs: 60.0,
        trainable_parameters: 460_800,
        has_adapter: true,
    }
}

/// Files are read and handed to the engine, which has not answered yet.
pub fn read(state: &mut State, reader: u64, dataset: DatasetSummary) {
    state.begin_reading(ReaderId(reader), dataset.names.join(", "));
    let read = ReaderEvent::Read { dataset };
    assert!(state.apply_reader(ReaderId(reader), read).is_some());
}

pub fn loaded() -> State {
    let mut state = State::default();
    state.apply(device());
    read(&mut state, 1, dataset());
    state.begin_model("A model");
    state.apply(Event::DatasetLoaded { dataset: dataset() });
    state.apply(Event::ModelLoaded { model: model("m") });
    state
}

pub fn training() -> State {
    let mut state = loaded();
    state.begin_run(RunId(1), RunSpec::default());
    state.apply(Event::RunState {
        run: RunId(1),
        state: RunState::Training,
    });
    state
}

fn text(state: &State) -> String {
    status(state).text()
}

#[test]
fn status_follows_a_whole_journey() {
    let mut state = State::default();
    assert_eq!(status(&state).activity, Activity::Idle);
    state.apply(device());
    state.begin_reading(ReaderId(1), "rows.jsonl");
    state.begin_model("A model");
    assert!(text(&state).starts_with("Reading data"), "{}", text(&state));
    let read_all = ReaderEvent::Read { dataset: dataset() };
    assert!(state.apply_reader(ReaderId(1), read_all).is_some());
    assert_eq!(
        status(&state).activity,
        Activity::LoadingModel,
        "the engine takes the rows after the model"
    );
    state.apply(Event::DatasetLoaded { dataset: dataset() });
    state.apply(Event::Progress {
        phase: Phase::DownloadingModel,
        done: 42_000_000,
        total: Some(98_000_000),
    });
    assert_eq!(text(&state), "Loading model — downloading, 42 MB of 98 MB");
    assert!(!state.can_train());
    state.apply(Event::ModelLoaded { model: model("m") });
    assert_eq!(status(&state).activity, Activity::Ready);
    assert!(state.can_train());

    state.begin_run(RunId(1), RunSpec::default());
    assert_eq!(text(&state), "Training — preparing");
    state.apply(Event::RunState {
        run: RunId(1),
        state: RunState::Evaluating,
    });
    state.apply(Event::Progress {
        phase: Phase::Evaluating,
        done: 2,
        total: Some(5),
    });
    assert_eq!(text(&state), "Evaluating — 2 of 5 held-out rows");
    state.apply(evaluation(RunId(1), 0, 3.5));
    state.apply(Event::RunState {
        run: RunId(1),
        state: RunState::Training,
    });
    assert_eq!(text(&state), "Training — first step");
    state.apply(step(RunId(1), 12, 2.0));
    assert_eq!(text(&state), "Training — step 12 of 40, 1 min left");
    state.apply(Event::RunState {
        run: RunId(1),
        state: RunState::Paused,
    });
    assert_eq!(text(&state), "Paused — step 12 of 40");
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary: summary(RunOutcome::Finished),
    });
    assert_eq!(
        text(&state),
        "Finished — 40 steps, held-out loss 3.5000 to 1.2500"
    );
    read(&mut state, 2, dataset());
    state.apply(Event::DatasetLoaded { dataset: dataset() });
    assert_eq!(status(&state).activity, Activity::Ready);
}

#[test]
fn two_versions_ask_for_a_reload() {
    let mut state = State::default();
    state.device.is_outdated = true;
    assert!(text(&state).starts_with("Failed — reload the page"));
}

#[test]
fn how_a_run_ended_is_told_until_something_is_loaded() {
    let mut state = training();
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary: summary(RunOutcome::Finished),
    });
    state.apply(Event::Progress {
        phase: Phase::EncodingData,
        done: 1,
        total: Some(3),
    });
    assert_eq!(status(&state).activity, Activity::Finished);
    state.begin_model("A model");
    assert_eq!(status(&state).activity, Activity::LoadingModel);
    state.apply(Event::ModelLoaded { model: model("m") });
    assert_eq!(text(&state), "Reading data — counting tokens, 1 of 3 rows");
}

#[test]
fn readouts_show_the_latest_and_at_the_end_the_kept_loss() {
    let mut state = training();
    state.apply(evaluation(RunId(1), 0, 3.5));
    let run = state.run.as_ref().unwrap();
    assert_eq!(
        (
            run.base_validation_loss(),
            run.validation_loss(),
            run.training_loss()
        ),
        (Some(3.5), None, None)
    );
    state.apply(step(RunId(1), 1, 2.5));
    state.apply(evaluation(RunId(1), 1, 1.1));
    state.apply(step(RunId(1), 2, 2.25));
    state.apply(evaluation(RunId(1), 2, 1.75));
    let run = state.run.as_ref().unwrap();
    assert_eq!(
        (run.validation_loss(), run.training_loss()),
        (Some(1.75), Some(2.25))
    );
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary: summary(RunOutcome::Stopped),
    });
    assert_eq!(state.run.as_ref().unwrap().validation_loss(), Some(1.25));
    assert_eq!(status(&state).activity, Activity::Stopped);
}

#[test]
fn an_older_runs_events_change_nothing() {
    let mut state = training();
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary: summary(RunOutcome::Finished),
    });
    state.begin_run(RunId(2), RunSpec::default());
    let before = state.clone();
    state.apply(step(RunId(1), 41, 0.5));
    state.apply(evaluation(RunId(1), 41, 0.5));
    state.apply(Event::RunState {
        run: RunId(1),
        state: RunState::Paused,
    });
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary: summary(RunOutcome::Stopped),
    });
    assert_eq!(state, before);
}

#[test]
fn a_step_that_comes_twice_counts_once() {
    let mut state = training();
    for number in [1, 2, 3, 4, 5, 4] {
        state.apply(step(RunId(1), number, 2.0));
    }
    let steps = &state.run.as_ref().unwrap().steps;
    let kept: Vec<u64> = steps.spans().iter().map(|span| span.step).collect();
    assert_eq!(kept, [1, 2, 3, 4, 5]);
}

#[test]
fn a_request_to_pause_is_settled_by_the_pause_only() {
    let mut state = training();
    state.run.as_mut().unwrap().asked = Some(Asked::Pause);
    state.apply(Event::RunState {
        run: RunId(1),
        state: RunState::Evaluating,
    });
    assert_eq!(state.run.as_ref().unwrap().asked, Some(Asked::Pause));
    state.apply(Event::RunState {
        run: RunId(1),
        state: RunState::Paused,
    });
    assert_eq!(state.run.as_ref().unwrap().asked, None);
}

#[test]
fn a_failed_load_keeps_what_was_there() {
    let mut state = loaded();
    state.begin_model("bert.safetensors");
    let failure = Failure::new(FailureKind::UnsupportedModel, "BERT is an encoder")
        .remedy("Choose a decoder.");
    state.apply(Event::Failed { failure });
    assert_eq!(text(&state), "Failed — BERT is an encoder");
    assert_eq!(state.notices.len(), 1);
    assert_eq!(state.notices[0].step, Step::Model);
    assert!(state.can_train(), "the old model is still there");
    state.dismiss(Step::Model);
    assert_eq!(status(&state).activity, Activity::Ready);
}

#[test]
fn a_failure_of_unclear_kind_belongs_to_the_load_asked_first() {
    let mut state = State::default();
    state.apply(device());
    read(&mut state, 1, dataset());
    state.begin_model("b");
    state.apply(Event::Failed {
        failure: Failure::new(FailureKind::Network, "no answer"),
    });
    assert_eq!(state.notices[0].step, Step::Data);
    assert!(state.model.loading.is_some() && state.data.loading.is_none());
    state.apply(Event::Failed {
        failure: Failure::new(FailureKind::Network, "no answer"),
    });
    assert_eq!(state.notices[1].step, Step::Model);
    assert!(state.pending.is_empty());
}

#[test]
fn a_failed_run_says_so_and_its_last_adapter_can_be_taken() {
    let mut state = training();
    let failure = Failure::new(FailureKind::NonFinite, "the loss became NaN").in_run(RunId(1));
    state.apply(Event::Failed { failure });
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary: summary(RunOutcome::Failed),
    });
    assert_eq!(text(&state), "Failed — the loss became NaN");
    assert_eq!(state.notices[0].step, Step::Train);
    assert!(!state.trained.is_empty());
}

#[test]
fn a_question_that_fails_leaves_the_run_alone() {
    let mut state = training();
    state.begin_turn(GenerationId(3), "Say hello.");
    let said = |id, text: &str| Event::GenerationText {
        id: GenerationId(id),
        speaker: Speaker::Base,
        text: text.into(),
    };
    state.apply(said(2, "late"));
    state.apply(said(3, "Hel"));
    state.apply(said(3, "lo"));
    assert_eq!(state.chat.turns[0].answers[0].text, "Hello");
    state.apply(Event::Failed {
        failure: Failure::new(FailureKind::WrongState, "training"),
    });
    assert_eq!(state.notices[0].step, Step::Try);
    assert!(!state.chat.is_active());
    assert!(state.is_training());
}

#[test]
fn another_model_ends_the_adapter_and_the_same_one_keeps_it() {
    let mut state = training();
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary: summary(RunOutcome::Finished),
    });
    state.begin_model("again");
    state.apply(Event::ModelLoaded { model: model("m") });
    assert!(!state.trained.is_empty());
    state.begin_model("other");
    state.apply(Event::ModelLoaded { model: model("n") });
    assert!(state.trained.is_empty());
}

#[test]
fn a_lost_worker_leaves_no_busy_state_behind() {
    let mut state = training();
    state.export = ExportState::Packing;
    state.forget_worker();
    assert!(!state.is_training() && !state.can_train());
    assert_eq!(state.export, ExportState::None);
}

#[test]
fn a_sound_plan_refutes_a_complaint_about_settings() {
    let mut state = loaded();
    state.apply(Event::Failed {
        failure: Failure::new(FailureKind::Settings, "too long"),
    });
    assert_eq!(state.notices[0].step, Step::Train);
    assert_eq!(
        status(&state).activity,
        Activity::Ready,
        "nothing ran, so nothing failed"
    );
    let plan = PlanSummary {
        spec: RunSpec::default(),
        num_steps: 1,
        steps_per_epoch: 1,
        trainable_parameters: 1,
        estimated_memory_bytes: 1,
        estimated_secs: None,
        warnings: Vec::new(),
    };
    state.apply(Event::Planned { plan });
    assert!(state.notices.is_empty());
}

#[test]
fn a_model_that_is_not_kept_is_loaded_all_the_same() {
    let mut state = State::default();
    state.apply(device());
    state.begin_model("A model");
    assert_eq!(state.not_kept, None);
    let reason = NotKept::NoSpace;
    state.apply(Event::ModelNotKept { reason });
    assert_eq!(state.not_kept, Some(reason));
    assert!(state.notices.is_empty(), "it is no failure");
    assert!(state.model.loading.is_some());
    state.apply(Event::ModelLoaded { model: model("m") });
    assert!(state.model.loaded.is_some());
}
