//! Loading adapters: those made by PEFT, our own of every method, blends, and those that are refused.

use burn::tensor::Device;
use engine::{
    adapter::{AdapterForm, ModelShape},
    export::{adapter_files, peft_zip},
    import::{AdapterFiles, ImportError, Mismatch},
    model::Model,
    pacing::Pacing,
    train::step::evaluate,
    weights::checkpoint::NamedSource,
};
use futures_executor::block_on;
use protocol::{AdapterSpec, Method, Precision, TargetModule};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

use crate::common::{
    drawn, file,
    fixture::{self, assert_share},
    golden,
    host::ScriptedHost,
    random::Random,
    workbench::named,
};

/// Folders under `fixtures/strangers`.
const STRANGERS: [&str; 11] = [
    "lora",
    "lora.all_linear",
    "lora.regex",
    "lora.patterns",
    "rs_lora",
    "dora",
    "vera",
    "ia3",
    "ln_tuning",
    "prompt_tuning",
    "lora.head",
];

#[derive(serde::Deserialize)]
struct Told {
    model: String,
    loss: f64,
}

#[derive(serde::Deserialize)]
struct Rows {
    rows: Vec<fixture::Row>,
}

pub fn pair(config: Vec<u8>, tensors: Vec<u8>) -> Vec<NamedSource> {
    vec![
        named("adapter_model.safetensors", tensors),
        named("adapter_config.json", config),
    ]
}

pub fn open(files: Vec<NamedSource>, model: &Model) -> Result<AdapterFiles, ImportError> {
    block_on(AdapterFiles::open(files, &ModelShape::from(&model.config)))
}

pub fn loss(name: &str, model: &Model, adapter: Option<(&AdapterForm, &[f32])>) -> f64 {
    let rows: Rows = fixture::json(&format!("model/{name}.forward.json"));
    let batch = fixture::batch(&rows.rows);
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let adapter = adapter.map(|(form, parameters)| form.upload(parameters, model));
    let loss = block_on(evaluate(
        model,
        adapter.as_ref(),
        &batch,
        Precision::Single,
        &pacing,
    ))
    .unwrap();
    loss / batch.num_scored() as f64
}

#[test]
fn a_strangers_adapter_has_the_loss_of_peft() {
    for case in STRANGERS {
        let told: Told = fixture::json(&format!("strangers/{case}/told.json"));
        let model = block_on(golden::model(&told.model, &Device::flex()));
        let of = |name: &str| file::bytes(&format!("strangers/{case}/{name}"));
        let files = pair(of("adapter_config.json"), of("adapter_model.safetensors"));
        let files = open(files, &model).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(files.base, Some(format!("strangers/{}", told.model)));
        let (form, parameters) = block_on(files.form(&model)).unwrap();
        let base = loss(&told.model, &model, None);
        assert!((base - told.loss).abs() > 1e-2, "{case} does nothing");
        let actual = loss(&told.model, &model, Some((&form, &parameters)));
        let off = assert_share(case, actual, told.loss, 1e-5);
        println!("{case:<16} {actual:.6}, off by {off:.1e}");
    }
}

/// An adapter with random numbers.
fn make(spec: &AdapterSpec, model: &Model, random: &mut Random) -> (AdapterForm, Vec<f32>) {
    let (form, mut parameters) = block_on(AdapterForm::start(spec, model, 3)).unwrap();
    for value in &mut parameters {
        *value += random.unit() * 0.1;
    }
    (form, parameters)
}

