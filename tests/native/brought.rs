//! Adapters as other programs and habits leave them: taken where they can be, otherwise refused for what they are, with
//! the remedy that helps.

use burn::tensor::Device;
use engine::{
    adapter::{AdapterForm, ModelShape},
    export::{gguf, gguf_zip, mlx},
    import::{AdapterFiles, ImportError},
    model::Model,
    weights::checkpoint::NamedSource,
};
use futures_executor::block_on;
use protocol::{AdapterSpec, Failure, FailureKind, Method, TargetModule};
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::{
    common::{drawn, fixture, golden, random::Random, workbench::named},
    import::{Forged, open, pair},
};

type ForgedTensor = (String, Dtype, Vec<usize>, Vec<u8>);

fn model_of(case: &str) -> (String, Model) {
    let told: Value = fixture::json(&format!("strangers/{case}/told.json"));
    let name = told["model"].as_str().unwrap().to_owned();
    let model = block_on(golden::model(&name, &Device::flex()));
    (name, model)
}

fn form_of(files: Vec<NamedSource>, model: &Model) -> (AdapterForm, Vec<f32>) {
    let files = open(files, model).unwrap_or_else(|error| panic!("{:?}", Failure::from(error)));
    block_on(files.form(model)).unwrap()
}

/// What the adapter makes of every projection.
fn merged(model: &Model, (form, parameters): &(AdapterForm, Vec<f32>)) -> Vec<Vec<f32>> {
    let layers = model.blocks.iter().enumerate();
    let each = layers.flat_map(|(layer, block)| {
        TargetModule::ALL.map(|module| {
            let matrix = block.matrices()[module as usize];
            let mut weight: Vec<f32> = matrix.dense().into_data().try_into_vec().unwrap();
            form.merge(parameters, layer, module, &mut weight);
            weight
        })
    });
    each.collect()
}

#[track_caller]
fn assert_near(what: &str, actual: &[Vec<f32>], expected: &[Vec<f32>]) {
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!(actual.len(), expected.len());
        for (actual, expected) in actual.iter().zip(expected) {
            let off = (actual - expected).abs();
            assert!(
                off <= 2e-5 * expected.abs().max(1.0),
                "{what}: {actual} is not {expected}"
            );
        }
    }
}

fn failure(files: Vec<NamedSource>, model: &Model) -> Failure {
    match open(files, model) {
        Ok(_) => panic!("it was taken"),
        Err(error) => Failure::from(error),
    }
}

#[test]
fn alpha_may_be_any_number() {
    let (_, model) = model_of("lora");
    let at = |alpha: Value| {
        let files = Forged::new("lora").set("lora_alpha", alpha).files();
        merged(&model, &form_of(files, &model))
    };
    let base = merged(
        &model,
        &form_of(Forged::new("lora").each(zeroed).files(), &model),
    );
    let whole = at(json!(8));
    for (alpha, share) in [
        (json!(0.5), 0.0625),
        (json!(12.8), 1.6),
        (json!(8.0), 1.0),
        (json!(-4), -0.5),
    ] {
        for (module, (actual, whole)) in at(alpha.clone()).iter().zip(&whole).enumerate() {
            for ((actual, whole), base) in actual.iter().zip(whole).zip(&base[module]) {
                let expected = base + share * (whole - base);
                assert!(
                    (actual - expected).abs() < 1e-5,
                    "{alpha}: {actual} is not {expected}"
                );
            }
        }
    }
    let patterned = Forged::new("lora.patterns").set("alpha_pattern", json!({"q_proj": 2.5}));
    let (_, patterned_model) = model_of("lora.patterns");
    let (form, _) = form_of(patterned.files(), &patterned_model);
    assert_eq!(form.layout.spec.alpha(0, TargetModule::QProj), 2.5);
    for alpha in [json!(0), json!("16"), json!(null), json!(1e300)] {
        let failure = failure(Forged::new("lora").set("lora_alpha", alpha).files(), &model);
        assert!(
            failure.what.contains("lora_alpha: it must be a number"),
            "{failure}"
        );
    }
}

fn zeroed((name, _, _, data): &mut ForgedTensor) {
    if name.contains("lora_B") {
        data.fill(0);
    }
}

