//! The adapter as PEFT reads it: tensor names, layouts and `adapter_config.json`.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use safetensors::{Dtype, View};
use serde::Serialize;

use super::{ExportError, ExportInput, pretty_json};
use crate::{
    plan,
    protocol::{ModelSummary, TargetModule},
};

/// Both halves of one layer's adapter, in PEFT's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterTensor {
    /// The block's number, from 0.
    pub layer: usize,
    pub module: TargetModule,
    /// `[r, in_features]`
    pub a: Vec<f32>,
    /// `[out_features, r]`
    pub b: Vec<f32>,
    pub r: usize,
    pub in_features: usize,
    pub out_features: usize,
}

impl AdapterTensor {
    fn halves(&self) -> [Half<'_>; 2] {
        let half = |suffix, shape, values| Half {
            name: format!("{}.{suffix}.weight", prefix(self.layer, self.module)),
            shape,
            values,
        };
        [
            half("lora_A", [self.r, self.in_features], &self.a),
            half("lora_B", [self.out_features, self.r], &self.b),
        ]
    }
}

/// One matrix of the file.
struct Half<'a> {
    name: String,
    shape: [usize; 2],
    values: &'a [f32],
}

impl View for Half<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.values.iter().flat_map(|value| value.to_le_bytes());
        Cow::Owned(bytes.collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// Such as `base_model.model.model.layers.0.self_attn.q_proj`.
fn prefix(layer: usize, module: TargetModule) -> String {
    format!("base_model.model.model.layers.{layer}.{}", module.path())
}

/// Whether the tensors are the run's, whole and finite.
pub(super) fn check(input: &ExportInput<'_>) -> Result<(), ExportError> {
    if input.tensors.is_empty() || !input.summary.has_adapter {
        return Err(ExportError::EmptyAdapter);
    }
    let target_modules = &input.spec.lora.target_modules;
    let mut missing: BTreeSet<(usize, TargetModule)> = (0..input.model.num_hidden_layers)
        .flat_map(|layer| target_modules.iter().map(move |&module| (layer, module)))
        .collect();
    for tensor in input.tensors {
        if !missing.remove(&(tensor.layer, tensor.module)) {
            let name = prefix(tensor.layer, tensor.module);
            return Err(ExportError::UnexpectedTensor { name });
        }
        check_shape(tensor, input.model, input.spec.lora.r)?;
        for half in tensor.halves() {
            check_half(&half)?;
        }
    }
    match missing.first() {
        Some(&(layer, module)) => Err(ExportError::MissingTensor {
            name: prefix(layer, module),
        }),
        None => Ok(()),
    }
}

fn check_shape(tensor: &AdapterTensor, model: &ModelSummary, r: usize) -> Result<(), ExportError> {
    let describe = |(in_features, out_features), r| {
        format!("rank {r} from {in_features} to {out_features} features")
    };
    let actual = describe((tensor.in_features, tensor.out_features), tensor.r);
    let expected = describe(plan::features(model, tensor.module), r);
    if actual == expected {
        return Ok(());
    }
    Err(ExportError::WrongShape {
        name: prefix(tensor.layer, tensor.module),
        actual,
        expected,
    })
}

fn check_half(half: &Half<'_>) -> Result<(), ExportError> {
    let [rows, cols] = half.shape;
    let expected = rows.saturating_mul(cols);
    if half.values.len() != expected {
        return Err(ExportError::WrongLength {
            name: half.name.clone(),
            actual: half.values.len(),
            expected,
        });
    }
    match half.values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(ExportError::NonFinite {
            name: half.name.clone(),
            value: f64::from(value),
        }),
        None => Ok(()),
    }
}

/// `adapter_model.safetensors` of checked tensors.
pub(super) fn safetensors(tensors: &[AdapterTensor]) -> Result<Vec<u8>, ExportError> {
    let halves = tensors.iter().flat_map(AdapterTensor::halves);
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(
        halves.map(|half| (half.name.clone(), half)),
        Some(metadata),
    )?)
}

/// `peft.LoraConfig`, without the keys that newer versions added: older ones refuse what they do not know.
#[derive(Serialize)]
struct PeftConfig<'a> {
    peft_type: &'a str,
    task_type: &'a str,
    base_model_name_or_path: &'a str,
    revision: Option<&'a str>,
    inference_mode: bool,
    auto_mapping: Option<&'a str>,
    r: usize,
    lora_alpha: usize,
    lora_dropout: f64,
    target_modules: Vec<&'a str>,
    fan_in_fan_out: bool,
    bias: &'a str,
    use_rslora: bool,
    use_dora: bool,
    init_lora_weights: bool,
    modules_to_save: Option<&'a str>,
    layers_to_transform: Option<&'a str>,
    layers_pattern: Option<&'a str>,
    rank_pattern: HashMap<&'a str, usize>,
    alpha_pattern: HashMap<&'a str, usize>,
}

/// `adapter_config.json`.
pub(super) fn config_json(input: &ExportInput<'_>) -> Result<String, ExportError> {
    let lora = &input.spec.lora;
    pretty_json(&PeftConfig {
        peft_type: "LORA",
        task_type: "CAUSAL_LM",
        base_model_name_or_path: base_model(input.model),
        revision: None,
        inference_mode: true,
        auto_mapping: None,
        r: lora.r,
        lora_alpha: lora.lora_alpha,
        lora_dropout: lora.lora_dropout,
        target_modules: lora
            .target_modules
            .iter()
            .map(|module| module.name())
            .collect(),
        fan_in_fan_out: false,
        bias: "none",
        use_rslora: false,
        use_dora: false,
        init_lora_weights: true,
        modules_to_save: None,
        layers_to_transform: None,
        layers_pattern: None,
        rank_pattern: HashMap::new(),
        alpha_pattern: HashMap::new(),
    })
}

/// What `from_pretrained` finds the base model by: its hub id where it is known.
pub(super) fn base_model(model: &ModelSummary) -> &str {
    model.base_model_name.as_deref().unwrap_or(&model.name)
}