#[test]
fn what_is_written_comes_in_again() {
    let mut random = Random::new();
    let model = block_on(golden::model("tiny", &Device::flex()));
    let shape = ModelShape::from(&model.config);
    for method in Method::ALL.into_iter().cycle().take(4 * Method::ALL.len()) {
        let spec = drawn::spec(method, 2, &mut random);
        let (form, parameters) = make(&spec, &model, &mut random);
        let tensors = form.tensors(&parameters);
        let [adapter, config] = adapter_files(&spec, &shape, "base", &tensors).unwrap();
        let zipped = peft_zip(&form, &parameters, &shape, "base", Some("{{ x }}")).unwrap();
        let expected = loss("tiny", &model, Some((&form, &parameters)));
        for files in [
            pair(config.1, adapter.1),
            vec![named("inlay-tiny-lora.zip", zipped)],
        ] {
            let files = open(files, &model).unwrap_or_else(|error| panic!("{spec:?}: {error}"));
            let (again, values) = block_on(files.form(&model)).unwrap();
            // An adapter initialized from the base comes back as a LoRA of twice the rank.
            let sorted = |mut tensors: Vec<_>| {
                tensors.sort_by(|a: &engine::adapter::NamedTensor, b| a.name.cmp(&b.name));
                tensors
            };
            assert_eq!(
                sorted(again.tensors(&values)),
                sorted(tensors.clone()),
                "{spec:?}"
            );
            let actual = loss("tiny", &model, Some((&again, &values)));
            assert_share(&format!("{spec:?}"), actual, expected, 1e-5);
        }
    }
}

#[test]
fn a_blend_is_the_sum_of_its_parts() {
    let mut random = Random::new();
    let model = block_on(golden::model("tiny", &Device::flex()));
    let shape = ModelShape::from(&model.config);
    let methods = [
        Method::Lora,
        Method::RsLora,
        Method::Pissa,
        Method::Vera,
        Method::Olora,
    ];
    for round in 0..6 {
        let parts: Vec<_> = (0..2 + round % 2)
            .map(|_| {
                let mut spec = drawn::spec(methods[random.size(0..methods.len())], 2, &mut random);
                (spec.train_norms, spec.train_head) = (false, false);
                let (form, parameters) = make(&spec, &model, &mut random);
                (form, parameters, f64::from(random.unit()) * 1.5)
            })
            .collect();
        let of: Vec<_> = parts
            .iter()
            .map(|(form, parameters, weight)| (form, parameters.as_slice(), *weight))
            .collect();
        let (blend, values) = AdapterForm::blend(&of, &shape).unwrap();
        // A pair of zeros alone, where a part has no such module, could never learn.
        for tensor in blend.tensors(&values) {
            let is_a = tensor.name.contains("lora_A");
            let mut rows = tensor.values.chunks_exact(tensor.shape[1]);
            assert!(!is_a || rows.all(|row| row.iter().any(|&value| value != 0.0)));
        }
        for (layer, block) in model.blocks.iter().enumerate() {
            for module in TargetModule::ALL {
                let matrix = block.matrices()[module as usize];
                let base: Vec<f32> = matrix.dense().into_data().try_into_vec().unwrap();
                let merged = |form: &AdapterForm, parameters: &[f32]| {
                    let mut weight = base.clone();
                    form.merge(parameters, layer, module, &mut weight);
                    weight
                };
                let mut expected: Vec<f64> = base.iter().map(|&value| f64::from(value)).collect();
                for (form, parameters, weight) in &parts {
                    let changed = merged(form, parameters);
                    for ((sum, changed), base) in expected.iter_mut().zip(changed).zip(&base) {
                        *sum += weight * (f64::from(changed) - f64::from(*base));
                    }
                }
                let largest = expected
                    .iter()
                    .fold(1.0f64, |most, value| most.max(value.abs()));
                for (actual, expected) in merged(&blend, &values).into_iter().zip(expected) {
                    let off = (f64::from(actual) - expected).abs();
                    assert!(
                        off <= 2e-6 * largest,
                        "{layer} {module:?}: {actual} is not {expected}"
                    );
                }
            }
        }
    }
}

