//! Random models, adapters and batches: what was trained can be merged, and what was written is read back unchanged.

use std::collections::BTreeMap;

use engine::{
    adapter::{AdapterForm, ModelShape, NamedTensor},
    data::batch::Batch,
    export::{gguf, merged::Merge, mlx, peft_zip, refusal},
    import::AdapterFiles,
    model::Model,
    pacing::Pacing,
    train::{state::TrainingState, step::evaluate},
    weights::{
        config::ModelConfig,
        gguf::{GgufHeader, Value},
        tensor::TensorEntry,
    },
};
use futures_executor::block_on;
use protocol::{AdapterSpec, ExportKind, MergedKind, Method, Precision, RunSpec, TargetModule};
use safetensors::SafeTensors;

use crate::{
    common::{
        drawn::{self, DrawnModel},
        fixture::assert_share,
        golden,
        host::ScriptedHost,
        random::Random,
        workbench::named,
    },
    merged::{Case, loaded, opened, singles, untrained, unzip},
};

/// A model, an adapter trained on it for two steps from random numbers, and rows to score.
struct Trained {
    base: DrawnModel,
    model: Model,
    state: TrainingState,
    batch: Batch,
}

impl Trained {
    fn new(method: Method, random: &mut Random) -> Self {
        let base = DrawnModel::new(random);
        let adapter = drawn::spec(method, base.config.num_hidden_layers, random);
        Self::of(base, adapter, random)
    }

    /// Without norms and head, which only some forms have.
    fn of_modules(method: Method, random: &mut Random) -> Self {
        let base = DrawnModel::new(random);
        let adapter = AdapterSpec {
            train_norms: false,
            train_head: false,
            ..drawn::spec(method, base.config.num_hidden_layers, random)
        };
        Self::of(base, adapter, random)
    }

    fn of(base: DrawnModel, adapter: AdapterSpec, random: &mut Random) -> Self {
        let model = loaded(&base.files());
        let spec = RunSpec {
            adapter,
            ..RunSpec::default()
        };
        let mut state = block_on(TrainingState::start(&spec, &model, golden::profile())).unwrap();
        for parameter in &mut state.parameters {
            *parameter += random.unit() * 0.1;
        }
        let rows = random.sequences(6);
        let rows: Vec<_> = rows.iter().collect();
        let host = ScriptedHost::default();
        let pacing = Pacing::new(&host);
        let before = state.parameters.clone();
        for rows in [&rows[..3], &rows[3..]] {
            let batches = [Batch::new(rows)];
            block_on(state.step(&model, &batches, 1e-2, &pacing)).unwrap();
        }
        assert_ne!(state.parameters, before);
        Self {
            base,
            model,
            state,
            batch: Batch::packed(&rows),
        }
    }

    fn shape(&self) -> ModelShape {
        ModelShape::from(&self.model.config)
    }

    fn loss(&self, model: &Model, adapter: Option<(&AdapterForm, &[f32])>) -> f64 {
        let host = ScriptedHost::default();
        let pacing = Pacing::new(&host);
        let adapter = adapter.map(|(form, parameters)| form.upload(parameters, model));
        block_on(evaluate(
            model,
            adapter.as_ref(),
            &self.batch,
            Precision::Single,
            &pacing,
        ))
        .unwrap()
    }

    fn tuned_loss(&self) -> f64 {
        let TrainingState {
            form, parameters, ..
        } = &self.state;
        self.loss(&self.model, Some((form, parameters)))
    }

    /// What merging adds to a module's weight, `[out, in]`, by blocks and modules.
    fn differences(&self) -> BTreeMap<(usize, TargetModule), Vec<f64>> {
        let TrainingState {
            form, parameters, ..
        } = &self.state;
        let modules = form.layout.modules().map(|(layer, module, _)| {
            let matrix = self.model.blocks[layer].matrices()[module as usize];
            let base: Vec<f32> = matrix.dense().into_data().try_into_vec().unwrap();
            let mut merged = base.clone();
            form.merge(parameters, layer, module, &mut merged);
            let pairs = merged.into_iter().zip(base);
            let difference = pairs.map(|(merged, base)| f64::from(merged) - f64::from(base));
            ((layer, module), difference.collect())
        });
        modules.collect()
    }
}

fn methods() -> impl Iterator<Item = Method> {
    Method::ALL.into_iter().cycle().take(3 * Method::ALL.len())
}

/// Of all of them, what this form of file can hold.
fn trained_for(kind: ExportKind) -> Vec<Trained> {
    let mut random = Random::new();
    let trained = methods().map(|method| Trained::of_modules(method, &mut random));
    let fits = |of: &Trained| refusal(kind, &of.state.form.layout.spec).is_none();
    let trained: Vec<Trained> = trained.filter(fits).collect();
    assert!(!trained.is_empty());
    trained
}

