//! The adapter in the form that PEFT reads: tensor names, layouts and `adapter_config.json`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use protocol::{AdapterSpec, ExportFile, Method, ModelSummary, TargetModule};
use safetensors::{Dtype, View};
use serde_json::{Map, Value, json};

use super::{ExportError, ExportInput, pretty_json};
use crate::{
    adapter::{AdapterLayout, ModelShape, NamedTensor, ia3::scales_input},
    number::plain_number,
};

/// A tensor on its way into the file.
struct Written<'a>(&'a NamedTensor);

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.0.values.iter().flat_map(|value| value.to_le_bytes());
        Cow::Owned(bytes.collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.0.values.as_slice())
    }
}

/// Checks that the tensors are the run's, complete and finite.
pub(super) fn check(input: &ExportInput<'_>) -> Result<(), ExportError> {
    if input.tensors.is_empty() || !input.summary.has_adapter {
        return Err(ExportError::EmptyAdapter);
    }
    let shape = ModelShape::from(input.model);
    let layout = AdapterLayout::new(&input.spec.adapter, &shape);
    let mut missing: BTreeMap<String, Vec<usize>> = layout.tensors().into_iter().collect();
    for tensor in input.tensors {
        let name = || tensor.name.clone();
        let Some(expected) = missing.remove(&tensor.name) else {
            return Err(ExportError::UnexpectedTensor { name: name() });
        };
        if tensor.shape != expected {
            return Err(ExportError::WrongShape {
                name: name(),
                actual: format!("{:?}", tensor.shape),
                expected: format!("{expected:?}"),
            });
        }
        let expected = expected.iter().product();
        if tensor.values.len() != expected {
            return Err(ExportError::WrongLength {
                name: name(),
                actual: tensor.values.len(),
                expected,
            });
        }
        if let Some(&value) = tensor.values.iter().find(|value| !value.is_finite()) {
            return Err(ExportError::NonFinite {
                name: name(),
                value: f64::from(value),
            });
        }
    }
    match missing.into_keys().next() {
        Some(name) => Err(ExportError::MissingTensor { name }),
        None => Ok(()),
    }
}

/// The files that PEFT loads, from checked tensors.
///
/// # Errors
/// None for the tensors listed by [`AdapterLayout::tensors`].
pub fn files(
    spec: &AdapterSpec,
    shape: &ModelShape,
    base: &str,
    tensors: &[NamedTensor],
) -> Result<[(ExportFile, Vec<u8>); 2], ExportError> {
    let config = config_json(spec, shape, base)?;
    Ok([
        (ExportFile::Adapter, safetensors(tensors)?),
        (ExportFile::AdapterConfig, config.into_bytes()),
    ])
}

pub(super) fn safetensors(tensors: &[NamedTensor]) -> Result<Vec<u8>, ExportError> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(
        tensors.iter().map(|tensor| (&tensor.name, Written(tensor))),
        Some(metadata),
    )?)
}

