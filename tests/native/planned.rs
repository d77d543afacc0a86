//! The time that a plan says: there once the device was measured, and what the last run took afterwards.

use std::{fs, sync::LazyLock, time::Instant};

use engine::{weights::checkpoint::NamedSource, workbench::Workbench};
use formats::{
    row::{Example, Row},
    row_file::{RowFacts, StoredRow},
};
use futures_executor::block_on;
use protocol::{Command, DataSpec, DatasetSummary, Event, PlanSummary, RunSpec, StepMetrics};

use crate::common::{
    fetched, golden,
    host::{RUN, ScriptedHost},
    workbench::{self, load_model, load_rows, named},
};

const NUM_ROWS: usize = 24;
const NUM_STEPS: u64 = 4;

/// Rows of different lengths.
fn stored(row: usize) -> StoredRow {
    let words = ["the", "lamp", "is", "on", "table"];
    let text = |length: usize| -> String {
        let words = (0..length).map(|at| words[(row + at) % words.len()]);
        words.collect::<Vec<_>>().join(" ")
    };
    StoredRow {
        row: Row {
            row,
            example: Example::Pair {
                prompt: text(4 + row % 20),
                completion: text(6 + row % 7),
            },
        },
        facts: RowFacts::default(),
    }
}

fn bench(host: &ScriptedHost, model: Vec<NamedSource>) -> Workbench<'_> {
    let mut bench = workbench::empty(host);
    load_model(&mut bench, model);
    let rows: Vec<StoredRow> = (0..NUM_ROWS).map(stored).collect();
    load_rows(&mut bench, &rows, DatasetSummary::default());
    bench
}

fn spec() -> RunSpec {
    RunSpec {
        max_steps: NUM_STEPS,
        eval_steps: NUM_STEPS,
        data: DataSpec {
            max_seq_length: 64,
            validation_split: 0.0,
            ..DataSpec::default()
        },
        ..RunSpec::default()
    }
}

/// What is planned, in the order of telling.
fn plans(bench: &mut Workbench<'_>, host: &ScriptedHost, spec: RunSpec) -> Vec<PlanSummary> {
    host.events.borrow_mut().clear();
    block_on(bench.handle(Command::Plan { spec }, Vec::new()));
    let events = host.events.borrow();
    let plan = |(_, event): &(u64, Event)| match event {
        Event::Planned { plan } => Some(plan.clone()),
        _ => None,
    };
    events.iter().filter_map(plan).collect()
}

fn steps(bench: &mut Workbench<'_>, host: &ScriptedHost, spec: RunSpec) -> Vec<StepMetrics> {
    host.events.borrow_mut().clear();
    let command = Command::StartTraining { run: RUN, spec };
    block_on(bench.handle(command, Vec::new()));
    let events = host.events.borrow();
    let steps = |(_, event): &(u64, Event)| match event {
        Event::Steps { steps, .. } => steps.clone(),
        _ => Vec::new(),
    };
    events.iter().flat_map(steps).collect()
}

/// Seconds of the steps but the first, each.
fn mean_secs(steps: &[StepMetrics]) -> f64 {
    let later = &steps[1..];
    later.iter().map(|step| step.elapsed_millis).sum::<f64>() / 1000.0 / later.len() as f64
}

#[test]
fn a_plan_is_told_at_once_and_again_with_its_time() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host, golden::sources("tiny"));
    let first = plans(&mut bench, &host, spec());
    assert_eq!(first.len(), 2);
    assert_eq!(first[0].estimated_secs, None);
    let measured = first[1].estimated_secs.unwrap();
    assert!(measured > 0.0);
    let without_time = PlanSummary {
        estimated_secs: None,
        ..first[1].clone()
    };
    assert_eq!(first[0], without_time);
    // It is measured once.
    let second = plans(&mut bench, &host, spec());
    assert_eq!(second, first[1..]);
    // Twice the steps take twice the time.
    let longer = RunSpec {
        max_steps: 2 * NUM_STEPS,
        eval_steps: 2 * NUM_STEPS,
        ..spec()
    };
    let longer = plans(&mut bench, &host, longer)[0].estimated_secs.unwrap();
    assert!(
        (longer / measured - 2.0).abs() < 1e-6,
        "{longer} {measured}"
    );

    // After a run it is what that one took, by the clock of the tests.
    let steps = steps(&mut bench, &host, spec());
    let after = plans(&mut bench, &host, spec())[0].estimated_secs.unwrap();
    let taken = mean_secs(&steps) * NUM_STEPS as f64;
    assert!((after / taken - 1.0).abs() < 1e-6, "{after} s, {taken} s");

    // Another model is another matter.
    load_model(&mut bench, golden::sources("odd"));
    assert_eq!(plans(&mut bench, &host, spec()).len(), 2);
}

/// The machine's own clock, in milliseconds.
fn clock() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64() * 1000.0
}

/// On an idle machine it is within a fifth or so; tests share theirs with others.
#[test]
fn the_bundled_models_time_is_about_right() {
    let Some(path) = fetched::bundled_model("the_bundled_models_time_is_about_right") else {
        return;
    };
    let mut host = ScriptedHost::default();
    host.clock = Some(clock);
    let model = named("model.gguf", fs::read(path).unwrap());
    let mut bench = bench(&host, vec![model]);
    let spec = RunSpec {
        per_device_train_batch_size: 1,
        ..spec()
    };
    let planned = plans(&mut bench, &host, spec.clone());
    let reckoned = planned[1].estimated_secs.unwrap() / NUM_STEPS as f64;
    let taken = mean_secs(&steps(&mut bench, &host, spec));
    println!("a step was reckoned to take {reckoned:.2} s and took {taken:.2} s");
    assert!(
        reckoned < 3.0 * taken && taken < 3.0 * reckoned,
        "{reckoned} s reckoned, {taken} s taken"
    );
}
