//! Whole runs on a tiny model: pauses, stops, failures, and which adapter is kept.

use engine::{
    data::{
        TokenSequence,
        batch::{Batch, BatchSchedule},
    },
    kernels::FrozenMatrix,
    model::Model,
    pacing::{Interruption, Pacing},
    plan::{MemoryEstimate, RunPlan},
    surroundings::Control,
    train::{
        session::{TrainingInput, TrainingResult, train},
        state::TrainingState,
        step::evaluate,
    },
    weights::quantized::{QuantizedMatrix, WeightKind},
};
use futures_executor::block_on;
use protocol::{
    EvaluationMetrics, Failure, FailureKind, LayerRange, LrSchedulerType, Method, Precision,
    RunOutcome, RunSpec, RunState, TargetModule,
};

use crate::common::{
    fixture::{assert_near, assert_share},
    golden::{self, check_packing},
    host::ScriptedHost,
    load,
    random::Random,
};

/// A run and its inputs.
struct Bench {
    model: Model,
    train: Vec<TokenSequence>,
    validation: Vec<TokenSequence>,
    spec: RunSpec,
    num_steps: u64,
    eval_steps: u64,
}

impl Bench {
    /// Ten steps over eleven rows, evaluated on four others at every third.
    fn new(random: &mut Random) -> Self {
        let mut spec = RunSpec {
            learning_rate: 5e-3,
            lr_scheduler_type: LrSchedulerType::Constant,
            warmup_ratio: 0.0,
            per_device_train_batch_size: 2,
            gradient_accumulation_steps: 2,
            seed: random.size(0..1 << 30) as u64,
            ..RunSpec::default()
        };
        spec.adapter.r = 3;
        Self {
            model: load::fixture_model("odd"),
            train: random.sequences(11),
            validation: random.sequences(4),
            spec,
            num_steps: 10,
            eval_steps: 3,
        }
    }

    fn start(&self) -> TrainingState {
        let started = TrainingState::start(&self.spec, &self.model, golden::profile());
        block_on(started).unwrap()
    }

    fn run(&self, host: &ScriptedHost) -> TrainingResult {
        let plan = RunPlan {
            spec: self.spec.clone(),
            num_steps: self.num_steps,
            steps_per_epoch: 3,
            eval_steps: self.eval_steps,
            trainable_parameters: 0,
            device: golden::profile(),
            memory: MemoryEstimate::default(),
            warnings: Vec::new(),
        };
        let input = TrainingInput {
            plan: &plan,
            model: &self.model,
            initial: None,
            train: &self.train,
            validation: &self.validation,
        };
        block_on(train(input, host))
    }

    fn run_through(&self) -> TrainingResult {
        let result = self.run(&ScriptedHost::default());
        assert_eq!(result.summary.outcome, RunOutcome::Finished);
        assert_eq!(result.steps.num_steps(), self.num_steps);
        result
    }

    /// The loss of an adapter on the held-out rows, in one batch.
    fn validation_loss(&self, parameters: &[f32]) -> f64 {
        let host = ScriptedHost::default();
        let pacing = Pacing::new(&host);
        let mut state = self.start();
        state.parameters.copy_from_slice(parameters);
        let adapter = state.upload(&self.model);
        let batch = Batch::new(&self.validation.iter().collect::<Vec<_>>());
        let nll_sum = block_on(evaluate(
            &self.model,
            Some(&adapter),
            &batch,
            Precision::Single,
            &pacing,
        ))
        .unwrap();
        nll_sum / batch.num_scored() as f64
    }
}

fn losses(result: &TrainingResult) -> Vec<[u64; 2]> {
    let bits = |loss: f64, norm: f64| [loss.to_bits(), norm.to_bits()];
    let steps = result.steps.spans().iter();
    steps.map(|step| bits(step.loss, step.grad_norm)).collect()
}

