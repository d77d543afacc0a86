//! The exported zip, taken apart again by independent readers.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails by panicking, as the test does"
)]

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
    path::Path,
};

use engine::{
    adapter::{AdapterLayout, ModelShape, NamedTensor},
    data::TokenSequence,
    export::{EvaluationReport, ExportError, ExportInput, LogEntry, build_zip, file_name, recipe},
    plan,
};
use proptest::prelude::*;
use protocol::{
    AdapterSpec, DataSpec, DatasetSummary, DeviceKind, DeviceReport, EvaluationHistory,
    EvaluationMetrics, ExportFile, ExportKind, Failure, FailureKind, FindingKind, LrSchedulerType,
    ModelSummary, Precision, PreparedSummary, RecipeError, RunOutcome, RunSpec, RunSummary,
    ScoreReport, Setting, StepHistory, StepMetrics, StepSpan, TargetModule,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

fn sequence(row: usize) -> TokenSequence {
    TokenSequence {
        row,
        ids: (row as u32..row as u32 + 3).collect(),
        loss_mask: vec![false, false, true],
    }
}

/// Everything that an [`ExportInput`] borrows.
#[derive(Clone)]
struct Run {
    model: ModelSummary,
    dataset: DatasetSummary,
    prepared: PreparedSummary,
    held_out: Vec<TokenSequence>,
    held_out_rows: Vec<usize>,
    spec: RunSpec,
    summary: RunSummary,
    device: DeviceReport,
    steps: StepHistory,
    evaluations: EvaluationHistory,
    evaluation: EvaluationReport,
    scores: Vec<ScoreReport>,
    tensors: Vec<NamedTensor>,
    chat_template: Option<String>,
}

impl Run {
    /// A run of a two-block Llama with random numbers of this seed.
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let model = model();
        let spec = RunSpec {
            adapter: AdapterSpec {
                r: 3,
                lora_alpha: 6.0,
                target_modules: TargetModule::ALL.to_vec(),
                ..AdapterSpec::default()
            },
            learning_rate: 2e-3,
            seed: u64::MAX,
            data: DataSpec {
                test_split: 0.05,
                leave_out: vec![FindingKind::Secret],
                ..DataSpec::default()
            },
            ..RunSpec::default()
        };
        let tensors = tensors(&model, &spec, &mut rng);
        let evaluation = EvaluationReport {
            base_loss: Some(3.5330123456789),
            tuned_loss: Some(1.0031),
            scored_tokens: 77,
            sequence_length: 512,
        };
        Self {
            dataset: dataset(),
            prepared: prepared(&spec.data),
            held_out: [2, 7, 11].map(sequence).to_vec(),
            held_out_rows: vec![2, 7, 11],
            summary: summary(&spec, &model, &evaluation),
            device: DeviceReport {
                kind: DeviceKind::WebGpu,
                name: "a graphics card".to_owned(),
                self_test: Vec::new(),
                threads: 1,
                precision: Precision::Half,
            },
            steps: (1..=4).map(step).collect(),
            evaluations: [0, 2, 4].map(evaluation_metrics).into_iter().collect(),
            chat_template: Some("{% for message in messages %}...{% endfor %}".to_owned()),
            evaluation,
            scores: Vec::new(),
            tensors,
            model,
            spec,
        }
    }

    fn input(&self) -> ExportInput<'_> {
        ExportInput {
            model: &self.model,
            dataset: &self.dataset,
            prepared: &self.prepared,
            held_out: &self.held_out,
            held_out_rows: &self.held_out_rows,
            spec: &self.spec,
            initial: None,
            summary: &self.summary,
            device: &self.device,
            steps: &self.steps,
            evaluations: &self.evaluations,
            evaluation: &self.evaluation,
            scores: &self.scores,
            tensors: &self.tensors,
            chat_template: self.chat_template.as_deref(),
            finished_at: Some("2026-11-20T10:00:00Z"),
        }
    }

    fn zip(&self) -> Vec<u8> {
        build_zip(&self.input()).unwrap()
    }

    fn refusal(&self) -> ExportError {
        build_zip(&self.input()).unwrap_err()
    }
}

fn model() -> ModelSummary {
    ModelSummary {
        name: "Tiny Llama (test)".to_owned(),
        base_model_name: Some("inlay/tiny".to_owned()),
        architecture: "llama".to_owned(),
        parameters: 10_000,
        num_hidden_layers: 2,
        hidden_size: 16,
        intermediate_size: 24,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        vocab_size: 64,
        max_position_embeddings: 2048,
        quantization: "Q4_1".to_owned(),
        file_bytes: 12_345,
        sha256: "ab".repeat(32),
        has_chat_template: true,
    }
}