#[test]
fn names_that_programs_change_are_read_all_the_same() {
    for case in ["lora", "dora", "lora.head", "ia3"] {
        let (_, model) = model_of(case);
        let sorted = |(form, parameters): (AdapterForm, Vec<f32>)| {
            let mut tensors = form.tensors(&parameters);
            tensors.sort_by(|a, b| a.name.cmp(&b.name));
            tensors
        };
        let expected = sorted(form_of(Forged::new(case).files(), &model));
        type Rename = fn(&str) -> String;
        let changes: [(&str, Rename); 6] = [
            ("torch.compile", |name| format!("_orig_mod.{name}")),
            ("compiled inside", |name| {
                name.replacen("base_model.model.", "base_model.model._orig_mod.", 1)
            }),
            ("without prefix", |name| {
                name.replacen("base_model.model.", "", 1)
            }),
            ("wrapped twice", |name| format!("base_model.model.{name}")),
            ("the state in memory", |name| {
                let named = [
                    ".lora_A.weight",
                    ".lora_B.weight",
                    ".lora_magnitude_vector",
                    ".ia3_l",
                ];
                match named.into_iter().find(|end| name.ends_with(end)) {
                    Some(end) if end.ends_with(".weight") => {
                        name.replace(end, &end.replace(".weight", ".default.weight"))
                    }
                    Some(_) => format!("{name}.default"),
                    None => {
                        name.replace("lm_head.weight", "lm_head.modules_to_save.default.weight")
                    }
                }
            }),
            ("older DoRA", |name| {
                name.replace("lora_magnitude_vector", "lora_magnitude_vector.weight")
            }),
        ];
        for (what, change) in changes {
            let renamed = Forged::new(case).each(|tensor| tensor.0 = change(&tensor.0));
            let actual = sorted(form_of(renamed.files(), &model));
            assert_eq!(actual, expected, "{case}, {what}");
        }
    }
}

#[test]
fn excluded_modules_are_left_out_and_the_rest_is_taken() {
    let case = "lora.all_linear";
    let (_, model) = model_of(case);
    let num_modules = |forged: &Forged| {
        let (form, _) = form_of(forged.files(), &model);
        form.layout.spec.target_modules.len()
    };
    for exclude in [
        json!(["lm_head"]),
        json!(["lm_head", "embed_tokens"]),
        json!([]),
        json!(null),
    ] {
        assert_eq!(
            num_modules(&Forged::new(case).set("exclude_modules", exclude)),
            7
        );
    }
    let without_mlp = || Forged::new(case).keep(|name| !name.contains(".mlp."));
    for exclude in [
        json!(["gate_proj", "up_proj", "down_proj"]),
        json!(".*\\.mlp\\..*"),
    ] {
        assert_eq!(
            num_modules(&without_mlp().set("exclude_modules", exclude)),
            4
        );
    }
    // Excluded, and there all the same.
    let there = Forged::new(case).set("exclude_modules", json!(["down_proj"]));
    assert!(
        failure(there.files(), &model)
            .place
            .unwrap()
            .contains("down_proj")
    );
}

/// Adds a tensor of zeros.
fn with(mut forged: Forged, name: &str, shape: &[usize]) -> Forged {
    let num_bytes = 4 * shape.iter().product::<usize>();
    let tensor = (
        name.to_owned(),
        Dtype::F32,
        shape.to_vec(),
        vec![0; num_bytes],
    );
    forged.tensors.push(tensor);
    forged
}