fn sorted(mut tensors: Vec<NamedTensor>) -> Vec<NamedTensor> {
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    tensors
}

/// `factor b a` with `b` `[out, r]` and `a` `[r, in]`, each given by its elements.
fn product(
    [out_features, r, in_features]: [usize; 3],
    factor: f64,
    b: impl Fn(usize, usize) -> f32,
    a: impl Fn(usize, usize) -> f32,
) -> Vec<f64> {
    let element = |row: usize, column: usize| {
        let terms = (0..r).map(|of| f64::from(b(row, of)) * f64::from(a(of, column)));
        factor * terms.sum::<f64>()
    };
    let rows = (0..out_features).flat_map(|row| (0..in_features).map(move |col| (row, col)));
    rows.map(|(row, column)| element(row, column)).collect()
}

/// The merged weight is in 32 bits, so its difference to the base is off by a rounding of the weight.
fn assert_same(what: &str, actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (actual, expected) in actual.iter().zip(expected) {
        let error = (actual - expected).abs();
        assert!(error < 2e-6, "{what}: {actual} for {expected}");
    }
}

#[test]
fn merged_after_training_equals_the_forward_with_the_adapter() {
    let mut random = Random::new();
    let (mut num_cases, mut num_moved) = (0, 0);
    for method in methods().filter(|&method| method != Method::PromptTuning) {
        let of = Trained::new(method, &mut random);
        let (base, tuned) = (of.loss(&of.model, None), of.tuned_loss());
        let case = Case::new(of.base.files(), of.state);
        let files = opened(unzip(&case.write(MergedKind::Safetensors)));
        let merged = loaded(&files);
        let host = ScriptedHost::default();
        let pacing = Pacing::new(&host);
        let merged = block_on(evaluate(
            &merged,
            None,
            &of.batch,
            Precision::Single,
            &pacing,
        ))
        .unwrap();
        let what = format!("{:?} on {:?}", case.state.form.layout.spec, of.base.config);
        let off = assert_share(&what, merged, tuned, 1e-5);
        num_cases += 1;
        num_moved += usize::from((base - tuned).abs() > 1e-4 * base);
        println!("{method:?}: {base:.4}, {tuned:.4}, merged off by {off:.1e}");
    }
    // A vector of ten numbers or so may do little, but few adapters are so small.
    assert!(
        4 * num_moved > 3 * num_cases,
        "{num_moved} of {num_cases} do anything"
    );
}

#[test]
fn adapters_of_peft_are_read_as_they_were_written() {
    let mut random = Random::new();
    for method in methods() {
        let of = Trained::new(method, &mut random);
        let TrainingState {
            form, parameters, ..
        } = &of.state;
        let zip = peft_zip(form, parameters, &of.shape(), "base", None).unwrap();
        let zip = named("inlay-lora.zip", zip);
        let files = block_on(AdapterFiles::open(vec![zip], &of.shape())).unwrap();
        let (again, values) = block_on(files.form(&of.model)).unwrap();
        let what = format!("{:?} on {:?}", form.layout.spec, of.base.config);
        let written = sorted(form.tensors(parameters));
        assert_eq!(sorted(again.tensors(&values)), written, "{what}");
        let actual = of.loss(&of.model, Some((&again, &values)));
        assert_share(&what, actual, of.tuned_loss(), 1e-5);
    }
}

/// As llama.cpp has it: `alpha / r b a` on weights whose rows of queries and keys come in pairs of a head's halves.
#[test]
fn gguf_adapters_are_read_as_they_were_written() {
    for of in trained_for(ExportKind::Gguf) {
        let TrainingState {
            form, parameters, ..
        } = &of.state;
        let shape = of.shape();
        let file = gguf::adapter(form.pairs(parameters), &shape, "name").unwrap();
        let header = block_on(GgufHeader::read(&file)).unwrap();
        let Some(&Value::Float(alpha)) = header.metadata.get("adapter.lora.alpha") else {
            panic!("no alpha");
        };
        let tensors: BTreeMap<&str, &TensorEntry> = header
            .tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect();
        let read = |name: &str| -> Vec<f32> {
            singles(&file[tensors[name].offset as usize..][..tensors[name].num_bytes as usize])
        };
        let differences = of.differences();
        assert_eq!(tensors.len(), 2 * differences.len());
        for ((layer, module), expected) in differences {
            let weight = format!("model.layers.{layer}.{}.weight", module.path());
            let name = shape.arch.gguf_from_hf(&weight).unwrap();
            let (a, b) = (
                read(&format!("{name}.lora_a")),
                read(&format!("{name}.lora_b")),
            );
            let in_features = form.layout.in_features(module);
            let r = a.len() / in_features;
            let out_features = b.len() / r;
            let heads = match module {
                _ if !shape.arch.is_interleaved(module) => 0,
                TargetModule::QProj => shape.num_attention_heads,
                TargetModule::KProj => shape.num_key_value_heads,
                _ => 0,
            };
            // Where HF's row lies in the file.
            let row_of = |row: usize| {
                let Some(head_dim) = out_features.checked_div(heads) else {
                    return row;
                };
                let (head, at, half) = (row / head_dim, row % head_dim, head_dim / 2);
                head * head_dim + 2 * (at % half) + at / half
            };
            let actual = product(
                [out_features, r, in_features],
                alpha / r as f64,
                |row, of| b[row_of(row) * r + of],
                |of, column| a[of * in_features + column],
            );
            assert_same(
                &format!("{name} of {:?}", form.layout.spec),
                &actual,
                &expected,
            );
        }
    }
}

