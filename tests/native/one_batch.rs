//! Tests the first step by itself: its losses, and that it leaves no traces.

use engine::{
    data::{
        TokenSequence,
        batch::{Batch, BatchSchedule},
    },
    model::Model,
    pacing::{Interruption, Pacing},
    plan::{MemoryEstimate, RunPlan},
    surroundings::Control,
    train::{
        error::TrainError,
        non_finite::NonFinite,
        one_batch::{self, OneBatch},
        state::TrainingState,
        step::evaluate,
    },
    workbench::Workbench,
};
use formats::{
    row::{Example, Row},
    row_file::{RowFacts, StoredRow},
};
use futures_executor::block_on;
use protocol::{
    AdapterId, AdapterSpec, BatchPreview, BatchToken, Command, DatasetSummary, Event, ExportKind,
    FailureKind, Precision, RunId, RunSpec, StepMetrics, TargetModule,
};

use crate::common::{
    fixture::{self, assert_near, assert_share},
    golden,
    host::{RUN, ScriptedHost},
    load,
    random::Random,
    workbench::{self, load_model, load_rows},
};

fn plan(spec: &RunSpec) -> RunPlan {
    RunPlan {
        spec: spec.clone(),
        num_steps: 10,
        steps_per_epoch: 10,
        eval_steps: 10,
        trainable_parameters: 0,
        device: golden::profile(),
        memory: MemoryEstimate::default(),
        warnings: Vec::new(),
    }
}

fn step(
    spec: &RunSpec,
    model: &Model,
    train: &[TokenSequence],
    host: &ScriptedHost,
) -> Result<OneBatch, Interruption<TrainError>> {
    block_on(one_batch::step(&plan(spec), model, None, train, host))
}

/// Negative log-likelihood of every scored token, in f64 from golden logits `[rows, padded, v]`.
fn losses_of_logits(rows: &[fixture::Row], logits: &[f32], vocab_size: usize) -> Vec<Vec<f32>> {
    let padded = logits.len() / rows.len() / vocab_size;
    let of_row = |(row, golden): (&fixture::Row, &[f32])| {
        let positions = (1..row.ids.len()).filter(|&at| row.loss_mask[at] != 0);
        let loss = |at: usize| {
            let logits = &golden[(at - 1) * vocab_size..at * vocab_size];
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            (sum.ln() - f64::from(logits[row.ids[at] as usize])) as f32
        };
        positions.map(loss).collect()
    };
    let goldens = logits.chunks(padded * vocab_size);
    rows.iter().zip(goldens).map(of_row).collect()
}

#[derive(serde::Deserialize)]
struct Forward {
    rows: Vec<fixture::Row>,
    loss: f64,
}

#[test]
fn losses_of_tokens_are_those_of_transformers() {
    for name in ["tiny", "odd"] {
        let model = load::fixture_model(name);
        let golden: Forward = fixture::json(&format!("model/{name}.forward.json"));
        let tensors = fixture::tensors(&format!("model/{name}.forward.safetensors"));
        let expected = losses_of_logits(&golden.rows, &tensors["logits"], model.config.vocab_size);
        let train: Vec<TokenSequence> = (golden.rows.iter().enumerate())
            .map(|(row, golden)| TokenSequence {
                row,
                ..golden.sequence()
            })
            .collect();
        for (packing, batch_size) in [(false, 2), (false, 1), (true, 1), (true, 2)] {
            let spec = RunSpec {
                packing,
                per_device_train_batch_size: batch_size,
                gradient_accumulation_steps: 2,
                ..RunSpec::default()
            };
            let stepped = step(&spec, &model, &train, &ScriptedHost::default()).unwrap();
            let what = format!("{name}, packed: {packing}, {batch_size} rows");
            assert_share(&what, stepped.loss_before(), golden.loss, 1e-5);
            let rows = stepped.micro_batches.iter().flat_map(|batch| &batch.rows);
            let expected: Vec<f32> = rows.flat_map(|&row| expected[row].clone()).collect();
            assert_near(&what, &stepped.losses.concat(), &expected, 1e-4);
        }
    }
}