#[test]
fn what_cannot_be_taken_is_refused_for_what_it_is() {
    let (_, model) = model_of("lora");
    let (vocab_size, hidden_size) = (model.config.vocab_size, model.config.hidden_size);
    let good = || Forged::new("lora");
    let embedding = "base_model.model.model.embed_tokens.weight";
    let head = "base_model.model.lm_head.weight";
    let resized = || {
        let grown = with(good(), embedding, &[vocab_size + 2, hidden_size]);
        with(grown, head, &[vocab_size + 2, hidden_size])
    };
    let targets = |more: &str| {
        let mut targets = good().config["target_modules"].as_array().unwrap().clone();
        targets.push(json!(more));
        Value::Array(targets)
    };
    let (merge, task) = ("merge_and_unload", "CAUSAL_LM");
    let vocabulary = format!(
        "{} tokens while this model has {vocab_size}",
        vocab_size + 2
    );
    let cases: Vec<(Forged, &str, &str)> = vec![
        (
            resized().set("modules_to_save", json!(["embed_tokens", "lm_head"])),
            &vocabulary,
            merge,
        ),
        // PEFT saves both by itself where the vocabulary grew.
        (resized(), &vocabulary, merge),
        (
            with(good(), embedding, &[vocab_size, hidden_size])
                .set("modules_to_save", json!(["embed_tokens"])),
            "trained the embedding of all tokens",
            merge,
        ),
        (
            good().set("trainable_token_indices", json!([5, 6])),
            "embeddings of single tokens",
            merge,
        ),
        (
            good().set("trainable_token_indices", json!({"embed_tokens": [5]})),
            "embeddings of single tokens",
            merge,
        ),
        (
            with(
                good(),
                "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
                &[2, hidden_size],
            ),
            "embeddings of single tokens",
            merge,
        ),
        (
            good().set("target_modules", targets("lm_head")),
            "LoRA on lm_head",
            merge,
        ),
        (
            with(
                good(),
                "base_model.model.lm_head.lora_A.weight",
                &[3, hidden_size],
            ),
            "LoRA on lm_head",
            merge,
        ),
        (
            good().set("target_modules", targets("embed_tokens")),
            "LoRA on embed_tokens",
            merge,
        ),
        (
            with(
                good(),
                "base_model.model.model.embed_tokens.lora_embedding_A",
                &[3, vocab_size],
            ),
            "LoRA on embed_tokens",
            merge,
        ),
        (good().set("task_type", json!("SEQ_CLS")), "SEQ_CLS", task),
        (
            good().set("task_type", json!("TOKEN_CLS")),
            "TOKEN_CLS",
            task,
        ),
        (good().set("bias", json!("all")), "biases", merge),
        (good().set("peft_type", json!("LOHA")), "LOHA", merge),
        (
            good().set("init_lora_weights", json!("pissa_niter_4")),
            "initialization changed the base",
            "path_initial_model",
        ),
        (
            good().set("init_lora_weights", json!("OLoRA")),
            "initialization changed the base",
            "path_initial_model",
        ),
        (
            good().set("init_lora_weights", json!("loftq")),
            "initialization changed the base",
            "merge_and_unload",
        ),
        (
            good().set("init_lora_weights", json!("lora_ga")),
            "initialization changed the base",
            "path_initial_model",
        ),
        (
            good().each(|tensor| tensor.1 = Dtype::U32),
            "U32",
            "float32",
        ),
        (
            good().each(|(_, _, _, data)| data[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
            "NaN",
            "lower learning rate",
        ),
    ];
    for (forged, what, remedy) in cases {
        let failure = failure(forged.files(), &model);
        assert_eq!(failure.kind, FailureKind::Adapter);
        assert!(failure.what.contains(what), "{failure}, not {what}");
        let told = failure.remedy.unwrap();
        assert!(
            told.contains(remedy) && !told.contains("It was made for"),
            "{what}: {told}"
        );
    }
    // Another base, and nothing else: that is its remedy.
    let other = block_on(golden::model("tiny", &Device::flex()));
    let failure = failure(good().files(), &other);
    assert!(
        failure.what.contains("does not fit the loaded model"),
        "{failure}"
    );
    assert!(
        failure
            .remedy
            .unwrap()
            .contains("It was made for strangers/")
    );
    // Keys that mean nothing here are passed over.
    let with_more = good()
        .set("unsloth_version", json!("2026.1"))
        .set("use_qalora", json!(false));
    assert!(
        open(
            with_more.set("ensure_weight_tying", json!(false)).files(),
            &model
        )
        .is_ok()
    );
}

#[test]
fn of_a_checkpoints_folder_the_adapter_is_taken() {
    let (_, model) = model_of("lora");
    let rest: [(&str, &[u8]); 8] = [
        ("README.md", b"# An adapter"),
        ("optimizer.pt", b"PK\x03\x04"),
        ("scheduler.pt", b"PK\x03\x04"),
        ("rng_state.pth", b"\x80\x02}"),
        ("training_args.bin", b"PK\x03\x04"),
        ("trainer_state.json", br#"{"loss": NaN}"#),
        ("tokenizer_config.json", br#"{"eos_token": "</s>"}"#),
        (
            "chat_template.jinja",
            b"{% for m in messages %}{% endfor %}",
        ),
    ];
    for folder in ["", "checkpoint-20/"] {
        let others = rest
            .iter()
            .map(|(name, bytes)| named(&format!("{folder}{name}"), bytes.to_vec()));
        let mut files: Vec<NamedSource> = others.collect();
        for mut file in Forged::new("lora").files() {
            file.name = format!("{folder}{}", file.name);
            files.push(file);
        }
        // As Accelerate and the Trainer leave a second file of weights.
        let more = Forged::new("lora").files().remove(0);
        files.push(NamedSource {
            name: format!("{folder}model.safetensors"),
            ..more
        });
        let taken = open(files, &model).unwrap();
        assert_eq!(
            taken.unused_files.len(),
            rest.len() + 1,
            "{:?}",
            taken.unused_files
        );
        assert!(
            taken
                .unused_files
                .contains(&format!("{folder}optimizer.pt"))
        );
    }
    // Pickles alone are refused, the adapter's own by its name.
    let config = Forged::new("lora").files().remove(1);
    let files = vec![
        named("optimizer.pt", b"PK\x03\x04".to_vec()),
        named("adapter_model.bin", b"PK\x03\x04".to_vec()),
        config,
    ];
    let failure = failure(files, &model);
    assert!(
        failure
            .what
            .contains("adapter_model.bin is a PyTorch pickle"),
        "{failure}"
    );
    assert!(failure.remedy.unwrap().contains("safe_serialization=True"));
}

/// An adapter of every module with every number drawn.
fn make(spec: &AdapterSpec, model: &Model, random: &mut Random) -> (AdapterForm, Vec<f32>) {
    let (form, mut parameters) = block_on(AdapterForm::start(spec, model, 3)).unwrap();
    for value in &mut parameters {
        *value += random.unit() * 0.1;
    }
    (form, parameters)
}

#[test]
fn what_was_exported_for_mlx_and_llama_cpp_comes_in_again() {
    let mut random = Random::new();
    for round in 0..24 {
        let name = ["tiny", "odd"][round % 2];
        let model = block_on(golden::model(name, &Device::flex()));
        let shape = ModelShape::from(&model.config);
        let method = [Method::Lora, Method::RsLora, Method::LoraPlus, Method::Dora][round % 4];
        let mut spec = drawn::spec(method, 2, &mut random);
        (spec.train_norms, spec.train_head) = (false, false);
        let made = make(&spec, &model, &mut random);
        let expected = merged(&model, &made);
        let (form, parameters) = &made;
        let [weights, config] = mlx::files(form, parameters, &shape, "a/base").unwrap();
        let files = vec![named(weights.0, weights.1), named(config.0, config.1)];
        let read = open(files, &model).unwrap();
        assert_eq!(read.base.as_deref(), Some("a/base"));
        let again = block_on(read.form(&model)).unwrap();
        assert_near(
            &format!("{spec:?} of MLX"),
            &merged(&model, &again),
            &expected,
        );
        if method == Method::Dora {
            continue;
        }
        let bytes = gguf::adapter(form.pairs(parameters), &shape, "base").unwrap();
        let zip = gguf_zip(form, parameters, &shape, "base").unwrap();
        for file in [named("adapter.gguf", bytes), named("inlay-gguf.zip", zip)] {
            let again = form_of(vec![file], &model);
            assert_near(
                &format!("{spec:?} of GGUF"),
                &merged(&model, &again),
                &expected,
            );
        }
    }
}

#[test]
fn other_files_of_mlx_and_llama_cpp_are_refused_by_name() {
    let mut random = Random::new();
    let model = block_on(golden::model("tiny", &Device::flex()));
    let shape = ModelShape::from(&model.config);
    let made = make(&AdapterSpec::default(), &model, &mut random);
    let [(_, weights), (_, config)] = mlx::files(&made.0, &made.1, &shape, "a/base").unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let told = |config: Value| {
        let files = vec![
            named("adapters.safetensors", weights.clone()),
            named("adapter_config.json", config.to_string().into_bytes()),
        ];
        failure(files, &model)
    };
    let mut full = config.clone();
    full["fine_tune_type"] = json!("full");
    let full = told(full);
    assert!(full.what.contains("trained the whole model"), "{full}");
    assert!(full.remedy.unwrap().contains("mlx_lm.fuse"));
    let mut bare = config;
    bare["lora_parameters"] = json!({"dropout": 0});
    assert!(told(bare).what.contains("rank and scale"));

    // A model, and an adapter of another architecture.
    let bytes = gguf::adapter(made.0.pairs(&made.1), &shape, "base").unwrap();
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        failure(vec![named("x.gguf", bytes)], &model)
    };
    let other = replaced("llama", "olmo2");
    assert!(
        other.place.unwrap().contains("architecture olmo2"),
        "{}",
        other.what
    );
    let no_alpha = replaced("adapter.lora.alpha", "adapter.lora.omega");
    assert!(
        no_alpha.what.contains("adapter.lora.alpha: it is missing"),
        "{no_alpha}"
    );
    let no_adapter = block_on(AdapterFiles::open(
        vec![named(
            "m.gguf",
            b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        )],
        &shape,
    ));
    assert!(matches!(no_adapter, Err(ImportError::NotAnAdapter { .. })));
    // Cut and changed anywhere: refused or read, never a panic.
    for _ in 0..500 {
        let mut damaged = bytes.clone();
        let at = random.size(0..damaged.len());
        match random.size(0..2) {
            0 => damaged.truncate(at),
            _ => damaged[at.min(2000)] = random.size(0..256) as u8,
        }
        let _ = open(vec![named("x.gguf", damaged)], &model);
    }
    let _ = pair(Vec::new(), Vec::new());
}
