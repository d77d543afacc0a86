use protocol::{
    AdapterSpec, DataSpec, DeviceKind, Failure, FailureKind, Precision, PrecisionChoice,
    TargetModule,
};

use super::*;

mod adapter;
mod batch;

/// SmolLM2-135M-Instruct.
pub(super) fn model() -> ModelSummary {
    ModelSummary {
        name: "SmolLM2".to_owned(),
        base_model_name: None,
        architecture: "llama".to_owned(),
        parameters: 134_515_008,
        num_hidden_layers: 30,
        hidden_size: 576,
        intermediate_size: 1536,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        vocab_size: 49_152,
        max_position_embeddings: 8192,
        quantization: "Q4_1".to_owned(),
        file_bytes: 98_362_432,
        sha256: String::new(),
        has_chat_template: true,
    }
}

pub(super) fn dataset(num_training_rows: usize) -> PreparedSummary {
    PreparedSummary {
        spec: DataSpec::default(),
        num_training_rows,
        num_packed_rows: num_training_rows.div_ceil(5),
        num_validation_rows: 5,
        training_tokens: 100 * num_training_rows as u64,
        scored_tokens: 50 * num_training_rows as u64,
        longest_tokens: 200,
        median_tokens: 90,
        ..PreparedSummary::default()
    }
}

pub(super) const CPU: DeviceProfile = DeviceProfile {
    threads: 2,
    ..DeviceProfile::new(DeviceKind::Cpu)
};

/// With weights that take 100 MB.
pub(super) fn planned(
    spec: &RunSpec,
    model: &ModelSummary,
    rows: &PreparedSummary,
    on: DeviceProfile,
) -> Result<RunPlan, PlanError> {
    RunPlan::new(spec, model, rows, on, 100_000_000)
}

fn plan(change: impl FnOnce(&mut RunSpec)) -> Result<RunPlan, PlanError> {
    let mut spec = RunSpec::default();
    change(&mut spec);
    planned(&spec, &model(), &dataset(45), CPU)
}

#[test]
fn the_defaults_on_the_bundled_model() {
    let plan = plan(|_| {}).unwrap();
    // 45 rows by 4: 12 steps an epoch, the last of one row; three epochs.
    assert_eq!((plan.steps_per_epoch, plan.num_steps), (12, 36));
    assert_eq!(plan.eval_steps, 4);
    assert_eq!(plan.trainable_parameters, 460_800);
    assert_eq!(plan.warnings, Vec::<String>::new());
    let summary = PlanSummary::from(&plan);
    assert_eq!(summary.num_steps, 36);
    assert_eq!(summary.estimated_memory_bytes, plan.memory.total_bytes());
}

/// By the rule of `transformers.Trainer`: rows, batch, accumulation, epochs; steps an epoch, steps.
#[test]
fn steps_are_counted_as_transformers_counts_them() {
    for (rows, batch, accumulation, epochs, per_epoch, steps) in [
        (45, 4, 1, 3.0, 12, 36),
        (45, 4, 5, 3.0, 3, 9),
        (45, 4, 12, 1.0, 1, 1),
        (45, 4, 100, 2.0, 1, 2),
        (45, 64, 1, 2.5, 1, 3),
        (10, 3, 2, 0.1, 2, 1),
        (10, 3, 2, 0.6, 2, 2),
        (1, 1, 1, 1.0, 1, 1),
    ] {
        let spec = RunSpec {
            per_device_train_batch_size: batch,
            gradient_accumulation_steps: accumulation,
            num_train_epochs: epochs,
            ..RunSpec::default()
        };
        let plan = planned(&spec, &model(), &dataset(rows), CPU).unwrap();
        assert_eq!(
            (plan.steps_per_epoch, plan.num_steps),
            (per_epoch, steps),
            "{rows} rows, batch {batch} x {accumulation}, {epochs} epochs"
        );
    }
}