#[test]
fn a_paused_run_goes_on_bit_for_bit() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.spec.adapter.lora_dropout = 0.2;
    let unpaused = ScriptedHost::default();
    let expected = bench.run(&unpaused);
    for _ in 0..3 {
        let at = random.size(1..unpaused.now() as usize) as u64;
        let host = ScriptedHost::new(vec![(at, Control::Pause), (at + 7, Control::Run)]);
        let actual = bench.run(&host);
        assert_eq!(host.num_sleeps.get(), 7, "paused at {at}");
        assert_eq!(host.num_yields.get(), unpaused.num_yields.get());
        assert_eq!(losses(&actual), losses(&expected));
        assert_eq!(actual.parameters(), expected.parameters());
        // 7 sleeps of 20 ms are not part of the run's time; the clock's ticks whenever it is read are.
        let lost = actual.summary.elapsed_secs - expected.summary.elapsed_secs;
        assert!(lost.abs() < 0.02, "{lost} s");

        // The pause interrupts what the run was doing, and that is told again after it.
        let mut states = host.states();
        let paused = states
            .iter()
            .position(|&state| state == RunState::Paused)
            .unwrap();
        if paused > 0 {
            assert_eq!(states[paused - 1], states[paused + 1]);
        }
        states.drain(paused..paused + 2);
        assert_eq!(states, unpaused.states());
    }
}

#[test]
fn a_stop_is_heard_at_the_next_block_and_keeps_the_best_adapter() {
    let mut random = Random::new();
    let bench = Bench::new(&mut random);
    let unstopped = ScriptedHost::default();
    let expected = bench.run(&unstopped);
    // Within the eighth step: steps 3 and 6 were evaluated.
    let at = random.size(unstopped.end_of_step(7) as usize + 1..unstopped.end_of_step(8) as usize);
    let host = ScriptedHost::new(vec![(at as u64, Control::Stop)]);
    let result = bench.run(&host);
    assert_eq!(host.now(), at as u64);
    assert_eq!(result.summary.outcome, RunOutcome::Stopped);
    assert_eq!((result.summary.steps, result.failure.as_ref()), (7, None));
    assert_eq!(losses(&result), losses(&expected)[..7]);
    let seen: Vec<EvaluationMetrics> = expected.evaluations.iter().collect();
    let best = seen[1..3]
        .iter()
        .min_by(|a, b| a.loss.total_cmp(&b.loss))
        .unwrap();
    assert_eq!(result.summary.best_step, best.step);
    assert_eq!(result.summary.tuned_validation_loss, Some(best.loss));
    let loss = bench.validation_loss(result.parameters());
    assert_share("loss of the kept adapter", loss, best.loss, 1e-5);
}

#[test]
fn a_stop_before_the_first_evaluation_scores_what_is_there() {
    let mut random = Random::new();
    let bench = Bench::new(&mut random);
    let unstopped = ScriptedHost::default();
    bench.run(&unstopped);
    let host = ScriptedHost::new(vec![(unstopped.end_of_step(2) + 1, Control::Stop)]);
    let result = bench.run(&host);
    assert_eq!((result.summary.steps, result.summary.best_step), (2, 2));
    assert!(result.summary.has_adapter);
    let loss = bench.validation_loss(result.parameters());
    assert_share(
        "loss",
        result.summary.tuned_validation_loss.unwrap(),
        loss,
        1e-5,
    );
}

#[test]
fn a_stop_in_the_first_step_leaves_no_adapter() {
    let mut random = Random::new();
    let bench = Bench::new(&mut random);
    let unstopped = ScriptedHost::default();
    bench.run(&unstopped);
    let at = unstopped.end_of_step(1) - 1;
    let result = bench.run(&ScriptedHost::new(vec![(at, Control::Stop)]));
    assert_eq!(result.summary.outcome, RunOutcome::Stopped);
    assert_eq!(
        (result.summary.steps, result.summary.has_adapter),
        (0, false)
    );
    assert!(result.parameters().is_empty());
    assert!(result.summary.base_validation_loss.is_some());
}