/// An adapter's files with something done to them.
pub struct Forged {
    pub config: Value,
    pub tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Forged {
    pub fn new(case: &str) -> Self {
        let config = fixture::json(&format!("strangers/{case}/adapter_config.json"));
        let bytes = file::bytes(&format!("strangers/{case}/adapter_model.safetensors"));
        Self::read(config, &bytes)
    }

    fn read(config: Value, bytes: &[u8]) -> Self {
        let read = SafeTensors::deserialize(bytes).unwrap();
        let tensors = read.iter().map(|(name, view)| {
            (
                name.to_owned(),
                view.dtype(),
                view.shape().to_vec(),
                view.data().to_vec(),
            )
        });
        Self {
            config,
            tensors: tensors.collect(),
        }
    }

    /// One of ours, with random numbers.
    fn of(spec: &AdapterSpec, model: &Model) -> Self {
        let (form, parameters) = make(spec, model, &mut Random::new());
        let shape = ModelShape::from(&model.config);
        let tensors = form.tensors(&parameters);
        let [adapter, config] = adapter_files(spec, &shape, "base", &tensors).unwrap();
        Self::read(serde_json::from_slice(&config.1).unwrap(), &adapter.1)
    }

    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    pub fn each(mut self, change: impl FnMut(&mut (String, Dtype, Vec<usize>, Vec<u8>))) -> Self {
        self.tensors.iter_mut().for_each(change);
        self
    }

    pub fn keep(mut self, is_kept: impl Fn(&str) -> bool) -> Self {
        self.tensors.retain(|(name, ..)| is_kept(name));
        self
    }

    pub fn files(&self) -> Vec<NamedSource> {
        let views = self.tensors.iter().map(|(name, dtype, shape, data)| {
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), data).unwrap(),
            )
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        pair(self.config.to_string().into_bytes(), bytes)
    }

    /// What is refused, and why.
    pub fn mismatches(&self, model: &Model) -> Vec<Mismatch> {
        match open(self.files(), model) {
            Err(ImportError::Mismatches { mismatches, .. }) => mismatches,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was taken"),
        }
    }
}