#[test]
fn max_steps_overrides_any_epochs() {
    let plan = plan(|spec| {
        spec.max_steps = 100;
        spec.num_train_epochs = 0.0;
    })
    .unwrap();
    assert_eq!((plan.num_steps, plan.eval_steps), (100, 10));
}

#[test]
fn evaluation_happens_at_least_once_in_every_run() {
    assert_eq!(plan(|spec| spec.max_steps = 3).unwrap().eval_steps, 1);
    assert_eq!(plan(|spec| spec.max_steps = 11).unwrap().eval_steps, 2);
    assert_eq!(plan(|spec| spec.eval_steps = 7).unwrap().eval_steps, 7);
}

#[test]
fn all_modules_count_their_own_shapes() {
    let plan = plan(|spec| {
        spec.adapter = AdapterSpec {
            r: 4,
            target_modules: TargetModule::ALL.to_vec(),
            ..AdapterSpec::default()
        };
    })
    .unwrap();
    // q and o 576+576, k and v 576+192, gate, up and down 576+1536.
    let features = 2 * 1152 + 2 * 768 + 3 * 2112;
    assert_eq!(plan.trainable_parameters, 30 * 4 * features);
}

#[track_caller]
fn assert_refused(field: &str, change: impl FnOnce(&mut RunSpec)) {
    let error = plan(change).unwrap_err();
    let fields: Vec<&str> = error.problems.iter().map(|problem| problem.field).collect();
    assert_eq!(fields, [field], "{error}");
}

#[test]
fn each_setting_is_refused_outside_its_range_under_its_label() {
    for r in [0, 257, usize::MAX] {
        assert_refused("Rank", |spec| spec.adapter.r = r);
    }
    for alpha in [0.0, -1.0, 1e9, f64::NAN] {
        assert_refused("Alpha", |spec| spec.adapter.lora_alpha = alpha);
    }
    for dropout in [-0.1, 0.96, f64::NAN] {
        assert_refused("Dropout", |spec| spec.adapter.lora_dropout = dropout);
    }
    assert_refused("Target modules", |spec| spec.adapter.target_modules.clear());
    assert_refused("Target modules", |spec| {
        spec.adapter.target_modules = vec![TargetModule::QProj, TargetModule::QProj];
    });
    for rate in [0.0, -1e-3, 1.1, f64::NAN, f64::INFINITY] {
        assert_refused("Learning rate", |spec| spec.learning_rate = rate);
    }
    for ratio in [-0.1, 1.1, f64::NAN] {
        assert_refused("Warm-up", |spec| spec.warmup_ratio = ratio);
        assert_refused("Weight decay", |spec| spec.weight_decay = ratio);
    }
    for beta in [-0.1, 1.0, f64::NAN] {
        assert_refused("Adam beta 1", |spec| spec.adam_beta1 = beta);
        assert_refused("Adam beta 2", |spec| spec.adam_beta2 = beta);
    }
    for epsilon in [0.0, 1e-50, 2.0, f64::NAN] {
        assert_refused("Adam epsilon", |spec| spec.adam_epsilon = epsilon);
    }
    for norm in [-1.0, f64::NAN, f64::INFINITY] {
        assert_refused("Clipping", |spec| spec.max_grad_norm = norm);
    }
    for epochs in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        assert_refused("Epochs", |spec| spec.num_train_epochs = epochs);
    }
    assert_refused("Max steps", |spec| spec.max_steps = u64::MAX);
    assert_refused("Evaluate every", |spec| spec.eval_steps = u64::MAX);
    assert_refused("Seed", |spec| spec.seed = 1 << 53);
    for count in [0, usize::MAX] {
        assert_refused("Batch size", |spec| {
            spec.per_device_train_batch_size = count
        });
        assert_refused("Gradient accumulation", |spec| {
            spec.gradient_accumulation_steps = count;
        });
    }
    for length in [0, 7, 8193] {
        assert_refused("Sequence length", |spec| spec.data.max_seq_length = length);
    }
    for split in [-0.1, 0.91, f64::NAN] {
        assert_refused("Validation split", |spec| {
            spec.data.validation_split = split
        });
        assert_refused("Test split", |spec| spec.data.test_split = split);
    }
}

