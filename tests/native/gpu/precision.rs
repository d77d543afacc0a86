//! Compares whole models in halves with the same models in single precision, and tests the choice between the two.

use std::time::{SystemTime, UNIX_EPOCH};

use burn::tensor::Device;
use engine::{
    data::{TokenSequence, batch::Batch},
    model::Model,
    pacing::Pacing,
    self_test,
    train::state::{MeanGradient, TrainingState},
    weights::checkpoint::ModelFiles,
};
use futures_executor::block_on;
use protocol::{AdapterSpec, Precision, RunSpec, TargetModule};

use crate::{
    common::{
        fetched::open_bundled,
        golden::{self, EXACT, norm},
        host::ScriptedHost,
    },
    device::{adapter, adapter_with_halves, random},
    reference::Random,
};

/// How much the losses of the two precisions may differ.
const PARITY: f64 = 1e-2;

#[test]
fn the_adapter_passes_the_self_test() {
    let Some(device) = adapter("the_adapter_passes_the_self_test") else {
        return;
    };
    // Kernels are timed against each other.
    let mut host = ScriptedHost::default();
    host.clock = Some(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs_f64() * 1e3
    });
    let proven = block_on(self_test::run(&device, &host)).unwrap();
    println!("in {:?}", proven.precision);
    assert!(proven.cases.len() >= 4);
    for case in proven.cases {
        println!("{}: error {:.1e}", case.name, case.max_error);
        assert!(case.max_error > 0.0, "{} compared nothing", case.name);
        assert!(case.max_error < case.tolerance / 4.0, "{case:?}");
    }
}

#[test]
fn models_equal_peft_in_single_precision() {
    let Some(device) = adapter("models_equal_peft_in_single_precision") else {
        return;
    };
    for name in ["tiny", "odd"] {
        block_on(golden::check_forward(name, &device, EXACT));
        block_on(golden::check_training(name, "all", &device, EXACT));
    }
}

#[test]
fn small_models_learn_alike_in_halves() {
    let Some(device) = adapter_with_halves("small_models_learn_alike_in_halves") else {
        return;
    };
    let mut random = random();
    for (name, dropout) in [("tiny", 0.0), ("tiny", 0.1), ("odd", 0.0)] {
        let files = block_on(golden::files(name));
        let rows: Vec<TokenSequence> = (0..4)
            .map(|_| row(&mut random, files.config.vocab_size))
            .collect();
        compare(name, &files, &rows, &device, dropout, 20);
    }
}

#[test]
fn the_bundled_model_learns_alike_in_halves() {
    let test = "the_bundled_model_learns_alike_in_halves";
    let Some(device) = adapter_with_halves(test) else {
        return;
    };
    let Some(files) = open_bundled(test) else {
        return;
    };
    let rows = [row(&mut random(), files.config.vocab_size)];
    compare("the bundled model", &files, &rows, &device, 0.0, 4);
}

/// Ids of the vocabulary, of which the later ones are scored.
fn row(random: &mut Random, vocab_size: usize) -> TokenSequence {
    let len = random.size(8..24);
    TokenSequence {
        row: 0,
        ids: (0..len)
            .map(|_| random.size(0..vocab_size) as u32)
            .collect(),
        loss_mask: (0..len).map(|index| index >= 4).collect(),
    }
}

/// Gradients at the start, and the losses of a run, in both precisions.
fn compare(
    what: &str,
    files: &ModelFiles,
    rows: &[TokenSequence],
    device: &Device,
    dropout: f64,
    num_steps: usize,
) {
    let model = block_on(Model::load(files, device, async |_| ())).unwrap();
    let spec = RunSpec {
        adapter: AdapterSpec {
            lora_dropout: dropout,
            target_modules: TargetModule::ALL.to_vec(),
            ..AdapterSpec::default()
        },
        ..RunSpec::default()
    };
    let batch = Batch::new(&rows.iter().collect::<Vec<_>>());
    let mut both = [Precision::Single, Precision::Half].map(|precision| {
        let device = DeviceProfile {
            precision,
            ..golden::profile()
        };
        run(&model, &spec, &batch, device, num_steps)
    });
    let [single, half] = &mut both;
    let difference: Vec<f32> = single
        .gradient
        .iter()
        .zip(&half.gradient)
        .map(|(x, y)| x - y)
        .collect();
    let error = norm(&difference) / norm(&single.gradient);
    println!("{what}: gradients apart by {error:.1e} of their norm");
    assert!(error < 2e-2, "{what}: gradients are {error} apart");
    assert!(
        single.losses.last() < single.losses.first(),
        "nothing was learned: {:?}",
        single.losses
    );
    for (step, (single, half)) in single.losses.iter().zip(&half.losses).enumerate() {
        println!("{what}, step {}: {single:.5} and {half:.5}", step + 1);
        assert!(
            (single - half).abs() < PARITY,
            "{what}, step {}: {single} and {half}",
            step + 1
        );
    }
}

struct Curve {
    gradient: Vec<f32>,
    losses: Vec<f64>,
}

fn run(
    model: &Model,
    spec: &RunSpec,
    batch: &Batch,
    device: DeviceProfile,
    num_steps: usize,
) -> Curve {
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let mut state = block_on(TrainingState::start(spec, model, device)).unwrap();
    // Away from the initialization, where half of the gradients are zero.
    let batches = [batch.clone()];
    let step = |state: &mut TrainingState| {
        block_on(state.step(model, &batches, spec.learning_rate, &pacing))
            .unwrap()
            .loss
    };
    let losses = (0..num_steps).map(|_| step(&mut state)).collect();
    let mut fresh = block_on(TrainingState::start(spec, model, device)).unwrap();
    step(&mut fresh);
    let MeanGradient { gradients, .. } =
        block_on(fresh.gradient(model, &batches, &pacing)).unwrap();
    Curve {
        gradient: gradients,
        losses,
    }
}