#[test]
fn without_held_out_rows_the_last_adapter_is_kept() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.validation.clear();
    bench.num_steps = 5;
    let shorter = bench.run_through();
    assert_eq!(shorter.summary.best_step, 5);
    assert_eq!(shorter.summary.tuned_validation_loss, None);

    // A longer run that is stopped after as many steps keeps the same, though it last looked at step 3.
    bench.num_steps = 10;
    let unstopped = ScriptedHost::default();
    bench.run(&unstopped);
    let at = unstopped.end_of_step(5) + 1;
    let stopped = bench.run(&ScriptedHost::new(vec![(at, Control::Stop)]));
    assert_eq!(stopped.summary.best_step, 5);
    assert_eq!(stopped.parameters(), shorter.parameters());
}

#[test]
fn the_best_adapter_by_validation_is_kept() {
    let mut random = Random::new();
    let mut num_overfitted = 0;
    for _ in 0..4 {
        let bench = overfitting_bench(&mut random);
        let result = bench.run_through();
        let scored = result.evaluations.iter().skip(1);
        let best = scored.min_by(|a, b| a.loss.total_cmp(&b.loss)).unwrap();
        num_overfitted += usize::from(best.step < bench.num_steps);
        assert_eq!(result.summary.best_step, best.step);
        assert_eq!(result.summary.tuned_validation_loss, Some(best.loss));
        let loss = bench.validation_loss(result.parameters());
        assert_share("loss of the kept adapter", loss, best.loss, 1e-5);
        let mut lowest = f64::INFINITY;
        for evaluation in result.evaluations.iter() {
            assert_eq!(evaluation.is_best, evaluation.loss < lowest);
            lowest = lowest.min(evaluation.loss);
        }
    }
    assert!(num_overfitted > 0, "the last adapter was always the best");
}

/// The held-out rows end differently from the memorized rows, so they usually become less and less likely.
fn overfitting_bench(random: &mut Random) -> Bench {
    let mut bench = Bench::new(random);
    for row in &mut bench.train {
        let last = row.ids.len() - 1;
        row.loss_mask.fill(false);
        row.loss_mask[last] = true;
    }
    bench.validation = bench.train.clone();
    for row in &mut bench.validation {
        let last = row.ids.len() - 1;
        row.ids[last] = if row.ids[last] < 160 { 319 } else { 3 };
    }
    bench.spec.learning_rate = 0.05;
    bench.num_steps = 30;
    bench.eval_steps = 2;
    bench
}

#[test]
fn a_rate_that_explodes_fails_and_keeps_the_last_sound_adapter() {
    let mut random = Random::new();
    for has_validation in [true, false] {
        let mut bench = Bench::new(&mut random);
        bench.eval_steps = 10;
        if !has_validation {
            bench.validation.clear();
        }
        // The first rate is 0, the second blows the adapter up, the third step sees it.
        bench.spec.learning_rate = 1e30;
        bench.spec.warmup_ratio = 0.2;
        let result = bench.run(&ScriptedHost::default());
        let failure = Failure::from(result.failure.clone().unwrap());
        assert_eq!(failure.kind, FailureKind::NonFinite);
        assert!(
            failure.what.ends_with("The adapter of step 1 is kept."),
            "{}",
            failure.what
        );
        assert!(failure.remedy.unwrap().contains("Lower the learning rate"));
        assert!(failure.place.unwrap().starts_with("step 3"));
        assert_eq!(result.summary.outcome, RunOutcome::Failed);
        assert_eq!((result.summary.steps, result.summary.best_step), (2, 1));
        assert!(result.summary.has_adapter);
        assert!(
            result
                .parameters()
                .iter()
                .all(|parameter| parameter.is_finite())
        );
        let base = result.summary.base_validation_loss;
        assert_eq!(base.is_some(), has_validation);
        // Rate 0 left B at zero.
        assert_eq!(result.summary.tuned_validation_loss, base);
    }
}

