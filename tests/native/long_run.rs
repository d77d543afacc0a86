//! A run of any length takes a fixed amount of memory. A separate test program, since it counts all allocations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};

use burn::tensor::Device;
use engine::{
    device::DeviceProfile,
    host::{Gathering, Host},
    model::Model,
    plan::{MemoryEstimate, RunPlan},
    surroundings::Clock,
    train::session::{TrainingInput, train},
};
use futures_executor::block_on;
use protocol::{
    DeviceKind, EvaluationMetrics, Event, MAX_SPANS, MAX_STRETCHES, RunOutcome, RunSpec, StepSpan,
};

use common::{golden, host::RUN, random::Random};
use counting::Counting;

#[allow(dead_code, reason = "the other tests use more of it")]
mod common;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/counting.rs"]
mod counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting::OF_ALL;

/// The number of steps without `INLAY_DRILLS`: twice as many as are kept one by one.
const NUM_STEPS: u64 = 10_000;
const NUM_DRILL_STEPS: u64 = 250_000;
/// Where memory is read. By the first of them every shape was seen.
const READ_AT: [u64; 3] = [1_000, 100_000, 250_000];
/// Whatever the number of steps, this much of the run is kept: the spans, and two evaluations of each stretch with the
/// stretch's length.
const KEPT_BYTES: usize = MAX_SPANS * size_of::<StepSpan>()
    + MAX_STRETCHES * (2 * size_of::<EvaluationMetrics>() + size_of::<u64>());

/// Reads the memory at some steps, and keeps nothing else.
#[derive(Default)]
struct Meter {
    num_messages: Cell<u64>,
    readings: RefCell<Vec<(u64, isize)>>,
    last: Cell<isize>,
}

impl Host for Meter {
    fn emit(&self, event: Event) {
        self.num_messages.set(self.num_messages.get() + 1);
        if let Event::Steps { steps, .. } = event {
            let mut readings = self.readings.borrow_mut();
            let due = READ_AT.get(readings.len());
            let step = steps.last().unwrap().step;
            drop(steps);
            if due.is_some_and(|due| step >= *due) {
                readings.push((step, ALLOCATOR.live_bytes()));
            }
            self.last.set(ALLOCATOR.live_bytes());
        }
    }

    fn emit_with_bytes(&self, event: Event, _: Vec<u8>) {
        self.emit(event);
    }
}

impl Clock for Meter {
    fn now_millis(&self) -> f64 {
        let start = std::time::UNIX_EPOCH.elapsed().unwrap();
        start.as_secs_f64() * 1000.0
    }
}

/// One block goes the same ways as many.
fn model() -> Model {
    let mut model = block_on(golden::model("odd", &Device::flex()));
    model.blocks.truncate(1);
    model.config.num_hidden_layers = 1;
    model
}

#[test]
fn a_long_run_takes_no_more_memory_than_a_short_one() {
    let is_drill = std::env::var_os("INLAY_DRILLS").is_some();
    let num_steps = if is_drill { NUM_DRILL_STEPS } else { NUM_STEPS };
    let model = model();
    let mut random = Random::new();
    let (rows, held_out) = (random.sequences(12), random.sequences(1));
    let mut spec = RunSpec {
        per_device_train_batch_size: 1,
        learning_rate: 1e-4,
        ..RunSpec::default()
    };
    spec.adapter.r = 1;
    let plan = RunPlan {
        spec,
        num_steps,
        steps_per_epoch: 12,
        eval_steps: 2,
        trainable_parameters: 0,
        device: DeviceProfile::new(DeviceKind::Cpu),
        memory: MemoryEstimate::default(),
        warnings: Vec::new(),
    };
    let input = TrainingInput {
        plan: &plan,
        model: &model,
        initial: None,
        train: &rows,
        validation: &held_out,
    };
    let meter = Meter::default();
    let start = meter.now_millis();
    let gathering = Gathering::new(&meter, RUN);
    let result = block_on(train(input, &gathering));
    gathering.send();
    let secs = (meter.now_millis() - start) / 1000.0;
    assert_eq!(result.summary.outcome, RunOutcome::Finished);
    assert_eq!(result.summary.steps, num_steps);
    assert!(result.steps.spans().len() <= MAX_SPANS);
    let num_evaluations = result.evaluations.iter().count();
    assert!(
        num_evaluations <= 2 * MAX_STRETCHES + 2,
        "{num_evaluations}"
    );
    let messages = meter.num_messages.get();
    println!("{num_steps} steps in {secs:.0} s, told in {messages} messages");
    let readings = meter.readings.borrow();
    for (step, bytes) in readings.iter() {
        println!("{bytes} bytes after step {step}");
    }
    // Twenty times a second, steps, evaluations, a state and a progress.
    let most = 4.0 * (20.0 * secs + 3.0);
    assert!((messages as f64) < most, "{messages} messages in {secs} s");
    let (first, last) = (readings[0].1, meter.last.get());
    println!(
        "{last} bytes at the end, {} at the peak; the run may keep {KEPT_BYTES}",
        ALLOCATOR.peak_bytes()
    );
    // Besides what is kept: the steps of one message.
    let most = first + KEPT_BYTES as isize + (64 << 10);
    assert!(last < most, "{first} bytes after 1,000 steps became {last}");
}