fn tensors(model: &ModelSummary, spec: &RunSpec, rng: &mut ChaCha8Rng) -> Vec<NamedTensor> {
    let layout = AdapterLayout::new(&spec.adapter, &ModelShape::from(model));
    let tensors = layout.tensors().into_iter();
    tensors
        .map(|(name, shape)| {
            let values = (0..shape.iter().product())
                .map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5)
                .collect();
            NamedTensor {
                name,
                shape,
                values,
            }
        })
        .collect()
}

fn dataset() -> DatasetSummary {
    DatasetSummary {
        names: vec!["rows.jsonl".to_owned()],
        file_bytes: 999,
        sha256: "cd".repeat(32),
        num_rows: 31,
        num_usable_rows: 30,
        num_problems: 1,
        num_duplicates: 2,
        ..DatasetSummary::default()
    }
}

fn prepared(spec: &DataSpec) -> PreparedSummary {
    PreparedSummary {
        spec: spec.clone(),
        num_packed_rows: 0,
        num_training_rows: 27,
        num_validation_rows: 3,
        training_tokens: 2700,
        scored_tokens: 900,
        num_truncated: 4,
        longest_tokens: 300,
        median_tokens: 100,
        ..PreparedSummary::default()
    }
}

fn summary(spec: &RunSpec, model: &ModelSummary, evaluation: &EvaluationReport) -> RunSummary {
    RunSummary {
        outcome: RunOutcome::Finished,
        steps: 4,
        base_validation_loss: evaluation.base_loss,
        tuned_validation_loss: evaluation.tuned_loss,
        best_step: 4,
        elapsed_secs: 1.5,
        trainable_parameters: plan::trainable_parameters(spec, model),
        has_adapter: true,
    }
}

fn step(step: u64) -> StepMetrics {
    StepMetrics {
        step,
        num_steps: 4,
        epoch: step as f64 / 4.0,
        loss: 3.0 / step as f64,
        learning_rate: 1e-3,
        grad_norm: 0.5,
        num_tokens: 100,
        scored_tokens: 40,
        tokens_per_sec: 50.0,
        elapsed_millis: 2000.0,
        device_memory_bytes: None,
        remaining_secs: Some(3.0),
    }
}

fn evaluation_metrics(step: u64) -> EvaluationMetrics {
    EvaluationMetrics {
        step,
        loss: 3.5 / (step + 1) as f64,
        scored_tokens: 77,
        is_best: true,
        elapsed_millis: 10.0,
    }
}

fn unzip(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut file = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (file.name().unwrap().into_owned(), bytes)
        })
        .collect()
}

fn json_of(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

fn text_of(files: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    String::from_utf8(files[name].clone()).unwrap()
}

#[test]
fn the_files_have_a_fixed_order_and_the_bytes_are_the_same_each_time() {
    let run = Run::new(1);
    let bytes = run.zip();
    assert_eq!(bytes, run.clone().zip());
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let names: Vec<String> = (0..archive.len())
        .map(|index| {
            archive
                .by_index(index)
                .unwrap()
                .name()
                .unwrap()
                .into_owned()
        })
        .collect();
    let expected = [
        "adapter_model.safetensors",
        "adapter_config.json",
        "README.md",
        "recipe.json",
        "log.jsonl",
        "evaluation.json",
        "held_out.jsonl",
        "chat_template.jinja",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        names,
        ExportFile::ALL.map(ExportFile::name),
        "what the page lists"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_tensor_comes_back_under_its_peft_name(seed: u64) {
        let run = Run::new(seed);
        let files = unzip(&run.zip());
        let bytes = &files["adapter_model.safetensors"];
        let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
        prop_assert_eq!(&header.metadata().as_ref().unwrap()["format"], "pt");
        let parsed = SafeTensors::deserialize(bytes).unwrap();
        prop_assert_eq!(parsed.len(), 2 * 2 * 7);
        for layer in 0..2 {
            for module in TargetModule::ALL {
                let name = module.name();
                let place = if "qkvo".contains(&name[..1]) && name.len() == 6 { "self_attn" } else { "mlp" };
                let prefix = format!("base_model.model.model.layers.{layer}.{place}.{name}");
                let (in_features, out_features) = run.model.projection_features(module);
                for (half, shape) in [("lora_A", [3, in_features]), ("lora_B", [out_features, 3])] {
                    let name = format!("{prefix}.{half}.weight");
                    let view = parsed.tensor(&name).unwrap();
                    prop_assert_eq!(view.dtype(), Dtype::F32);
                    prop_assert_eq!(view.shape(), shape);
                    let stored: Vec<f32> = view
                        .data()
                        .chunks_exact(4)
                        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                        .collect();
                    let tensor = run.tensors.iter().find(|tensor| tensor.name == name).unwrap();
                    prop_assert_eq!(&stored, &tensor.values);
                }
            }
        }
    }
}

#[test]
fn the_config_is_pefts_and_has_no_other_key() {
    let mut run = Run::new(2);
    let expected = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "inlay/tiny",
        "revision": null, "inference_mode": true, "auto_mapping": null, "r": 3, "lora_alpha": 6,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "fan_in_fan_out": false, "bias": "none", "use_rslora": false, "use_dora": false,
        "init_lora_weights": true, "modules_to_save": null, "layers_to_transform": null,
        "layers_pattern": null, "rank_pattern": {}, "alpha_pattern": {}
    });
    let config = json_of(&unzip(&run.zip()), "adapter_config.json");
    assert_eq!(config, expected);
    assert!(config["lora_alpha"].is_u64(), "Ollama reads an integer");

    run.model.base_model_name = None;
    let config = json_of(&unzip(&run.zip()), "adapter_config.json");
    assert_eq!(config["base_model_name_or_path"], "Tiny Llama (test)");
}