#[test]
fn the_step_is_that_of_the_run() {
    let mut random = Random::new();
    let model = load::fixture_model("odd");
    let train = random.sequences(11);
    for packing in [false, true] {
        let mut spec = RunSpec {
            learning_rate: 5e-3,
            // With a warm-up, the first rate of a run is 0.
            warmup_ratio: 0.5,
            per_device_train_batch_size: 2,
            gradient_accumulation_steps: 2,
            packing,
            seed: random.size(0..1 << 30) as u64,
            ..RunSpec::default()
        };
        spec.data.max_seq_length = 16;
        spec.adapter.lora_dropout = 0.1;
        let host = ScriptedHost::default();
        let stepped = step(&spec, &model, &train, &host).unwrap();
        assert!(host.states().is_empty(), "no run is under way");

        let batches = BatchSchedule::new(&train, &spec).next_step();
        assert_eq!(stepped.micro_batches, batches);
        let pacing = Pacing::new(&host);
        let mean_loss = |state: Option<&TrainingState>| {
            let adapter = state.map(|state| state.upload(&model));
            let loss = |batch: &Batch| {
                block_on(evaluate(
                    &model,
                    adapter.as_ref(),
                    batch,
                    Precision::Single,
                    &pacing,
                ))
                .unwrap()
            };
            batches.iter().map(loss).sum::<f64>() / stepped.num_scored() as f64
        };
        assert_share("loss before", stepped.loss_before(), mean_loss(None), 1e-6);
        let mut state = block_on(TrainingState::start(&spec, &model, golden::profile())).unwrap();
        let told = block_on(state.step(&model, &batches, 5e-3, &pacing)).unwrap();
        assert_eq!(stepped.num_scored(), told.scored_tokens);
        assert_share("gradient norm", stepped.grad_norm, told.grad_norm, 1e-6);
        let after = mean_loss(Some(&state));
        assert_share("loss after", stepped.loss_after, after, 1e-6);
        assert!(stepped.loss_after < stepped.loss_before());
    }
}

#[test]
fn a_stop_is_heard_wherever_the_step_is() {
    let mut random = Random::new();
    let model = load::fixture_model("odd");
    let train = random.sequences(5);
    let spec = RunSpec::default();
    let unstopped = ScriptedHost::default();
    step(&spec, &model, &train, &unstopped).unwrap();
    for at in 1..=unstopped.now() {
        let host = ScriptedHost::new(vec![(at, Control::Stop)]);
        let stopped = step(&spec, &model, &train, &host);
        assert!(matches!(stopped, Err(Interruption::Stopped)), "at {at}");
        assert_eq!(host.now(), at);
    }
}

/// A workbench with the tiny model and rows of text.
fn bench(host: &ScriptedHost, num_rows: usize) -> Workbench<'_> {
    let mut bench = workbench::empty(host);
    load_model(&mut bench, golden::sources("tiny"));
    let stored = |row: usize| StoredRow {
        row: Row {
            row,
            example: Example::Text("what a row says ".repeat(1 + row % 5)),
        },
        facts: RowFacts::default(),
    };
    let rows: Vec<StoredRow> = (0..num_rows).map(stored).collect();
    load_rows(&mut bench, &rows, DatasetSummary::default());
    bench
}

fn spec() -> RunSpec {
    let mut spec = RunSpec {
        adapter: AdapterSpec {
            r: 4,
            target_modules: TargetModule::ALL.to_vec(),
            ..AdapterSpec::default()
        },
        learning_rate: 1e-2,
        max_steps: 3,
        per_device_train_batch_size: 2,
        ..RunSpec::default()
    };
    spec.data.max_seq_length = 64;
    spec
}

fn previews(host: &ScriptedHost) -> Vec<Option<BatchPreview>> {
    let events = host.events.borrow();
    let preview = |(_, event): &(u64, Event)| match event {
        Event::BatchStepped { batch, .. } => Some(batch.clone()),
        _ => None,
    };
    events.iter().filter_map(preview).collect()
}

fn steps(host: &ScriptedHost) -> Vec<StepMetrics> {
    let events = host.events.borrow();
    let steps = |(_, event): &(u64, Event)| match event {
        Event::Steps { steps, .. } => steps.clone(),
        _ => Vec::new(),
    };
    events.iter().flat_map(steps).collect()
}