#[test]
fn the_ends_of_the_ranges_work() {
    plan(|spec| {
        spec.adapter.r = 256;
        spec.adapter.lora_alpha = 0.5;
        spec.adapter.lora_dropout = 0.95;
        spec.learning_rate = 1.0;
        spec.warmup_ratio = 1.0;
        spec.adam_beta1 = 0.0;
        spec.max_grad_norm = 0.0;
        spec.data.max_seq_length = 8192;
        spec.data.validation_split = 0.9;
        spec.per_device_train_batch_size = 4096;
        spec.gradient_accumulation_steps = 4096;
    })
    .unwrap();
    plan(|spec| {
        spec.adapter.r = 1;
        spec.data.max_seq_length = 8;
        spec.data.validation_split = 0.0;
    })
    .unwrap();
}

#[test]
fn every_problem_is_told_at_once() {
    let error = plan(|spec| {
        spec.adapter.r = 0;
        spec.learning_rate = 0.0;
        spec.data.max_seq_length = 9000;
    })
    .unwrap_err();
    let failure = Failure::from(error);
    assert_eq!(failure.kind, FailureKind::Settings);
    assert_eq!(
        failure.place.as_deref(),
        Some("Rank, Learning rate, Sequence length")
    );
    assert_eq!(
        failure.what,
        "Rank: 0 is not possible; it must be from 1 to 256. \
         Learning rate: 0 is not possible; it must be above 0 and at most 1. \
         Sequence length: 9000 is not possible; it must be from 8 to 8192, the model's context."
    );
}

#[test]
fn no_row_to_train_on_is_the_datasets_failure() {
    let error = planned(&RunSpec::default(), &model(), &dataset(0), CPU).unwrap_err();
    let failure = Failure::from(error);
    assert_eq!(failure.kind, FailureKind::Dataset);
    assert!(failure.what.contains("5 held out"), "{}", failure.what);
}

#[test]
fn a_run_beyond_the_device_is_refused_with_both_sizes() {
    let limited = DeviceProfile {
        limit_bytes: Some(150_000_000),
        ..CPU
    };
    let spec = RunSpec::default();
    let error = planned(&spec, &model(), &dataset(45), limited).unwrap_err();
    let failure = Failure::from(error);
    assert_eq!(failure.kind, FailureKind::OutOfMemory);
    assert!(failure.what.contains("150 MB"), "{}", failure.what);
}

#[test]
fn questionable_runs_are_warned_about() {
    let warnings = plan(|spec| spec.max_steps = 1).unwrap().warnings;
    assert!(
        warnings[0].contains("nothing will be learned"),
        "{warnings:?}"
    );
    let warnings = plan(|spec| spec.warmup_ratio = 1.0).unwrap().warnings;
    assert!(warnings[0].contains("never reached"), "{warnings:?}");
    let cut = PreparedSummary {
        num_validation_rows: 0,
        num_truncated: 3,
        num_without_target: 2,
        ..dataset(45)
    };
    let plan = planned(&RunSpec::default(), &model(), &cut, CPU).unwrap();
    assert_eq!(plan.warnings.len(), 3, "{:?}", plan.warnings);
}