#[test]
fn the_evaluation_has_the_promised_keys() {
    let mut run = Run::new(3);
    let evaluation = json_of(&unzip(&run.zip()), "evaluation.json");
    assert_eq!(evaluation["base_loss"], 3.5330123456789);
    assert_eq!(evaluation["tuned_loss"], 1.0031);
    assert_eq!(evaluation["scored_tokens"], 77);
    assert_eq!(evaluation["held_out_rows"], json!([2, 7, 11]));
    assert_eq!(evaluation["sequence_length"], 512);
    assert_eq!(evaluation["scores"], json!([]));
    let readme = text_of(&unzip(&run.zip()), "README.md");
    assert!(readme.contains("under `scores`"), "{readme}");
    let files = unzip(&run.zip());
    let rows: Vec<Value> = text_of(&files, "held_out.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[1],
        json!({"row": 7, "input_ids": [7, 8, 9], "labels": [-100, -100, 9]})
    );

    // Rows that were released are not in the zip; their losses and numbers are.
    run.held_out.clear();
    let files = unzip(&run.zip());
    let evaluation = json_of(&files, "evaluation.json");
    assert_eq!(evaluation["held_out_rows"], json!([2, 7, 11]));
    assert!(text_of(&files, "README.md").contains("the tab let go of them"));
    assert!(!files.contains_key("held_out.jsonl"));

    run.evaluation.base_loss = None;
    run.evaluation.tuned_loss = None;
    let readme = text_of(&unzip(&run.zip()), "README.md");
    assert!(
        readme.contains("before the held-out rows were evaluated"),
        "{readme}"
    );

    run.held_out_rows.clear();
    let files = unzip(&run.zip());
    let evaluation = json_of(&files, "evaluation.json");
    assert_eq!(evaluation["base_loss"], Value::Null);
    assert_eq!(evaluation["tuned_loss"], Value::Null);
    assert_eq!(evaluation["held_out_rows"], json!([]));
    assert!(text_of(&files, "README.md").contains("No rows were held out"));
    assert!(!files.contains_key("held_out.jsonl"));
}