#[test]
fn the_batch_is_shown_with_its_losses_and_nothing_is_left_of_it() {
    for packing in [false, true] {
        let spec = RunSpec { packing, ..spec() };
        let (untouched, host) = (ScriptedHost::default(), ScriptedHost::default());
        let start = |bench: &mut Workbench<'_>| {
            let (run, spec) = (RunId(2), spec.clone());
            block_on(bench.handle(Command::StartTraining { run, spec }, Vec::new()));
        };
        start(&mut bench(&untouched, 20));

        let mut bench = bench(&host, 20);
        let step = Command::StepOneBatch {
            run: RUN,
            spec: spec.clone(),
        };
        block_on(bench.handle(step, Vec::new()));
        // There is no adapter to export.
        block_on(bench.handle(
            Command::Export {
                adapter: AdapterId(1),
                kind: ExportKind::Peft,
            },
            Vec::new(),
        ));
        let Some((_, Event::Failed { failure })) = host.events.borrow().last().cloned() else {
            panic!("an adapter was kept");
        };
        assert_eq!(failure.kind, FailureKind::WrongState);
        start(&mut bench);
        let curve = |host| -> Vec<[u64; 2]> {
            let steps: Vec<StepMetrics> = steps(host);
            let bits = |step: &StepMetrics| [step.loss.to_bits(), step.grad_norm.to_bits()];
            steps.iter().map(bits).collect()
        };
        assert_eq!(curve(&host).len(), 3);
        assert_eq!(curve(&host), curve(&untouched));

        let [Some(batch)] = &previews(&host)[..] else {
            panic!("not one batch");
        };
        let first = &steps(&host)[0];
        assert_eq!(batch.scored_tokens, first.scored_tokens);
        assert_share("loss", batch.loss_before, first.loss, 1e-5);
        assert_share("gradient norm", batch.grad_norm, first.grad_norm, 1e-5);
        assert!(batch.loss_after < batch.loss_before);
        assert_eq!(batch.learning_rate, 1e-2);
        let tokens: Vec<&BatchToken> = batch.rows.iter().flat_map(|row| &row.tokens).collect();
        assert_eq!(tokens.len() as u64, first.num_tokens);
        let losses: Vec<f32> = tokens.iter().filter_map(|token| token.loss).collect();
        assert_eq!(losses.len() as u64, batch.scored_tokens);
        let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
        assert_share("sum", sum / losses.len() as f64, first.loss, 1e-5);
        assert_eq!(packing, batch.rows.len() > 2);
        for row in &batch.rows {
            // All of a text is learned except its first token, and an end token follows it.
            let text: String = row.tokens.iter().map(|token| &*token.token.text).collect();
            let expected = "what a row says ".repeat(1 + row.row % 5);
            assert!(text.contains(&expected), "row {} is {text:?}", row.row);
            for token in &row.tokens {
                assert_eq!(token.loss.is_some(), token.token.is_trained);
            }
        }
    }
}

#[test]
fn what_cannot_be_trained_is_not_tried() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host, 20);
    let step = |spec| Command::StepOneBatch { run: RUN, spec };
    let refused = RunSpec {
        learning_rate: -1.0,
        ..spec()
    };
    block_on(bench.handle(step(refused), Vec::new()));
    let Some((_, Event::Failed { failure })) = host.events.borrow().last().cloned() else {
        panic!("it was taken");
    };
    assert_eq!(failure.run, Some(RUN));
    assert!(failure.what.contains("earning rate"), "{}", failure.what);
    assert!(previews(&host).is_empty());
}

#[test]
fn a_step_that_explodes_fails() {
    let mut random = Random::new();
    let model = load::fixture_model("odd");
    let spec = RunSpec {
        learning_rate: 1e30,
        ..RunSpec::default()
    };
    let stepped = step(
        &spec,
        &model,
        &random.sequences(5),
        &ScriptedHost::default(),
    );
    let Err(Interruption::Failed(TrainError::NonFinite(at))) = stepped else {
        panic!("its loss after the step is a number");
    };
    assert_eq!(
        (at.what, at.step, at.learned_at),
        (NonFinite::Loss, 1, Some(1e30))
    );
}
