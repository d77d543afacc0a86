//! Adapters that were not downloaded, loads of several, and plans that no longer match the form.

use protocol::*;

use super::events::{loaded, summary, training};
use crate::state::form::{Field, Form};
use crate::state::status::status;
use crate::state::{State, Step};

fn copy(id: u64, origin: AdapterOrigin) -> AdapterCopy {
    AdapterCopy {
        id: AdapterId(id),
        name: format!("{id}"),
        origin,
        model_sha256: "m".into(),
    }
}

fn listed(ids: &[u64]) -> Event {
    let adapter = |id: &u64| AdapterSummary {
        id: AdapterId(*id),
        name: format!("{id}"),
        origin: AdapterOrigin::File,
        spec: AdapterSpec::default(),
        trainable_parameters: 1,
        exports: Vec::new(),
        scored_on: Vec::new(),
        merge_refusal: None,
        blend_refusal: None,
    };
    let list = AdapterList {
        adapters: ids.iter().map(adapter).collect(),
        active: ids.last().map(|id| AdapterId(*id)),
    };
    Event::Adapters { list }
}

#[test]
fn leaving_asks_while_a_run_goes_on_or_an_adapter_was_not_downloaded() {
    let mut state = training();
    assert!(state.has_unsaved());
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary: summary(RunOutcome::Stopped),
    });
    assert!(
        !state.has_unsaved(),
        "no copy came: there is nothing to lose"
    );
    state.adapter_kept(&copy(1, AdapterOrigin::Run(RunId(1))));
    state.adapter_kept(&copy(2, AdapterOrigin::File));
    let parts = vec![(AdapterId(1), 0.5), (AdapterId(2), 0.5)];
    state.adapter_kept(&copy(3, AdapterOrigin::Blend(parts)));
    assert_eq!(state.unsaved.len(), 2, "what came from a file is there");
    state.adapter_settled(AdapterId(1));
    assert!(state.has_unsaved());
    state.adapter_settled(AdapterId(3));
    assert!(!state.has_unsaved());
}

#[test]
fn each_adapter_of_several_has_its_own_message() {
    let mut state = loaded();
    state.begin_adapters(vec!["checkpoint-1".into(), "checkpoint-2".into()]);
    let failure = Failure::new(FailureKind::Adapter, "it does not fit").at("lora_A");
    state.apply(Event::Failed { failure });
    state.apply(listed(&[1]));
    let told: Vec<_> = state.notices.iter().map(|n| &n.failure.place).collect();
    assert_eq!(told, [&Some("checkpoint-1: lora_A".to_owned())]);
    // What is done later makes it old.
    state.apply(listed(&[1]));
    assert!(state.notices.is_empty());
    // Both fail: both are told.
    state.begin_adapters(vec!["a".into(), "b".into()]);
    for _ in 0..2 {
        let failure = Failure::new(FailureKind::Adapter, "no");
        state.apply(Event::Failed { failure });
    }
    assert_eq!(state.notices.len(), 2);
    assert!(state.notices.iter().all(|notice| notice.step == Step::Try));
    // One alone is known by what it says.
    state.begin_adapters(vec!["a".into()]);
    let failure = Failure::new(FailureKind::WrongState, "No model is loaded.");
    state.apply(Event::Failed { failure });
    assert_eq!(state.notices.len(), 1);
    assert_eq!(state.notices[0].failure.place, None);
    assert_eq!(state.notices[0].step, Step::Try);
}

/// A plan of what the form asks for.
fn planned(form: &Form) -> PlanSummary {
    PlanSummary {
        spec: form.run_spec().unwrap(),
        num_steps: 5,
        steps_per_epoch: 5,
        trainable_parameters: 5,
        estimated_memory_bytes: 5,
        estimated_secs: Some(5.0),
        warnings: Vec::new(),
    }
}

fn ready(form: &Form) -> State {
    let mut state = loaded();
    state.form_changed(form.run_spec());
    let dataset = PreparedSummary {
        spec: form.data_spec().unwrap(),
        ..PreparedSummary::default()
    };
    state.apply(Event::DatasetPrepared { dataset });
    state.apply(Event::Planned {
        plan: planned(form),
    });
    state
}

#[test]
fn a_plan_is_gone_as_soon_as_the_form_says_something_else() {
    let mut form = Form::default();
    let mut state = ready(&form);
    assert!(state.present_plan().is_some());
    let old = planned(&form);
    form.set(Field::named("per_device_train_batch_size"), "2");
    state.form_changed(form.run_spec());
    assert_eq!((state.present_plan(), &state.plan), (None, &None));
    state.apply(Event::Planned { plan: old });
    assert_eq!(state.present_plan(), None, "it comes too late");
    state.apply(Event::Planned {
        plan: planned(&form),
    });
    assert!(state.present_plan().is_some());
    form.set(Field::named("learning_rate"), "fast");
    state.form_changed(form.run_spec());
    assert_eq!(state.present_plan(), None);
    state.apply(Event::ModelLoaded {
        model: super::events::model("n"),
    });
    assert_eq!(state.plan, None);
}

#[test]
fn a_run_that_goes_on_with_an_adapter_has_that_ones_form_in_its_plan() {
    let mut form = Form::default();
    form.settings.run.initial_adapter = Some(AdapterId(1));
    let mut state = ready(&form);
    let mut plan = planned(&form);
    plan.spec.adapter.r = 64;
    state.apply(Event::Planned { plan: plan.clone() });
    assert!(state.present_plan().is_some());
    plan.spec.adapter.lora_dropout = 0.5;
    state.apply(Event::Planned { plan });
    assert_eq!(state.present_plan(), None);
}

#[test]
fn nobody_is_told_to_start_while_a_field_cannot_be_read() {
    let mut form = Form::default();
    let mut state = ready(&form);
    assert_eq!(
        status(&state).text(),
        "Ready — 3 rows, start training when you like"
    );
    for (field, text) in [
        (Field::named("learning_rate"), "fast"),
        (Field::named("r"), "0"),
        (Field::named("validation_split"), "-1"),
    ] {
        let mut form = form.clone();
        form.set(field, text);
        state.form_changed(form.run_spec());
        let told = status(&state).text();
        let named = format!("Ready — 3 rows, correct the field {} first", field.label());
        assert_eq!(told, named);
    }
    form.set(Field::named("r"), "200");
    state.form_changed(form.run_spec());
    state.apply(Event::Failed {
        failure: Failure::new(FailureKind::Settings, "Rank: too much"),
    });
    assert_eq!(
        status(&state).text(),
        "Ready — 3 rows, the settings are not valid yet, see Train"
    );
}