#[test]
fn an_explosion_in_the_first_step_leaves_no_adapter() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.spec.learning_rate = 1e30;
    let result = bench.run(&ScriptedHost::default());
    let failure = Failure::from(result.failure.clone().unwrap());
    assert_eq!(failure.kind, FailureKind::NonFinite);
    assert!(
        failure.what.ends_with("No adapter was kept."),
        "{}",
        failure.what
    );
    assert!(failure.remedy.unwrap().contains("Lower the learning rate"));
    assert!(!result.summary.has_adapter);
    assert!(result.parameters().is_empty());
}

#[test]
fn an_explosion_after_a_good_evaluation_keeps_the_best() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.eval_steps = 1;
    bench.spec.learning_rate = 1e30;
    bench.spec.warmup_ratio = 0.2;
    let result = bench.run(&ScriptedHost::default());
    let failure = Failure::from(result.failure.clone().unwrap());
    assert_eq!(failure.kind, FailureKind::NonFinite);
    assert!(
        failure.what.ends_with("The adapter of step 1 is kept."),
        "{}",
        failure.what
    );
    assert_eq!(result.summary.best_step, 1);
    assert_eq!(result.evaluations.iter().count(), 2);
}

/// A model whose numbers are not finite, whatever is held out: the learning rate has nothing to do with it.
#[test]
fn a_base_that_gives_no_numbers_fails_before_it_learns_and_keeps_nothing() {
    let mut random = Random::new();
    for bad in [f32::NAN, f32::INFINITY] {
        for has_validation in [true, false] {
            let mut bench = Bench::new(&mut random);
            bench.model.norm = bench.model.norm.clone().full_like(bad);
            if !has_validation {
                bench.validation.clear();
            }
            let result = bench.run(&ScriptedHost::default());
            let failure = Failure::from(result.failure.clone().unwrap());
            assert_eq!(failure.kind, FailureKind::NonFinite);
            let expected = if has_validation {
                "The model's loss on the held-out rows was infinite or not a number before the first step. No adapter was kept."
            } else {
                "The model's loss was infinite or not a number before the adapter had learned anything. No adapter was kept."
            };
            assert_eq!(failure.what, expected);
            let remedy = failure.remedy.unwrap();
            assert!(
                remedy.starts_with("The learning rate is not the cause."),
                "{remedy}"
            );
            assert!(
                !remedy.contains("Look at row"),
                "all rows are alike: {remedy}"
            );
            assert_eq!(
                (result.summary.steps, result.summary.has_adapter),
                (0, false)
            );
        }
    }
}

/// As above, in a run that begins with steps at a rate of 0: the first update is still to come.
#[test]
fn a_rate_of_zero_is_never_to_blame() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.validation.clear();
    bench.spec.learning_rate = 0.0;
    bench.num_steps = 4;
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let mut state = bench.start();
    let batch = [Batch::new(&bench.train.iter().collect::<Vec<_>>())];
    block_on(state.step(&bench.model, &batch, 0.0, &pacing)).unwrap();
    assert_eq!(state.learned_at, None);
    bench.model.norm = bench.model.norm.clone().full_like(f32::NAN);
    let ended = block_on(state.step(&bench.model, &batch, 0.0, &pacing));
    let Err(Interruption::Failed(error)) = ended else {
        panic!("{ended:?}");
    };
    let failure = Failure::from(error);
    assert_eq!(failure.place.as_deref(), Some("step 2"));
    let remedy = failure.remedy.unwrap();
    assert!(
        remedy.starts_with("The learning rate is not the cause."),
        "{remedy}"
    );
}

