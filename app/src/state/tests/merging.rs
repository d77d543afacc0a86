use protocol::*;

use super::events::{loaded, model, training};
use crate::state::{ExportState, State, Step};

const PROGRESS: MergerEvent = MergerEvent::Progress {
    done: 3,
    total: Some(10),
};

fn merging() -> State {
    let mut state = loaded();
    state.export = ExportState::Packing;
    state.begin_merging();
    state
}

fn written() -> MergerEvent {
    MergerEvent::Written {
        file_name: "merged.zip".into(),
        num_bytes: 90,
        memory_bytes: 40,
    }
}

#[test]
fn a_merged_model_is_written_and_keeps_other_exports_waiting_until_then() {
    let mut state = merging();
    assert!(state.is_merging() && state.is_exporting());
    state.apply_merger(MergerEvent::Ready);
    assert!(state.is_merging());
    state.apply_merger(PROGRESS);
    let progress = ExportState::Merging {
        done: 3,
        total: Some(10),
    };
    assert_eq!(state.export, progress);
    state.apply_merger(written());
    let ready = ExportState::Ready {
        file_name: "merged.zip".into(),
        bytes: 90,
        memory_bytes: Some(40),
    };
    assert_eq!(state.export, ready);
    assert!(!state.is_exporting());
}

#[test]
fn what_comes_after_the_user_cancelled_is_not_taken() {
    let mut state = merging();
    state.cancel_merging();
    for event in [PROGRESS, written()] {
        state.apply_merger(event);
        assert_eq!(state.export, ExportState::None);
    }
    // Nor is an export cancelled that is not of this kind.
    state.export = ExportState::Packing;
    state.cancel_merging();
    assert_eq!(state.export, ExportState::Packing);
}

#[test]
fn a_failure_is_told_at_the_export_and_frees_it() {
    let mut state = merging();
    let failure = Failure::new(FailureKind::OutOfMemory, "no room for it");
    state.apply_merger(MergerEvent::Failed { failure });
    assert_eq!(state.export, ExportState::None);
    let notice = state.notices.last().unwrap();
    assert_eq!(notice.step, Step::Export);
    assert_eq!(notice.failure.what, "no room for it");
}

#[test]
fn an_adapter_that_the_browser_lost_is_not_in_the_downloads() {
    let mut state = training();
    state.apply(Event::ExportReady {
        adapter: AdapterId(1),
        file_name: "adapter.zip".into(),
    });
    state.export_failed(Failure::new(FailureKind::Internal, "it was lost"));
    assert_eq!(state.export, ExportState::None);
    let notice = state.notices.last().unwrap();
    assert_eq!(
        (notice.step, &*notice.failure.what),
        (Step::Export, "it was lost")
    );
}

#[test]
fn the_engine_may_die_and_the_model_go_while_one_is_written() {
    let mut state = training();
    state.begin_merging();
    state.apply_merger(PROGRESS);
    state.forget_worker();
    assert!(state.is_merging() && !state.is_training());
    state.begin_model("other");
    state.apply(Event::ModelLoaded { model: model("n") });
    assert!(state.is_merging());
    state.apply_merger(written());
    assert!(matches!(state.export, ExportState::Ready { .. }));
}
