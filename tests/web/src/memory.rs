//! A long run takes no more memory than a short one.

use std::cell::Cell;

use burn::tensor::Device;
use engine::{
    data::TokenSequence,
    plan::{MemoryEstimate, RunPlan},
    surroundings::{Cancel, Clock, Observer},
    train::session::{TrainingInput, train},
};
use protocol::{RunOutcome, RunSpec, StepMetrics, StepSpan};
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

use crate::{
    common::{counting::Counting, golden},
    device::{device, random},
    reference::Random,
};

const NUM_STEPS: u64 = 1_000;
/// By then every shape was seen, every evaluation done once and every pool filled.
const SETTLED_AT: u64 = 100;
const EVAL_STEPS: u64 = 40;
/// The log of the steps is meant to grow, by doubling. Compared with a real model it is negligible.
const LOG_BYTES: u64 = 2 * NUM_STEPS * size_of::<StepSpan>() as u64;
/// While it doubles, its old half is there too, and a module's memory grows by whole pages and never shrinks.
const LOG_PAGES: u64 = LOG_BYTES / 2 * 3 + (64 << 10);

#[global_allocator]
static ALLOCATOR: Counting = Counting::OF_ALL;

/// Bytes held at one moment.
#[derive(Clone, Copy)]
struct Reading {
    /// The size of the module's memory; it never shrinks.
    wasm: u64,
    /// How much of it the allocator has handed out.
    heap: u64,
    /// Memory in use and reserved, if the device has its own memory.
    device: Option<[u64; 2]>,
}

/// Reads the memory after two of the steps, and keeps nothing else.
struct Meter {
    device: Device,
    settled: Cell<Option<Reading>>,
    last: Cell<Option<Reading>>,
}

impl Meter {
    fn read(&self) -> Reading {
        let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().into();
        let buffer: js_sys::ArrayBuffer = memory.buffer().into();
        let usage = self.device.memory_pool_usage();
        Reading {
            wasm: u64::from(buffer.byte_length()),
            heap: ALLOCATOR.live_bytes() as u64,
            device: usage.map(|usage| [usage.bytes_in_use, usage.bytes_reserved]),
        }
    }
}

impl Observer for Meter {
    fn stepped(&self, step: StepMetrics) {
        match step.step {
            SETTLED_AT => self.settled.set(Some(self.read())),
            NUM_STEPS => self.last.set(Some(self.read())),
            _ => {}
        }
    }
}

impl Cancel for Meter {}

impl Clock for Meter {
    fn now_millis(&self) -> f64 {
        js_sys::Date::now()
    }
}

/// Rows of 2 to 13 tokens, so that the shape of a batch changes from step to step.
fn sequences(random: &mut Random, num_rows: usize) -> Vec<TokenSequence> {
    (0..num_rows)
        .map(|row| {
            let len = random.size(2..14);
            TokenSequence {
                row,
                ids: (0..len).map(|_| random.size(3..320) as u32).collect(),
                loss_mask: (0..len).map(|index| index > 0).collect(),
            }
        })
        .collect()
}

#[wasm_bindgen_test]
async fn a_thousand_steps_take_no_more_memory_than_a_hundred() {
    let device = device().await;
    let mut model = golden::model("odd", &device).await;
    // One block goes the same ways as many.
    model.blocks.truncate(1);
    model.config.num_hidden_layers = 1;
    let mut random = random();
    let (rows, held_out) = (sequences(&mut random, 12), sequences(&mut random, 2));
    let spec = RunSpec {
        per_device_train_batch_size: 1,
        ..RunSpec::default()
    };
    let plan = RunPlan {
        spec,
        num_steps: NUM_STEPS,
        steps_per_epoch: 12,
        eval_steps: EVAL_STEPS,
        trainable_parameters: 0,
        device: golden::profile(),
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
    let meter = Meter {
        device: device.clone(),
        settled: Cell::new(None),
        last: Cell::new(None),
    };
    let result = train(input, &meter).await;
    assert_eq!(result.summary.outcome, RunOutcome::Finished);
    assert_eq!(result.steps.num_steps(), NUM_STEPS);
    let (settled, last) = (meter.settled.get().unwrap(), meter.last.get().unwrap());
    let mut kinds = vec![
        ("wasm memory", settled.wasm, last.wasm, LOG_PAGES),
        ("heap in use", settled.heap, last.heap, LOG_BYTES),
    ];
    if let (Some(settled), Some(last)) = (settled.device, last.device) {
        kinds.push(("device memory in use", settled[0], last[0], 0));
        kinds.push(("device memory reserved", settled[1], last[1], 0));
    }
    for (kind, before, after, _) in &kinds {
        console_log!("{kind}: {before} after step {SETTLED_AT}, {after} after step {NUM_STEPS}");
    }
    for (kind, before, after, log) in kinds {
        let growth = after.saturating_sub(before);
        assert!(
            growth < before / 100 + log,
            "{kind} grew from {before} to {after}"
        );
    }
}