#[test]
fn memory_follows_the_shapes() {
    let memory = plan(|_| {}).unwrap().memory;
    assert_eq!(memory.weights_bytes, 100_000_000);
    // Four rows of 200 tokens, the longest there is.
    assert_eq!(memory.block_inputs_bytes, 4 * 31 * 800 * 576);
    assert_eq!(memory.adapter_bytes, 36 * 460_800);
    let gpu = DeviceProfile {
        kind: DeviceKind::WebGpu,
        ..CPU
    };
    let on_gpu = planned(&RunSpec::default(), &model(), &dataset(45), gpu).unwrap();
    assert_eq!(on_gpu.memory.worker_bytes, 0);
    assert_eq!(on_gpu.memory.activations_bytes, memory.activations_bytes);
    let sixteen_threads = DeviceProfile { threads: 16, ..CPU };
    let on_sixteen = planned(&RunSpec::default(), &model(), &dataset(45), sixteen_threads);
    let more = on_sixteen.unwrap().memory.worker_bytes - memory.worker_bytes;
    assert_eq!(more, 14 * (2 << 20));

    let halves = DeviceProfile {
        precision: Precision::Half,
        ..gpu
    };
    let with = |choice| {
        let spec = RunSpec {
            precision: choice,
            ..RunSpec::default()
        };
        planned(&spec, &model(), &dataset(45), halves).unwrap()
    };
    let automatic = with(PrecisionChoice::Automatic);
    assert_eq!(automatic.device.precision, Precision::Half);
    let saved = memory.activations_bytes - automatic.memory.activations_bytes;
    // Two bytes of what lies between the norms and the sums: widths of 576, 576, 192 and 1536.
    assert_eq!(saved, 2 * 800 * (3 * 576 + 2 * 576 + 2 * 192 + 3 * 1536));
    let single = with(PrecisionChoice::Single);
    assert_eq!(single.device.precision, Precision::Single);
    assert_eq!(single.memory, on_gpu.memory);

    let shorter = plan(|spec| spec.data.max_seq_length = 100).unwrap().memory;
    assert_eq!(shorter.block_inputs_bytes * 2, memory.block_inputs_bytes);
    assert_eq!(shorter.activations_bytes * 2, memory.activations_bytes);
}

/// What the page's worker on two threads had grown to after three steps on rows of plain text of that length.
#[test]
fn memory_is_estimated_as_it_was_measured() {
    let queries_values = AdapterSpec::default().target_modules;
    let all = TargetModule::ALL.to_vec();
    for (rows, tokens, r, dropout, modules, megabytes) in [
        (1, 8, 8, 0.0, &queries_values, 133.0),
        (1, 128, 8, 0.0, &queries_values, 228.0),
        (1, 128, 8, 0.1, &queries_values, 244.0),
        (1, 256, 8, 0.0, &queries_values, 338.0),
        (1, 512, 8, 0.0, &queries_values, 388.0),
        (1, 8, 16, 0.0, &all, 292.0),
        (4, 128, 16, 0.0, &all, 502.0),
        (1, 512, 8, 0.0, &all, 448.0),
    ] {
        let spec = RunSpec {
            per_device_train_batch_size: rows,
            adapter: AdapterSpec {
                r,
                lora_dropout: dropout,
                target_modules: modules.clone(),
                ..AdapterSpec::default()
            },
            ..RunSpec::default()
        };
        let dataset = PreparedSummary {
            longest_tokens: tokens,
            training_tokens: 4 * tokens as u64,
            scored_tokens: 4 * (tokens as u64 - 1),
            ..dataset(4)
        };
        let plan = RunPlan::new(&spec, &model(), &dataset, CPU, 98_200_000).unwrap();
        let ratio = plan.memory.total_bytes() as f64 / 1e6 / megabytes;
        println!("{rows} x {tokens} tokens, rank {r}: {ratio:.2} of {megabytes} MB");
        assert!((1.0..1.3).contains(&ratio), "the last one above");
    }
}

#[test]
fn impossible_sizes_do_not_overflow() {
    let mut huge = model();
    huge.hidden_size = usize::MAX;
    huge.intermediate_size = usize::MAX;
    huge.num_hidden_layers = usize::MAX;
    huge.vocab_size = usize::MAX;
    let plan = planned(&RunSpec::default(), &huge, &dataset(45), CPU).unwrap();
    assert_eq!(plan.memory.total_bytes(), u64::MAX);
}