/// One held-out row has a token whose embedding is damaged; the row is named as the page counts it.
#[test]
fn a_single_row_that_gives_no_number_is_named() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    let embedding = &bench.model.embed_tokens;
    let (rows, cols) = (embedding.rows(), embedding.cols());
    let values = embedding.dense().into_data().try_to_vec::<f32>().unwrap();
    let mut values: Vec<u16> = values
        .iter()
        .map(|&value| half::f16::from_f32(value).to_bits())
        .collect();
    values[5 * cols..6 * cols].fill(half::f16::NAN.to_bits());
    let words: Vec<u32> = values
        .chunks(cols)
        .flat_map(|row| row.chunks(2))
        .map(|pair| u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or(0)) << 16)
        .collect();
    let matrix = QuantizedMatrix {
        kind: WeightKind::F16,
        rows,
        cols,
        words,
        scales: Vec::new(),
    };
    bench.model.embed_tokens = FrozenMatrix::from_quantized(matrix, &bench.model.device);
    let held_out = bench.validation.iter_mut().chain(&mut bench.train);
    held_out.for_each(|row| row.ids.iter_mut().for_each(|id| *id = (*id).max(6)));
    bench.validation[2].ids[0] = 5;
    let row = bench.validation[2].row + 1;
    let result = bench.run(&ScriptedHost::default());
    let failure = Failure::from(result.failure.clone().unwrap());
    assert_eq!(failure.place, Some(format!("step 0, row {row}")));
    let expected = format!("Look at row {row}: the other rows are fine.");
    let remedy = failure.remedy.unwrap();
    assert!(remedy.contains(&expected), "{remedy}");
}

#[test]
fn runs_repeat_from_their_seed() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    let undropped = bench.run_through();
    bench.spec.adapter.lora_dropout = 0.3;
    let dropped = bench.run_through();
    assert_ne!(losses(&undropped), losses(&dropped));
    let again = bench.run_through();
    assert_eq!(losses(&again), losses(&dropped));
    assert_eq!(again.parameters(), dropped.parameters());
    bench.spec.seed += 1;
    assert_ne!(losses(&bench.run_through()), losses(&dropped));
}

/// Dropout is on the input of a low-rank pair, which some methods lack; a recipe, or a form that continues such an
/// adapter, may ask for it all the same.
#[test]
fn dropout_means_nothing_without_a_pair() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.spec.adapter.method = Method::Ia3;
    bench.spec.adapter.target_modules = TargetModule::ALL.to_vec();
    let undropped = bench.run_through();
    bench.spec.adapter.lora_dropout = 0.3;
    assert_eq!(losses(&bench.run_through()), losses(&undropped));
}

/// A block without an adapter keeps less than the others, which count.
#[test]
fn what_a_block_keeps_is_judged_by_the_one_that_keeps_the_most() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.spec.adapter.target_modules = TargetModule::ALL.to_vec();
    let kept = |bench: &Bench| {
        let adapter = bench.start().upload(&bench.model);
        let shape = bench.model.block_shape(&adapter, false, Precision::Single);
        shape.unwrap().kept_bytes(1)
    };
    let all = kept(&bench);
    let last = bench.model.blocks.len() - 1;
    bench.spec.adapter.layers_to_transform = Some(LayerRange { first: last, last });
    assert_eq!(kept(&bench), all);
}

/// The backward recomputes a block; with other masks, its gradient would not be that of the loss.
#[test]
fn gradients_under_dropout_are_those_of_the_loss() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.spec.adapter.lora_dropout = 0.4;
    bench.spec.adapter.target_modules = TargetModule::ALL.to_vec();
    let mut state = bench.start();
    let parameters = state.parameters.iter_mut();
    parameters.for_each(|parameter| *parameter += 0.1 * random.unit());
    let batch = [Batch::new(&bench.train.iter().collect::<Vec<_>>())];
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let at = |distance: f32, direction: &[f32]| {
        let mut state = state.clone();
        let moved = state.parameters.iter_mut().zip(direction);
        moved.for_each(|(parameter, &direction)| *parameter += distance * direction);
        block_on(state.gradient(&bench.model, &batch, &pacing)).unwrap()
    };
    let gradient = at(0.0, &[]).gradients;
    let norm = gradient
        .iter()
        .map(|&x| f64::from(x).powi(2))
        .sum::<f64>()
        .sqrt();
    let direction: Vec<f32> = gradient.iter().map(|&x| x / norm as f32).collect();
    let distance = 0.002;
    let rise = at(distance, &direction).loss - at(-distance, &direction).loss;
    assert_share("slope", rise / f64::from(2.0 * distance), norm, 0.01);
}