#[test]
fn the_log_has_every_number_in_order() {
    let mut run = Run::new(4);
    run.evaluations.push(evaluation_metrics(9));
    let log = text_of(&unzip(&run.zip()), "log.jsonl");
    let entries: Vec<LogEntry> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = [
        LogEntry::Evaluation(evaluation_metrics(0)),
        LogEntry::Step(step(1)),
        LogEntry::Step(step(2)),
        LogEntry::Evaluation(evaluation_metrics(2)),
        LogEntry::Step(step(3)),
        LogEntry::Step(step(4)),
        LogEntry::Evaluation(evaluation_metrics(4)),
        LogEntry::Evaluation(evaluation_metrics(9)),
    ];
    assert_eq!(entries, expected);
    assert!(
        log.starts_with(r#"{"type":"evaluation","step":0,"#),
        "{log}"
    );
    assert!(log.contains("\n{\"type\":\"step\",\"step\":1,"), "{log}");
}

/// A log of a quarter of a million steps is as large as one of a few thousand, says so, and loses no sum.
#[test]
fn the_log_of_a_long_run_is_thinned_and_says_by_which_rule() {
    let mut run = Run::new(4);
    let num_steps = 250_000;
    run.steps = (1..=num_steps).map(step).collect();
    run.evaluations = (0..=num_steps).map(evaluation_metrics).collect();
    let zip = run.zip();
    println!("the zip of {num_steps} steps: {} bytes", zip.len());
    assert!(zip.len() < 1_000_000, "{} bytes", zip.len());
    let log = text_of(&unzip(&zip), "log.jsonl");
    assert!(log.len() < 3_000_000, "{} bytes", log.len());
    let entries: Vec<LogEntry> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let LogEntry::Thinned {
        steps,
        steps_per_line,
        evaluations_per_pair,
        rule,
    } = &entries[0]
    else {
        panic!("the first line says nothing of it: {:?}", entries[0]);
    };
    assert_eq!(
        (*steps, *steps_per_line, *evaluations_per_pair),
        (num_steps, 64, 256)
    );
    for name in ["first_step", "loss_max", "grad_norm_max", "num_tokens"] {
        assert!(rule.contains(name), "{rule}");
    }
    let spans: Vec<StepSpan> = entries
        .iter()
        .filter_map(|entry| match entry {
            LogEntry::Steps(span) => Some(*span),
            _ => None,
        })
        .collect();
    let tokens: u64 = spans.iter().map(|span| span.num_tokens).sum();
    assert_eq!(tokens, 100 * num_steps);
    assert_eq!(spans.iter().map(StepSpan::count).sum::<u64>(), num_steps);
    let order = entries[1..].iter().map(|entry| match entry {
        LogEntry::Steps(span) => span.step,
        LogEntry::Evaluation(evaluation) => evaluation.step,
        other => panic!("{other:?}"),
    });
    assert_eq!(order.clone().next(), Some(0));
    assert_eq!(order.clone().next_back(), Some(num_steps));
    assert!(log.contains(r#"{"type":"evaluation","step":250000,"#));
}

#[test]
fn weights_are_stored_and_texts_deflated() {
    let bytes = Run::new(4).zip();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    for index in 0..archive.len() {
        let file = archive.by_index(index).unwrap();
        let name = file.name().unwrap().into_owned();
        let is_text = !name.ends_with(".safetensors") && name != "adapter_config.json";
        assert_eq!(file.compressed_size() < file.size(), is_text, "{name}");
    }
}

#[test]
fn a_log_that_ends_with_nan_does_not_lose_the_adapter() {
    let mut run = Run::new(5);
    run.steps = (1..=4)
        .map(step)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|step| StepMetrics {
            loss: if step.step == 4 { f64::NAN } else { step.loss },
            ..step
        })
        .collect();
    let log = text_of(&unzip(&run.zip()), "log.jsonl");
    assert!(
        log.contains(r#""step":4,"num_steps":4,"epoch":1.0,"loss":null"#),
        "{log}"
    );
}

#[test]
fn the_recipe_repeats_the_run() {
    let run = Run::new(6);
    let files = unzip(&run.zip());
    let recipe = recipe::parse(&files["recipe.json"]).unwrap();
    assert_eq!(recipe.settings, run.spec);
    assert_eq!(
        (recipe.format.as_str(), recipe.version),
        ("inlay-recipe", 1)
    );
    assert_eq!(recipe.model.sha256, run.model.sha256);
    assert_eq!(recipe.dataset.sha256, run.dataset.sha256);
    assert_eq!(recipe.device, DeviceKind::WebGpu);
    assert_eq!(recipe.finished_at.as_deref(), Some("2026-11-20T10:00:00Z"));
    let settings = &json_of(&files, "recipe.json")["settings"];
    assert_eq!(settings["seed"], u64::MAX);
    assert_eq!(settings["lr_scheduler_type"], "cosine");
    assert_eq!(settings["per_device_train_batch_size"], 4);
    let names = settings.as_object().unwrap().keys();
    assert!(
        names.eq(Setting::of_runs().map(|setting| setting.name)),
        "every setting is there, as the table orders them"
    );
}

/// A recipe as the first version wrote it: what came later is as it was then.
#[test]
fn an_old_recipe_can_be_read() {
    let json = include_str!("../fixtures/export/recipe.json");
    let recipe = recipe::parse(json.as_bytes()).unwrap();
    assert_eq!(
        recipe.settings,
        RunSpec {
            adapter: AdapterSpec {
                r: 4,
                lora_alpha: 12.0,
                lora_dropout: 0.05,
                target_modules: vec![TargetModule::QProj, TargetModule::UpProj],
                ..AdapterSpec::default()
            },
            data: DataSpec {
                max_seq_length: 96,
                validation_split: 0.2,
                seed: 7,
                ..DataSpec::default()
            },
            learning_rate: 5e-4,
            lr_scheduler_type: LrSchedulerType::Linear,
            warmup_ratio: 0.0,
            weight_decay: 0.01,
            adam_beta2: 0.98,
            max_grad_norm: 0.5,
            num_train_epochs: 2.0,
            max_steps: 3,
            per_device_train_batch_size: 1,
            gradient_accumulation_steps: 2,
            seed: 7,
            ..RunSpec::default()
        }
    );
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(json).unwrap();
        change(&mut value["settings"]);
        let error = recipe::parse(value.to_string().as_bytes()).unwrap_err();
        error.to_string()
    };
    let unknown = refused(&|settings| settings["warp"] = json!(1));
    assert!(unknown.contains("unknown setting `warp`"), "{unknown}");
    let missing = refused(&|settings| {
        settings.as_object_mut().unwrap().remove("seed");
    });
    assert!(missing.contains("missing field `seed`"), "{missing}");
    let choice = refused(&|settings| settings["lr_scheduler_type"] = json!("wild"));
    assert!(
        choice.contains("`lr_scheduler_type` cannot be `wild`"),
        "{choice}"
    );
    let twice = json.replacen("\"r\": 4,", "\"r\": 4, \"r\": 5,", 1);
    let twice = recipe::parse(twice.as_bytes()).unwrap_err().to_string();
    assert!(twice.contains("duplicate field `r`"), "{twice}");
}

#[test]
fn the_readme_tells_result_settings_and_use() {
    let run = Run::new(7);
    let readme = text_of(&unzip(&run.zip()), "README.md");
    for needle in [
        "base_model: \"inlay/tiny\"",
        "| base model | 3.5330 |",
        "| with this adapter | 1.0031 |",
        "base = \"inlay/tiny\"",
        "for line in open(\"held_out.jsonl\")",
        "PeftModel.from_pretrained",
        "| `learning_rate` | `0.002` |",
        "| `target_modules` | `[q_proj,k_proj,",
        "| in the files | 31 |",
        "| trained on | 27 |",
        "through the end of its turn",
        "| held out for testing | 0 |",
    ] {
        assert!(readme.contains(needle), "no {needle:?} in\n{readme}");
    }
    assert!(!readme.contains("{{"), "a placeholder is left in\n{readme}");
}

#[test]
fn names_cannot_change_the_readme() {
    let mut run = Run::new(8);
    let evil = "x\"\n## Injected\n```\nimport os | `evil` <script>";
    run.model.name = evil.to_owned();
    run.model.base_model_name = None;
    run.model.quantization = evil.to_owned();
    run.dataset.names = vec![evil.to_owned()];
    let readme = text_of(&unzip(&run.zip()), "README.md");
    assert!(!readme.contains("\n## Injected"), "{readme}");
    assert!(!readme.contains("\nimport os"), "{readme}");
    // Fences: three opened and three closed.
    assert_eq!(readme.matches("\n```").count(), 6, "{readme}");
}

#[test]
fn the_zip_is_named_after_the_model() {
    let mut model = model();
    assert_eq!(
        file_name(&model, ExportKind::Peft),
        "inlay-tiny-llama-test-lora.zip"
    );
    model.name = "../..".to_owned();
    assert_eq!(file_name(&model, ExportKind::Peft), "inlay-lora.zip");
    model.name = "модель-7B".to_owned();
    assert_eq!(file_name(&model, ExportKind::Peft), "inlay-7b-lora.zip");
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_name() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut run = Run::new(9);
        *run.tensors[19].values.last_mut().unwrap() = value;
        let failure = Failure::from(run.refusal());
        assert_eq!(failure.kind, FailureKind::NonFinite);
        let name = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight";
        assert_eq!(failure.place.as_deref(), Some(name));
    }
    let mut run = Run::new(10);
    run.evaluation.tuned_loss = Some(f64::NAN);
    assert!(matches!(run.refusal(), ExportError::NonFinite { name, .. } if name == "tuned_loss"));
    let mut run = Run::new(11);
    run.spec.adam_epsilon = f64::INFINITY;
    assert!(matches!(run.refusal(), ExportError::NonFinite { name, .. } if name == "adam_epsilon"));
}

#[test]
fn an_adapter_that_is_not_whole_is_refused() {
    let mut run = Run::new(12);
    run.tensors.clear();
    assert!(matches!(run.refusal(), ExportError::EmptyAdapter));

    let mut run = Run::new(13);
    run.summary.has_adapter = false;
    assert!(matches!(run.refusal(), ExportError::EmptyAdapter));

    let mut run = Run::new(14);
    let lost = run.tensors.remove(3);
    assert!(
        lost.name
            .ends_with("layers.0.self_attn.k_proj.lora_B.weight")
    );
    assert!(matches!(
        run.refusal(),
        ExportError::MissingTensor { name } if name == lost.name
    ));

    let mut run = Run::new(15);
    let twice = run.tensors[0].clone();
    run.tensors.push(twice);
    assert!(matches!(
        run.refusal(),
        ExportError::UnexpectedTensor { .. }
    ));

    let mut run = Run::new(16);
    run.spec.adapter.target_modules.pop();
    assert!(matches!(
        run.refusal(),
        ExportError::UnexpectedTensor { name } if name.contains("mlp.down_proj")
    ));

    let mut run = Run::new(17);
    run.tensors[2].values.clear();
    assert!(matches!(
        run.refusal(),
        ExportError::WrongLength { actual: 0, .. }
    ));

    let mut run = Run::new(18);
    run.spec.adapter.r = 4;
    assert!(matches!(run.refusal(), ExportError::WrongShape { .. }));
}

#[test]
fn a_foreign_or_newer_recipe_is_told_apart_from_a_broken_one() {
    let valid = unzip(&Run::new(19).zip())["recipe.json"].clone();
    let mut value: Value = serde_json::from_slice(&valid).unwrap();
    value["version"] = json!(2);
    value["settings"] = json!("of another time");
    let newer = serde_json::to_vec(&value).unwrap();
    assert_eq!(
        recipe::parse(&newer),
        Err(RecipeError::Version { found: 2 })
    );
    assert_eq!(recipe::parse(b"{}"), Err(RecipeError::NotARecipe));
    assert_eq!(
        recipe::parse(br#"{"format":"inlay-recipe"}"#),
        Err(RecipeError::NotARecipe)
    );
    assert!(matches!(
        recipe::parse(b"PK"),
        Err(RecipeError::Json {
            line: 1,
            column: 1,
            ..
        })
    ));
    let large = vec![b' '; (1 << 20) + 1];
    assert!(matches!(
        recipe::parse(&large),
        Err(RecipeError::TooLarge { .. })
    ));

    let mut value: Value = serde_json::from_slice(&valid).unwrap();
    value["settings"]["learning_rate"] = json!("fast");
    let broken = serde_json::to_string_pretty(&value).unwrap();
    let failure = Failure::from(recipe::parse(broken.as_bytes()).unwrap_err());
    let line = 1 + broken
        .lines()
        .position(|line| line.contains("\"fast\""))
        .unwrap();
    assert!(
        failure
            .place
            .unwrap()
            .starts_with(&format!("line {line}, "))
    );
    assert!(failure.what.contains("expected f64"), "{}", failure.what);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_damaged_recipe_never_panics(
        cut in 0.0..1.0f64,
        flips in prop::collection::vec((0.0..1.0f64, 0u8..8), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = recipe_bytes();
        for (place, bit) in flips {
            let index = (place * bytes.len() as f64) as usize;
            bytes[index] ^= 1 << bit;
        }
        // Whatever still parses is a whole recipe, which comes back the same.
        if let Ok(recipe) = recipe::parse(&bytes) {
            prop_assert_eq!(recipe::parse(&serde_json::to_vec(&recipe).unwrap()), Ok(recipe));
        }
        let end = (cut * (bytes.len() - 2) as f64) as usize;
        prop_assert!(recipe::parse(&bytes[..end]).is_err());
        prop_assert!(recipe::parse(&noise).is_err());
    }
}

fn recipe_bytes() -> Vec<u8> {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES
        .get_or_init(|| unzip(&Run::new(20).zip())["recipe.json"].clone())
        .clone()
}

/// Writes a zip for `tests/reference/peft_load.py`, which loads it with PEFT itself.
#[test]
fn a_zip_for_peft_is_written() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export.zip");
    std::fs::write(&path, Run::new(21).zip()).unwrap();
    assert!(path.metadata().unwrap().len() > 10_000);
}
