//! Compares the tiny models with the golden files, both natively and in the browser.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use engine::{
    adapter::AdapterForm,
    data::{TokenSequence, batch::Batch},
    device::DeviceProfile,
    layers::block::KeyValueCache,
    model::Model,
    pacing::Pacing,
    plan::schedule::Schedule,
    tensor::read_all,
    train::{state::TrainingState, step::evaluate},
    weights::checkpoint::{ModelFiles, NamedSource, open},
};
use protocol::{AdapterSpec, DeviceKind, Method, Precision, RunSpec};
use serde::Deserialize;

use super::{
    adapter::named_ranges,
    file,
    fixture::{self, Recipe, Row, Step, assert_near, assert_near_relative, assert_share, run_spec},
    host::ScriptedHost,
};

/// The adapters of every method under `fixtures/adapters`, and the model of each.
pub const ADAPTERS: [(&str, &str); 20] = [
    ("lora", "odd"),
    ("rs_lora", "odd"),
    ("dora", "odd"),
    ("lora_plus", "odd"),
    ("pissa", "odd"),
    ("olora", "odd"),
    ("vera", "odd"),
    ("ia3", "odd"),
    ("ln_tuning", "odd"),
    ("prompt_tuning", "odd"),
    ("prompt_tuning.tied", "tiny"),
    ("lora.head", "tiny"),
    ("dora.head", "odd"),
    ("ia3.mixed", "tiny"),
    ("lora.mixed", "tiny"),
    ("dora.mixed", "tiny"),
    ("lora.qwen2", "qwen2"),
    ("dora.qwen2", "qwen2"),
    ("ia3.qwen2", "qwen2"),
    ("lora.qwen3", "qwen3"),
];

/// What the tests of a build run on.
pub fn profile() -> DeviceProfile {
    DeviceProfile::new(if cfg!(feature = "gpu") {
        DeviceKind::WebGpu
    } else {
        DeviceKind::Cpu
    })
}

/// How much a device may differ.
#[derive(Debug, Clone, Copy)]
pub struct Tolerances {
    /// The tolerance of hidden states and logits.
    pub forward: f64,
    /// The relative tolerance of a loss.
    pub loss: f64,
    /// The tolerance of the elements of an adapter tensor's gradient, relative to its largest element.
    pub gradient: f64,
    /// The relative tolerance of the losses and gradient norms of a curve.
    pub curve: f64,
    /// The tolerance of the adapter after the curve.
    pub parameters: f64,
}

/// The tolerances that plain f32 arithmetic meets.
pub const EXACT: Tolerances = Tolerances {
    forward: 1e-4,
    loss: 1e-5,
    gradient: 1e-3,
    curve: 1e-4,
    parameters: 1e-4,
};

#[derive(Deserialize)]
struct Forward {
    rows: Vec<Row>,
    loss: f64,
    scored_tokens: usize,
}