#[test]
fn a_bad_adapter_is_refused_with_every_reason() {
    let model = |name| block_on(golden::model(name, &Device::flex()));
    let (odd, tiny) = (model("odd"), model("tiny"));
    let places = |forged: &Forged| -> Vec<String> {
        let mismatches = forged.mismatches(&odd);
        mismatches
            .iter()
            .map(|mismatch| mismatch.place().to_owned())
            .collect()
    };
    let good = || Forged::new("lora");
    let num_tensors = good().tensors.len();
    assert!(open(good().files(), &odd).is_ok());

    // Another base: every tensor has another shape, or belongs to no block.
    assert!(good().mismatches(&tiny).len() >= num_tensors);
    // Another rank than the tensors have.
    assert_eq!(places(&good().set("r", json!(5))).len(), num_tensors);
    let half = good().keep(|name| !name.contains("lora_B"));
    assert_eq!(places(&half).len(), num_tensors / 2);
    assert!(matches!(half.mismatches(&odd)[0], Mismatch::Missing { .. }));
    // Renamed, each is missing and unexpected.
    let renamed = good().each(|tensor| tensor.0 = tensor.0.replace("base_model", "my_model"));
    assert_eq!(places(&renamed).len(), 2 * num_tensors);
    let spoiled = good().each(|(name, _, _, data)| {
        if name.contains("layers.1.") {
            data[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
        }
    });
    let reasons = spoiled.mismatches(&odd);
    assert_eq!(
        reasons.len(),
        good()
            .tensors
            .iter()
            .filter(|tensor| tensor.0.contains("layers.1."))
            .count()
    );
    assert!(matches!(reasons[0], Mismatch::NonFinite { .. }));
    let whole = good().each(|tensor| tensor.1 = Dtype::I32);
    assert!(matches!(
        whole.mismatches(&odd)[0],
        Mismatch::Type {
            type_name: "I32",
            ..
        }
    ));

    // Settings that would be loaded with a different meaning, each by its key, and all at once.
    let wrong = [
        ("peft_type", json!("PREFIX_TUNING")),
        ("bias", json!("all")),
        ("init_lora_weights", json!("pissa")),
        ("lora_alpha", json!(0)),
        ("task_type", json!("SEQ_CLS")),
        ("use_qalora", json!(true)),
        ("target_modules", json!(["q_proj", "c_attn"])),
        ("layers_to_transform", json!([0, "one"])),
        ("rank_pattern", json!({"lm_head": 3})),
        ("modules_to_save", json!(["embed_tokens"])),
    ];
    let headless = good().set("modules_to_save", json!(["lm_head"]));
    assert_eq!(places(&headless), ["modules_to_save"]);
    for (key, value) in wrong.clone() {
        assert_eq!(places(&good().set(key, value)), [key]);
    }
    let all = wrong
        .into_iter()
        .fold(good(), |forged, (key, value)| forged.set(key, value));
    // An unknown method has neither rank nor alpha to look at, but is taken as LoRA to find the rest.
    assert_eq!(places(&all).len(), 9, "{:?}", places(&all));
    // What cannot be in the file is not laid out.
    assert_eq!(places(&good().set("r", json!(99_000_000))), ["r"]);
    assert_eq!(
        places(&Forged::new("vera").set("save_projection", json!(false))),
        ["save_projection"]
    );
    assert_eq!(
        places(&Forged::new("ia3").set("feedforward_modules", json!(["v_proj"]))),
        ["feedforward_modules"]
    );
}

/// PEFT saves every module whose path ends with a name, so `norm` means all norms of a model.
#[test]
fn saved_modules_are_those_whose_paths_end_so() {
    let spec = AdapterSpec {
        train_norms: true,
        ..AdapterSpec::default()
    };
    let of_queries = || {
        let name = "base_model.model.model.layers.0.self_attn.q_norm.weight";
        (name.to_owned(), Dtype::F32, vec![8], vec![0; 32])
    };
    for name in ["tiny", "qwen3"] {
        let model = block_on(golden::model(name, &Device::flex()));
        let saving = |names: Value| Forged::of(&spec, &model).set("modules_to_save", names);
        for all in [
            json!(["input_layernorm", "post_attention_layernorm", "norm"]),
            json!(["norm"]),
            json!(["layernorm", "model.norm"]),
        ] {
            let files = open(saving(all.clone()).files(), &model).unwrap();
            assert!(files.spec.train_norms && !files.spec.train_head, "{all}");
        }
        for (other, reason) in [
            (json!(["input_layernorm"]), "only all together"),
            (json!(["model.norm"]), "only all together"),
            (json!(["norm", "score"]), "only all together"),
            (json!(["norm", "q_proj"]), "only all together"),
            (json!(["norm", "embed_tokens"]), "embedding"),
        ] {
            let mismatches = saving(other.clone()).mismatches(&model);
            assert_eq!(mismatches.len(), 1, "{other}: {mismatches:?}");
            assert!(mismatches[0].to_string().contains(reason), "{other}");
        }
        // What PEFT leaves of a Qwen3 whose every norm was trained.
        let mut with_heads = saving(json!(["norm"]));
        with_heads.tensors.push(of_queries());
        let mismatches = with_heads.mismatches(&model);
        assert_eq!(mismatches.len(), 1, "{mismatches:?}");
        let is_told = mismatches[0].to_string().contains("q_norm and k_norm");
        assert_eq!(is_told, name == "qwen3");
    }
}

#[test]
fn of_several_configs_the_one_beside_the_weights_counts() {
    let odd = block_on(golden::model("odd", &Device::flex()));
    let good = Forged::new("lora");
    let config = |alpha: usize| {
        let mut config = good.config.clone();
        config["lora_alpha"] = json!(alpha);
        config.to_string()
    };
    let tensors = file::bytes("strangers/lora/adapter_model.safetensors");
    let opened = |names: [&str; 2], weights: &str| {
        let mut files = vec![named(weights, &*tensors)];
        files.push(named(names[0], config(3)));
        files.push(named(names[1], config(7)));
        open(files, &odd)
    };
    let (beside, aside) = ("a/adapter_config.json", "b/adapter_config.json");
    for (names, weights, expected, unused) in [
        ([beside, aside], "a/adapter_model.safetensors", 3.0, aside),
        ([aside, beside], "a/adapter_model.safetensors", 7.0, aside),
        (
            ["adapter_config.json", "old.json"],
            "adapter_model.safetensors",
            3.0,
            "old.json",
        ),
    ] {
        let files = opened(names, weights).unwrap();
        assert_eq!(files.spec.lora_alpha, expected, "{names:?}");
        assert_eq!(files.unused_files, [unused]);
    }
    for (names, weights) in [
        ([beside, aside], "c/adapter_model.safetensors"),
        ([beside, aside], "adapter_model.safetensors"),
        (["one.json", "two.json"], "adapter_model.safetensors"),
        (
            ["adapter_config.json", "adapter_config.json"],
            "adapter_model.safetensors",
        ),
    ] {
        let error = opened(names, weights).map(drop).unwrap_err().to_string();
        for name in names {
            assert!(error.contains(name), "{error}");
        }
    }
}

#[test]
fn an_empty_list_of_layers_means_all() {
    let odd = block_on(golden::model("odd", &Device::flex()));
    for all in [json!(null), json!([]), json!([0, 1, 2, 3])] {
        let forged = Forged::new("lora").set("layers_to_transform", all);
        let spec = open(forged.files(), &odd).unwrap().spec;
        assert_eq!(spec.layers_to_transform, None);
    }
}

/// PEFT's `get_pattern_key` returns the first key of the file that matches, however short it is.
#[test]
fn of_several_patterns_the_first_in_the_file_counts() {
    let tiny = block_on(golden::model("tiny", &Device::flex()));
    let alphas = |pattern: &str| {
        let pattern: Value = serde_json::from_str(pattern).unwrap();
        let forged = Forged::new("lora.patterns").set("alpha_pattern", pattern);
        let spec = open(forged.files(), &tiny).unwrap().spec;
        [0, 1].map(|layer| spec.alpha(layer, TargetModule::QProj))
    };
    let path = "model.layers.1.self_attn.q_proj";
    for (pattern, expected) in [
        (
            r#"{"q_proj": 2.5, "layers.1.self_attn.q_proj": 5}"#.to_owned(),
            [2.5, 2.5],
        ),
        (
            r#"{"layers.1.self_attn.q_proj": 5, "q_proj": 2.5}"#.to_owned(),
            [2.5, 5.0],
        ),
        (
            format!(r#"{{"self_attn.q_proj": 3, "{path}": 5, "q_proj": 2}}"#),
            [3.0, 3.0],
        ),
        (format!(r#"{{"^{path}": 5, "{path}": 7}}"#), [8.0, 5.0]),
        (format!(r#"{{"q_proj": 2, "^{path}": 7}}"#), [2.0, 2.0]),
    ] {
        assert_eq!(alphas(&pattern), expected, "{pattern}");
    }
    // Nothing may come before `^`, so this key names no module.
    let anchored = Forged::new("lora.patterns").set("alpha_pattern", json!({"^q_proj": 5}));
    assert_eq!(anchored.mismatches(&tiny)[0].place(), "alpha_pattern");
}

#[test]
fn files_that_are_no_adapter_are_refused() {
    let odd = block_on(golden::model("odd", &Device::flex()));
    let config = file::bytes("strangers/lora/adapter_config.json");
    let tensors = file::bytes("strangers/lora/adapter_model.safetensors");
    let told = |files: Vec<NamedSource>| match open(files, &odd) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    };
    assert!(told(vec![]).contains("adapter_config.json is missing"));
    assert!(told(vec![named("a.json", &*config)]).contains("adapter_model.safetensors is missing"));
    assert!(told(vec![named("w", &*tensors)]).contains("adapter_config.json is missing"));
    assert!(told(pair(b"{\"peft_type\": ".to_vec(), tensors.clone())).contains("damaged"));
    let two = vec![
        named("a.json", &*config),
        named("a", &*tensors),
        named("b", &*tensors),
    ];
    assert!(told(two).contains("several weights files"));
    // Protocol 2, which torch.save writes, and 4, which Python does.
    for pickle in [&b"\x80\x02}q\x00."[..], b"\x80\x04\x95\x02\x00"] {
        let files = vec![named("a.json", &*config), named("m.bin", pickle)];
        assert!(told(files).contains("pickle"));
    }
    // A byte order mark before the config is no damage.
    let marked = [b"\xEF\xBB\xBF", config.as_slice()].concat();
    assert!(open(pair(marked, tensors.clone()), &odd).is_ok());
    assert!(told(vec![named("x.zip", b"PK\x03\x04 and no more")]).contains("archive"));
    // A wrong header, cut off or changed anywhere: refused or read, never a panic.
    let mut random = Random::new();
    for _ in 0..2000 {
        let mut bytes = tensors.clone();
        if random.size(0..2) == 0 {
            bytes.truncate(random.size(0..bytes.len()));
        } else {
            let at = random.size(0..bytes.len().min(2000));
            bytes[at] = random.size(0..256) as u8;
        }
        let mut text = config.clone();
        if random.size(0..2) == 0 {
            let at = random.size(0..text.len());
            text[at] = random.size(0..128) as u8;
        }
        let _ = open(pair(text, bytes), &odd);
    }
}
