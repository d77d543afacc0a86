//! Measures the peak memory of a step, by tokens and by blocks, and that of loading an adapter's zip. A separate test program, since
//! it counts all allocations; for the same reason one test runs at a time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use burn::tensor::Device;
use engine::{
    adapter::{AdapterForm, ModelShape},
    data::{TokenSequence, batch::Batch},
    export::adapter_files,
    import::AdapterFiles,
    layers::block::Block,
    model::Model,
    pacing::Pacing,
    train::state::TrainingState,
    weights::checkpoint::NamedSource,
};
use futures_executor::block_on;
use protocol::{AdapterSpec, RunSpec, TargetModule};
use zip::{CompressionMethod, write::SimpleFileOptions};

use common::{
    golden,
    host::ScriptedHost,
    random::Random,
    zipped::{deflated, packed, shared},
};
use counting::{Counting, allowed};

#[allow(dead_code, reason = "the other tests use more of it")]
mod common;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/counting.rs"]
mod counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting::OF_ALL;

/// The tiny model with as many blocks, which share their weights: what a block adds is what a step holds of it.
fn model_of(layers: usize) -> Model {
    let mut model = block_on(golden::model("tiny", &Device::flex()));
    let first = model.blocks[0].clone();
    let block = |index| Block {
        index,
        ..first.clone()
    };
    model.blocks = (0..layers).map(block).collect();
    model.config.num_hidden_layers = layers;
    model
}

fn spec() -> RunSpec {
    RunSpec {
        adapter: AdapterSpec {
            r: 4,
            target_modules: TargetModule::ALL.to_vec(),
            ..AdapterSpec::default()
        },
        ..RunSpec::default()
    }
}

/// Bytes of the adapter's parameters.
fn adapter_bytes(model: &Model) -> usize {
    4 * block_on(TrainingState::start(&spec(), model, golden::profile()))
        .unwrap()
        .parameters
        .len()
}

/// The peak memory of a step beyond what was allocated before; blocks keep nothing beyond their inputs.
fn peak_of_step(model: &Model, tokens: usize) -> usize {
    let sequence = TokenSequence {
        row: 0,
        ids: (0..tokens).map(|index| 3 + index as u32 % 300).collect(),
        loss_mask: (0..tokens).map(|index| index > 0).collect(),
    };
    let batch = [Batch::new(&[&sequence])];
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let mut state = block_on(TrainingState::start(&spec(), model, golden::profile())).unwrap();
    state.device.activation_budget_bytes = 0;
    let mut step = || block_on(state.step(model, &batch, 1e-3, &pacing)).unwrap();
    // The first step allocates what stays.
    step();
    ALLOCATOR.measured(step).1
}

#[test]
fn an_adapters_zip_takes_four_times_its_size_and_64_mb() {
    let _guard = ALLOCATOR.alone();
    let model = block_on(golden::model("tiny", &Device::flex()));
    let shape = ModelShape::from(&model.config);
    let spec = AdapterSpec {
        r: 3000,
        target_modules: TargetModule::ALL.to_vec(),
        ..AdapterSpec::default()
    };
    let (form, mut parameters) = block_on(AdapterForm::start(&spec, &model, 3)).unwrap();
    let open = |what: &str, zip: Vec<u8>| {
        let (num_bytes, name) = (zip.len(), "lora.zip".to_owned());
        let source = Box::new(zip);
        let start = Instant::now();
        let files = vec![NamedSource { name, source }];
        // The zip itself is a file in the browser.
        let (opened, used) = ALLOCATOR.measured(|| block_on(AdapterFiles::open(files, &shape)));
        let (is_taken, time) = (opened.is_ok(), start.elapsed());
        let allowed = allowed(num_bytes);
        println!("{what}: {num_bytes} bytes took {used} of {allowed} in {time:.1?}, {is_taken}");
        assert!(used <= allowed, "{what}: {used} bytes of {allowed}");
        is_taken
    };
    let mut files = |change: &mut dyn FnMut(&mut f32)| {
        parameters.iter_mut().for_each(change);
        let tensors = form.tensors(&parameters);
        adapter_files(&spec, &shape, "base", &tensors).unwrap()
    };
    let mut random = Random::new();
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let [weights, config] = files(&mut |value| *value = random.unit());
    let both = [
        ("a/adapter_config.json", config.1.as_slice()),
        ("a/adapter_model.safetensors", &weights.1),
    ];
    assert!(open("random", deflated(&both)));
    assert!(open("random, stored", packed(&both, stored)));
    let one = packed(&both[1..], stored);
    assert!(!open("a thousand of one", shared(&one, 1000)));
    // Half zeros, as `B` is before any step; and of zeros alone, which shrink to nothing.
    let mut is_zero = false;
    let [weights, _] = files(&mut |value| {
        is_zero = !is_zero;
        *value = if is_zero { 0.0 } else { random.unit() };
    });
    let both = [
        ("adapter_config.json", config.1.as_slice()),
        ("adapter_model.safetensors", &weights.1),
    ];
    assert!(open("half zeros", deflated(&both)));
    let [weights, _] = files(&mut |value| *value = 0.0);
    let both = [
        ("adapter_config.json", config.1.as_slice()),
        ("adapter_model.safetensors", &weights.1),
    ];
    assert!(!open("zeros", deflated(&both)));
}

#[test]
fn a_step_grows_with_its_tokens_and_by_one_activation_a_block() {
    let _guard = ALLOCATOR.alone();
    let model = model_of(3);
    let [short, middle, long] = [512, 1024, 2048].map(|tokens| peak_of_step(&model, tokens));
    println!("3 blocks: {short} bytes for 512 tokens, {middle} for 1024, {long} for 2048");
    // With a score for every pair of tokens, this ratio would approach four.
    let growth = (long - middle) as f64 / (middle - short) as f64;
    assert!(
        growth < 2.1,
        "twice the tokens: {growth:.2} times the growth"
    );

    const TOKENS: usize = 1024;
    let activation = 4 * TOKENS * model.config.hidden_size;
    let [few, many] = [4, 12].map(|layers| {
        let model = model_of(layers);
        (peak_of_step(&model, TOKENS), adapter_bytes(&model))
    });
    let added = (many.0 - few.0) / 8;
    // Besides: the adapter on the device, its gradients there and here, and what the optimizer had before.
    let adapter = 4 * (many.1 - few.1) / 8;
    println!("a block more: {added} bytes, of which an activation {activation}");
    assert!(
        (activation..activation + adapter + activation / 20).contains(&added),
        "a block more takes {added} bytes; an activation is {activation}, its adapter's part {adapter}"
    );
}