/// Packed rows of very different lengths have the same loss and gradient as the same rows padded.
#[test]
fn packed_rows_have_the_loss_and_gradient_of_unpacked_ones() {
    let mut random = Random::new();
    for name in ["tiny", "odd"] {
        let mut bench = Bench::new(&mut random);
        bench.model = load::fixture_model(name);
        bench.spec.adapter.target_modules = TargetModule::ALL.to_vec();
        let mut rows = random.sequences(9);
        rows.extend(random.long_sequences(2));
        let mut state = bench.start();
        let parameters = state.parameters.iter_mut();
        parameters.for_each(|parameter| *parameter += 0.1 * random.unit());
        // In one pass, in several, and a row at a time.
        state.device.activation_budget_bytes =
            [golden::profile().activation_budget_bytes, 100_000, 0][random.size(0..3)];
        let error = block_on(check_packing(&bench.model, &state, &rows));
        println!("{name}: gradients within {error:.1e}");
    }
}

/// Compares a run on packed rows with one that takes the same rows one by one and accumulates.
#[test]
fn a_packed_run_has_the_curve_of_the_same_rows_accumulated() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    bench.spec.packing = true;
    bench.spec.data.max_seq_length = 24;
    bench.spec.adam_epsilon = 1e-3;
    let packed = bench.run_through();
    let mut batches = BatchSchedule::new(&bench.train, &bench.spec);
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let mut state = bench.start();
    for step in packed.steps.spans() {
        let rows: Vec<usize> = batches
            .next_step()
            .into_iter()
            .flat_map(|batch| batch.rows)
            .collect();
        let singles: Vec<Batch> = rows
            .iter()
            .map(|&row| Batch::new(&[&bench.train[row]]))
            .collect();
        let rate = bench.spec.learning_rate;
        let told = block_on(state.step(&bench.model, &singles, rate, &pacing)).unwrap();
        assert_eq!(step.scored_tokens, told.scored_tokens as u64);
        assert_share("loss", step.loss, told.loss, 1e-4);
        assert_share("gradient norm", step.grad_norm, told.grad_norm, 1e-3);
    }
    assert_near(
        "parameters",
        &state.parameters,
        &packed_newest(&bench),
        1e-4,
    );
    // The held-out rows' loss is the same however they are batched.
    let tuned = packed.summary.tuned_validation_loss.unwrap();
    let alone = bench.validation_loss(packed.parameters());
    assert_share("validation loss", tuned, alone, 1e-5);
}

/// The last adapter of the run, whatever the validation says.
fn packed_newest(bench: &Bench) -> Vec<f32> {
    let bench = Bench {
        model: load::fixture_model("odd"),
        train: bench.train.clone(),
        validation: Vec::new(),
        spec: bench.spec.clone(),
        ..*bench
    };
    bench.run_through().parameters().to_vec()
}

#[test]
fn accumulation_weighs_every_token_alike() {
    let mut random = Random::new();
    let mut bench = Bench::new(&mut random);
    // The usual epsilon blows rounding up to whole steps where a gradient is nearly zero.
    bench.spec.adam_epsilon = 1e-3;
    let accumulated = bench.run_through();
    bench.spec.per_device_train_batch_size = 4;
    bench.spec.gradient_accumulation_steps = 1;
    let whole = bench.run_through();
    let spans = accumulated.steps.spans().iter().zip(whole.steps.spans());
    for (accumulated, whole) in spans {
        assert_eq!(accumulated.scored_tokens, whole.scored_tokens);
        assert_eq!(accumulated.num_tokens, whole.num_tokens);
        assert_share("loss", accumulated.loss, whole.loss, 1e-5);
        assert_share(
            "gradient norm",
            accumulated.grad_norm,
            whole.grad_norm,
            1e-4,
        );
    }
    assert_near(
        "parameters",
        accumulated.parameters(),
        whole.parameters(),
        1e-5,
    );
}