/// `adapter_config.json`, without the keys that newer versions of PEFT added, since older versions refuse unknown keys.
fn config_json(spec: &AdapterSpec, shape: &ModelShape, base: &str) -> Result<String, ExportError> {
    let modules: Vec<&str> = spec
        .target_modules
        .iter()
        .map(|module| module.name())
        .collect();
    let layers = spec.layers_to_transform;
    let layers = layers.map(|range| (range.first..=range.last).collect::<Vec<_>>());
    let mut config = Map::new();
    let mut put = |key: &str, value: Value| config.insert(key.to_owned(), value);
    put("peft_type", json!(peft_type(spec.method)));
    put("task_type", json!("CAUSAL_LM"));
    put("base_model_name_or_path", json!(base));
    put("revision", Value::Null);
    put("inference_mode", json!(true));
    put("auto_mapping", Value::Null);
    let norms = ["input_layernorm", "post_attention_layernorm", "norm"];
    if spec.method == Method::LnTuning {
        put("target_modules", json!(norms));
        put("modules_to_save", Value::Null);
        return pretty_json(&config);
    }
    if spec.method == Method::PromptTuning {
        put("num_virtual_tokens", json!(spec.num_virtual_tokens));
        put("token_dim", json!(shape.hidden_size));
        put("num_transformer_submodules", json!(1));
        put("num_attention_heads", json!(shape.num_attention_heads));
        put("num_layers", json!(shape.num_hidden_layers));
        put("prompt_tuning_init", json!("RANDOM"));
        put("prompt_tuning_init_text", Value::Null);
        put("tokenizer_name_or_path", Value::Null);
        return pretty_json(&config);
    }
    put("target_modules", json!(modules));
    let norms = norms.into_iter().filter(|_| spec.train_norms);
    let saved: Vec<&str> = norms.chain(spec.train_head.then_some("lm_head")).collect();
    put(
        "modules_to_save",
        if saved.is_empty() {
            Value::Null
        } else {
            json!(saved)
        },
    );
    put("fan_in_fan_out", json!(false));
    match spec.method {
        Method::Ia3 => {
            // It has no ranges of blocks, so the modules of some blocks are listed by their paths.
            let of = |module: TargetModule| match &layers {
                Some(layers) => {
                    let paths = layers
                        .iter()
                        .map(|layer| format!("layers.{layer}.{}", module.path()));
                    paths.collect()
                }
                None => vec![module.name().to_owned()],
            };
            let all = spec.target_modules.iter();
            let scaled = all.clone().filter(|&&module| scales_input(module));
            let scaled: Vec<String> = scaled.flat_map(|&module| of(module)).collect();
            let all: Vec<String> = all.flat_map(|&module| of(module)).collect();
            put("target_modules", json!(all));
            put("feedforward_modules", json!(scaled));
            put("init_ia3_weights", json!(true));
            return pretty_json(&config);
        }
        Method::Vera => {
            put("r", json!(spec.r));
            put("vera_dropout", json!(spec.lora_dropout));
            put("d_initial", json!(0.1));
            put("projection_prng_key", json!(0));
            put("save_projection", json!(true));
        }
        _ => put_lora(&mut put, spec, shape),
    }
    put("bias", json!("none"));
    put("layers_to_transform", json!(layers));
    put("layers_pattern", Value::Null);
    pretty_json(&config)
}

fn peft_type(method: Method) -> &'static str {
    match method {
        Method::Vera => "VERA",
        Method::Ia3 => "IA3",
        Method::LnTuning => "LN_TUNING",
        Method::PromptTuning => "PROMPT_TUNING",
        _ => "LORA",
    }
}

/// Writes the keys of LoRA. An initialization from the base is exported as a plain LoRA of twice the rank and alpha;
/// see [`crate::adapter::pissa`].
fn put_lora(
    put: &mut impl FnMut(&str, Value) -> Option<Value>,
    spec: &AdapterSpec,
    shape: &ModelShape,
) {
    let times = spec.rank_factor();
    put("r", json!(times * spec.r));
    let times_alpha = |alpha: f64| plain_number(times as f64 * alpha);
    put("lora_alpha", times_alpha(spec.lora_alpha));
    put("lora_dropout", json!(spec.lora_dropout));
    put("use_rslora", json!(spec.method == Method::RsLora));
    put("use_dora", json!(spec.method == Method::Dora));
    put("init_lora_weights", json!(true));
    // Whole paths, because versions differ in which of two matching patterns wins.
    let pattern = |of: &dyn Fn(usize, TargetModule) -> Option<Value>| {
        let modules = spec.modules(shape.num_hidden_layers);
        let entries = modules.filter_map(|(layer, module)| {
            let path = format!("model.layers.{layer}.{}", module.path());
            Some((path, of(layer, module)?))
        });
        Value::Object(entries.collect())
    };
    let ranks = pattern(&|layer, module| {
        let rank = spec.rank(layer, module);
        (rank != spec.r).then(|| json!(times * rank))
    });
    let alphas = pattern(&|layer, module| {
        let alpha = spec.alpha(layer, module);
        (alpha != spec.lora_alpha).then(|| times_alpha(alpha))
    });
    put("rank_pattern", ranks);
    put("alpha_pattern", alphas);
}

/// The name by which `from_pretrained` finds the base model: its hub ID, if known.
pub fn base_model(model: &ModelSummary) -> &str {
    model.base_model_name.as_deref().unwrap_or(&model.name)
}