/// As mlx-lm has it: `scale (a b)^T` with `a` `[in, r]` and `b` `[r, out]`, and DoRA's magnitudes.
#[test]
fn mlx_adapters_are_read_as_they_were_written() {
    for of in trained_for(ExportKind::Mlx) {
        let TrainingState {
            form, parameters, ..
        } = &of.state;
        let [tensors, config] = mlx::files(form, parameters, &of.shape(), "base").unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config.1).unwrap();
        let scale = config["lora_parameters"]["scale"].as_f64().unwrap();
        let rank = config["lora_parameters"]["rank"].as_u64().unwrap() as usize;
        let tensors = SafeTensors::deserialize(&tensors.1).unwrap();
        let read = |name: &str| singles(tensors.tensor(name).unwrap().data());
        let mut num_tensors = 0;
        let pairs = form.pairs(parameters);
        for pair in &pairs {
            num_tensors += 2;
            let prefix = format!("model.layers.{}.{}", pair.layer, pair.module.path());
            let (a, b) = (
                read(&format!("{prefix}.lora_a")),
                read(&format!("{prefix}.lora_b")),
            );
            let (in_features, out_features) = (a.len() / rank, b.len() / rank);
            let actual = product(
                [out_features, rank, in_features],
                scale,
                |row, of| b[of * out_features + row],
                |of, column| a[column * rank + of],
            );
            let expected = product(
                [out_features, pair.r, in_features],
                pair.scaling,
                |row, of| pair.b[row * pair.r + of],
                |of, column| pair.a[of * in_features + column],
            );
            assert_same(
                &format!("{prefix} of {:?}", form.layout.spec),
                &actual,
                &expected,
            );
        }
        for NamedTensor { name, values, .. } in form.tensors(parameters) {
            let module = name.strip_prefix("base_model.model.");
            let module = module.and_then(|name| name.strip_suffix(".lora_magnitude_vector"));
            if let Some(module) = module {
                num_tensors += 1;
                assert_eq!(read(&format!("{module}.m")), values);
            }
        }
        assert_eq!(tensors.len(), num_tensors);
    }
}

/// Everything that a type can represent is preserved: a merged model that was read is written as the same bytes.
#[test]
fn merged_models_are_read_as_they_were_written() {
    let mut random = Random::new();
    for (method, kind) in methods().zip(MergedKind::ALL.into_iter().cycle()) {
        if method == Method::PromptTuning {
            continue;
        }
        let of = Trained::new(method, &mut random);
        let case = Case::new(of.base.files(), of.state);
        let written = unzip(&case.write(kind));
        let files = opened(written.clone());
        let what = format!("{kind:?} of {:?}", of.base.config);
        let has_own_head = case.state.form.layout.head().is_some();
        let expected = ModelConfig {
            // A GGUF file has it in 32 bits.
            rms_norm_eps: match kind {
                MergedKind::Safetensors => of.base.config.rms_norm_eps,
                _ => f64::from(of.base.config.rms_norm_eps as f32),
            },
            tie_word_embeddings: of.base.config.tie_word_embeddings && !has_own_head,
            ..of.base.config.clone()
        };
        assert_eq!(files.config, expected, "{what}");
        // The tensors come last.
        let num_bytes = Merge::num_bytes(&files, kind) as usize;
        let again = untrained(files);
        let again = unzip(&again.write(kind));
        let weights = match kind {
            MergedKind::Safetensors => "model.safetensors",
            _ => "merged.gguf",
        };
        let data = |files: &BTreeMap<String, Vec<u8>>| {
            let bytes = &files[weights];
            bytes[bytes.len() - num_bytes..].to_vec()
        };
        // Merging adds zeros, which leave a zero without its sign.
        let (written, again) = (data(&written), data(&again));
        let pairs = written.iter().zip(&again).enumerate();
        let is_sign =
            |at: usize| at > 0 && written[at - 1] == 0 && [written[at], again[at]] == [0x80, 0];
        let mut others = pairs.filter(|(at, (one, other))| one != other && !is_sign(*at));
        assert_eq!(written.len(), again.len(), "{what}");
        assert_eq!(others.next(), None, "{what}");
    }
}