#[derive(Deserialize)]
struct Training {
    #[serde(alias = "lora")]
    adapter: AdapterSpec,
    recipe: Recipe,
    loss: f64,
    grad_norm: f64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Batches {
    /// Steps, micro-batches, rows.
    batches: Vec<Vec<Vec<Row>>>,
}

/// The files of one of the committed models: `tiny` and `odd`, which are Llamas, and one of every other family.
pub async fn files(name: &str) -> ModelFiles {
    open(sources(name)).await.unwrap()
}

/// Its files, unopened.
pub fn sources(name: &str) -> Vec<NamedSource> {
    let files = ["config.json", "model.safetensors", "tokenizer.json"].map(|file| NamedSource {
        name: file.to_owned(),
        source: Box::new(file::bytes(&format!("model/{name}/{file}"))),
    });
    files.into()
}

/// One of the committed models.
pub async fn model(name: &str, device: &Device) -> Model {
    let files = files(name).await;
    Model::load(&files, device, async |_| ()).await.unwrap()
}

/// Checks every hidden state, the logits and the loss; returns the largest error of the logits.
pub async fn check_forward(name: &str, device: &Device, tolerances: Tolerances) -> f64 {
    let model = model(name, device).await;
    let golden: Forward = fixture::json(&format!("model/{name}.forward.json"));
    let tensors = fixture::tensors(&format!("model/{name}.forward.safetensors"));
    let batch = fixture::batch(&golden.rows);
    assert_ne!(batch.lengths[0], batch.lengths[1], "a row must be padded");
    let check = async |tensor: &str, actual: Tensor<2>| {
        let what = format!("{name} {tensor}");
        let actual = read_all(actual).await.unwrap();
        assert_rows_near(&what, &batch, &actual, &tensors[tensor], tolerances.forward)
    };

    let context = model.context(&batch, None, Precision::Single);
    let mut hidden = model.embed(&batch.ids, None);
    check("hidden.embed", hidden.clone()).await;
    for block in &model.blocks {
        hidden = block.forward(hidden, None, &context, None);
        check(&format!("hidden.layer.{}", block.index), hidden.clone()).await;
    }
    let normed = model.final_norm(hidden, None);
    check("hidden.norm", normed.clone()).await;
    let error = check("logits", model.head().forward(normed, None)).await;

    assert_eq!(batch.num_scored(), golden.scored_tokens);
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let loss = evaluate(&model, None, &batch, Precision::Single, &pacing)
        .await
        .unwrap()
        / batch.num_scored() as f64;
    assert_share(
        &format!("{name}'s loss"),
        loss,
        golden.loss,
        tolerances.loss,
    );
    error
}

/// Compares what is not padding; `golden` may be padded further than the batch.
fn assert_rows_near(
    what: &str,
    batch: &Batch,
    actual: &[f32],
    golden: &[f32],
    tolerance: f64,
) -> f64 {
    let width = actual.len() / (batch.b * batch.t);
    let padded = golden.len() / (batch.b * width);
    let mut largest = 0.0f64;
    for (row, &len) in batch.lengths.iter().enumerate() {
        let expected = &golden[row * padded * width..][..len * width];
        let actual = &actual[row * batch.t * width..][..len * width];
        let what = format!("{what}, row {row}");
        largest = largest.max(assert_near(&what, actual, expected, tolerance));
    }
    largest
}

/// The largest errors found, relative to the golden values.
#[derive(Debug, Clone, Copy)]
pub struct TrainingErrors {
    pub gradient: f64,
    pub curve: f64,
}

/// Checks the first gradient of every adapter tensor, the steps of a run, and the adapter after them.
pub async fn check_training(
    name: &str,
    variant: &str,
    device: &Device,
    tolerances: Tolerances,
) -> TrainingErrors {
    let path = format!("train/{name}.{variant}");
    check_adapter(name, &path, device, tolerances).await.0
}

/// Like [`check_training`], with the golden files of any method at `path`. Also returns the trained state.
pub async fn check_adapter(
    name: &str,
    path: &str,
    device: &Device,
    tolerances: Tolerances,
) -> (TrainingErrors, Model, TrainingState) {
    let model = model(name, device).await;
    let golden: Training = fixture::json(&format!("{path}.json"));
    let tensors = fixture::tensors(&format!("{path}.safetensors"));
    let spec = run_spec(&golden.adapter, &golden.recipe);
    let mut state = TrainingState::start(&spec, &model, profile())
        .await
        .unwrap();
    if matches!(spec.adapter.method, Method::Pissa | Method::Olora) {
        check_start(&state, &tensors);
    }
    let projection = ["base_model.vera_A", "base_model.vera_B"];
    if let [Some(a), Some(b)] = projection.map(|name| tensors.get(&format!("fixed.{name}"))) {
        let shared = vec![a.clone(), b.clone()];
        let with_shared = AdapterForm::with_shared(&spec.adapter, shared, &model).await;
        state.form = with_shared.unwrap().0;
    }
    for (name, range) in named_ranges(&state.form.layout) {
        state.parameters[range].copy_from_slice(&tensors[&format!("init.{name}")]);
    }
    let Forward { rows, .. } = fixture::json(&format!("model/{name}.forward.json"));
    // The gradient is the same whether blocks keep what their backward needs or are recomputed, and whether rows are
    // packed or padded.
    let mut gradient = 0.0f64;
    for batch in [fixture::batch(&rows), fixture::packed(&rows)] {
        for kept_bytes in [0, profile().activation_budget_bytes] {
            let mut start = state.clone();
            start.device.activation_budget_bytes = kept_bytes;
            let batch = batch.clone();
            let error =
                check_gradient(&model, batch, &golden, &tensors, &mut start, tolerances).await;
            gradient = gradient.max(error);
        }
    }

    let Batches { batches } = fixture::json(&format!("train/{name}.batches.json"));
    let steps: Vec<&[Vec<Row>]> = (0..golden.steps.len())
        .map(|step| batches[step % batches.len()].as_slice())
        .collect();
    let curve = check_steps(
        &model,
        &spec,
        &mut state,
        &steps,
        &golden.steps,
        tolerances.curve,
    )
    .await;
    for (name, range) in named_ranges(&state.form.layout) {
        let expected = &tensors[&format!("final.{name}")];
        assert_near(
            &name,
            &state.parameters[range],
            expected,
            tolerances.parameters,
        );
    }
    (TrainingErrors { gradient, curve }, model, state)
}

/// For an initialization computed from the base: `B A` matches PEFT's, whatever the signs of their vectors.
fn check_start(state: &TrainingState, tensors: &BTreeMap<String, Vec<f32>>) {
    let layout = &state.form.layout;
    for (_, _, slots) in layout.modules() {
        let [r, cols] = slots[0].shape;
        let ours = slots
            .iter()
            .map(|slot| &state.parameters[slot.range.clone()]);
        let names = slots.iter().map(|slot| slot.name(layout.spec.method));
        let theirs = names.map(|name| tensors[&format!("init.{name}")].as_slice());
        let [ours, theirs] = [ours.collect::<Vec<_>>(), theirs.collect()].map(|pair| {
            let rows = pair[1].chunks(r);
            let row = |b: &[f32]| -> Vec<f32> {
                let column = |j| b.iter().zip(pair[0].iter().skip(j).step_by(cols));
                let product = |j| column(j).map(|(b, a)| b * a).sum();
                (0..cols).map(product).collect()
            };
            rows.flat_map(row).collect::<Vec<f32>>()
        });
        assert_near_relative("B A at the start", &ours, &theirs, 1e-4);
    }
}

async fn check_gradient(
    model: &Model,
    batch: Batch,
    golden: &Training,
    tensors: &BTreeMap<String, Vec<f32>>,
    state: &mut TrainingState,
    tolerances: Tolerances,
) -> f64 {
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let mean = state.gradient(model, &[batch], &pacing).await.unwrap();
    assert_share("loss", mean.loss, golden.loss, tolerances.loss);
    let norm = norm(&mean.gradients);
    assert_share("gradient norm", norm, golden.grad_norm, tolerances.curve);
    let mut largest = 0.0f64;
    for (name, range) in named_ranges(&state.form.layout) {
        let expected = &tensors[&format!("grad.{name}")];
        let gradient = &mean.gradients[range];
        let error = assert_near_relative(&name, gradient, expected, tolerances.gradient);
        largest = largest.max(error);
    }
    largest
}

/// Compares loss, gradient and evaluation of packed rows with those of the same rows padded, for an adapter away from
/// its initialization; returns the largest difference of a gradient, relative to the largest element.
pub async fn check_packing(model: &Model, state: &TrainingState, rows: &[TokenSequence]) -> f64 {
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let rows: Vec<&TokenSequence> = rows.iter().collect();
    let (packed, padded) = (Batch::packed(&rows), Batch::new(&rows));
    assert!(packed.t < padded.b * padded.t, "no row is padded");
    let gradient = async |batch: &Batch| {
        let batches = std::slice::from_ref(batch);
        let mut state = state.clone();
        state.gradient(model, batches, &pacing).await.unwrap()
    };
    let (actual, expected) = (gradient(&packed).await, gradient(&padded).await);
    assert_eq!(actual.scored_tokens, expected.scored_tokens);
    assert_share("loss", actual.loss, expected.loss, 1e-4);
    let adapter = state.upload(model);
    let loss = async |batch: &Batch| {
        let loss = evaluate(model, Some(&adapter), batch, Precision::Single, &pacing).await;
        loss.unwrap()
    };
    let (of_packed, of_padded) = (loss(&packed).await, loss(&padded).await);
    assert_share("loss without a gradient", of_packed, of_padded, 1e-4);
    assert_near_relative("gradient", &actual.gradients, &expected.gradients, 1e-4)
}

/// Takes the golden steps, each on its micro-batches, and compares the numbers of each. Returns the largest error of a
/// loss.
pub async fn check_steps(
    model: &Model,
    spec: &RunSpec,
    state: &mut TrainingState,
    steps: &[&[Vec<Row>]],
    goldens: &[Step],
    tolerance: f64,
) -> f64 {
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let schedule = Schedule::new(spec, spec.max_steps);
    assert!(goldens.len() <= steps.len() && goldens.len() as u64 <= spec.max_steps);
    let mut largest = 0.0f64;
    for (micro_batches, golden) in steps.iter().zip(goldens) {
        let batches: Vec<_> = micro_batches
            .iter()
            .map(|rows| fixture::batch(rows))
            .collect();
        let rate = schedule.learning_rate_at(golden.step);
        let told = state.step(model, &batches, rate, &pacing).await.unwrap();
        let what = |of: &str| format!("{of} of step {}", golden.step);
        assert!(
            (rate - golden.learning_rate).abs() < 1e-12,
            "{}",
            what("rate")
        );
        assert_eq!(told.scored_tokens, golden.scored_tokens);
        let error = assert_share(&what("loss"), told.loss, golden.loss, tolerance);
        largest = largest.max(error);
        assert_share(&what("norm"), told.grad_norm, golden.grad_norm, tolerance);
    }
    largest
}

/// Logits at every position of one row, without a cache.
pub async fn logits(model: &Model, ids: &[u32]) -> Vec<Vec<f32>> {
    let context = model.row_context(ids.len(), 0, Precision::Single);
    let mut hidden = model.embed(ids, None);
    for block in &model.blocks {
        hidden = block.forward(hidden, None, &context, None);
    }
    let logits = model.head().forward(model.final_norm(hidden, None), None);
    let logits = read_all(logits).await.unwrap();
    logits
        .chunks(model.config.vocab_size)
        .map(<[f32]>::to_vec)
        .collect()
}

/// The most likely tokens in sequence, using a cache.
pub async fn continued(model: &Model, prompt: &[u32], num_tokens: usize) -> Vec<u32> {
    let mut cache = vec![KeyValueCache::default(); model.blocks.len()];
    let (mut past, mut next, mut written) = (0, prompt.to_vec(), Vec::new());
    while written.len() < num_tokens {
        let logits = model.next_logits(&next, past, None, Precision::Single, &mut cache);
        past += next.len();
        next = vec![likeliest(&read_all(logits).await.unwrap())];
        written.push(next[0]);
    }
    written
}

pub fn likeliest(logits: &[f32]) -> u32 {
    let best = (0u32..).zip(logits).max_by(|(_, a), (_, b)| a.total_cmp(b));
    best.unwrap().0
}

/// The L2 norm.
pub fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&value| f64::from(value).powi(2))
        .sum::<f64>()
        .sqrt()
}
