//! `adapter_config.json` to an [`AdapterSpec`]: what PEFT 0.5 to 0.21 write.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Mismatch;
use crate::{
    adapter::{ModelShape, ia3::scales_input, is_of_module},
    protocol::{AdapterSpec, BlockNorm, LayerRange, Method, TargetModule, fits_pattern},
    weights::tensor::TensorEntry,
};

/// Keys that change what an adapter computes in a way that this engine has not; `null`, `false` and `[]` are as if
/// they were not there.
const UNKNOWN: [(&str, &str); 7] = [
    (
        "fan_in_fan_out",
        "transposed weights, as in GPT-2, are not supported",
    ),
    ("lora_bias", "a bias on B is not supported"),
    ("layer_replication", "replicated layers are not supported"),
    (
        "trainable_token_indices",
        "trained token embeddings are not supported",
    ),
    (
        "target_parameters",
        "adapters of single parameters are not supported",
    ),
    ("alora_invocation_tokens", "activated LoRA is not supported"),
    (
        "exclude_modules",
        "list the adapted modules under target_modules instead",
    ),
];
/// What newer versions of PEFT add to LoRA they switch on by keys that begin or end so.
const SWITCH: [&str; 2] = ["use_", "_config"];
/// Those that are known, or matter before the training alone.
const HARMLESS: [&str; 7] = [
    "use_dora",
    "use_rslora",
    "corda_config",
    "eva_config",
    "loftq_config",
    "lora_ga_config",
    "runtime_config",
];
const ONLY_ALL_NORMS: &str = "norms are supported only all together (input_layernorm, post_attention_layernorm and norm), and lm_head among modules_to_save";
/// What saves a converted adapter.
const CONVERT: &str =
    "its initialization changed the base: save it with `path_initial_model_for_weight_conversion`";

/// What the config says, as far as it can be had here; `None` where a reason was found that leaves no sense in the
/// tensors.
pub(super) fn spec(
    config: &Map<String, Value>,
    shape: &ModelShape,
    tensors: &[TensorEntry],
    mismatches: &mut Vec<Mismatch>,
) -> Option<AdapterSpec> {
    let found = mismatches.len();
    let mut reader = Reader { config, mismatches };
    let spec = reader.spec(shape, tensors);
    (mismatches.len() == found).then_some(spec)
}

struct Reader<'a> {
    config: &'a Map<String, Value>,
    mismatches: &'a mut Vec<Mismatch>,
}

impl Reader<'_> {
    fn spec(&mut self, shape: &ModelShape, tensors: &[TensorEntry]) -> AdapterSpec {
        for (key, what) in UNKNOWN {
            if self.is_set(key) {
                self.refuse(key, what);
            }
        }
        let [start, end] = SWITCH;
        for key in self.config.keys() {
            let is_switch = key.starts_with(start) || key.ends_with(end);
            if is_switch && !HARMLESS.contains(&key.as_str()) && self.is_set(key) {
                self.refuse(key, "this feature is not supported");
            }
        }
        if self.text("bias").is_some_and(|bias| bias != "none") {
            self.refuse("bias", "trained biases are not supported");
        }
        let method = self.method();
        let mut spec = AdapterSpec {
            method,
            // Nothing is dropped where an adapter is used; training goes on with the form's.
            lora_dropout: 0.0,
            ..AdapterSpec::default()
        };
        self.put_saved(&mut spec);
        if method.has_rank() {
            spec.r = self.number("r").unwrap_or(0);
            if spec.r == 0 {
                self.refuse("r", "it must be a whole number above zero");
            }
        }
        if method.has_alpha() {
            spec.lora_alpha = self.number("lora_alpha").unwrap_or(0);
            if spec.lora_alpha == 0 {
                self.refuse("lora_alpha", "it must be a whole number above zero");
            }
            spec.rank_pattern = self.pattern("rank_pattern", shape);
            spec.alpha_pattern = self.pattern("alpha_pattern", shape);
        }
        if method == Method::Vera && self.config.get("save_projection") != Some(&Value::Bool(true))
        {
            self.refuse(
                "save_projection",
                "the shared matrices were not saved; save them with `save_projection=True`",
            );
        }
        if method.has_modules() {
            self.put_modules(&mut spec, shape, tensors);
        } else if method == Method::PromptTuning {
            spec.num_virtual_tokens = self.number("num_virtual_tokens").unwrap_or(0);
            if spec.num_virtual_tokens == 0 {
                self.refuse("num_virtual_tokens", "it must be a whole number above zero");
            }
        } else {
            self.check_norms();
        }
        spec
    }

    fn refuse(&mut self, key: &str, what: impl Into<String>) {
        let (key, what) = (key.to_owned(), what.into());
        self.mismatches.push(Mismatch::Config { key, what });
    }

    fn is_set(&self, key: &str) -> bool {
        match self.config.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            Some(_) => true,
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key)?.as_str()
    }

    /// A whole number, which some write as `16.0`.
    fn number(&self, key: &str) -> Option<usize> {
        whole(self.config.get(key)?)
    }

    fn method(&mut self) -> Method {
        match self.text("peft_type").map(str::to_owned).as_deref() {
            Some("LORA") => {
                let started = self.text("init_lora_weights").unwrap_or_default();
                if ["pissa", "olora", "corda"]
                    .iter()
                    .any(|start| started.starts_with(start))
                {
                    self.refuse("init_lora_weights", CONVERT);
                }
                match (self.is_set("use_dora"), self.is_set("use_rslora")) {
                    (false, false) => Method::Lora,
                    (false, true) => Method::RsLora,
                    (true, false) => Method::Dora,
                    (true, true) => {
                        self.refuse("use_rslora", "DoRA combined with rsLoRA is not supported");
                        Method::Dora
                    }
                }
            }
            Some("VERA") => Method::Vera,
            Some("IA3") => Method::Ia3,
            Some("LN_TUNING") => Method::LnTuning,
            Some("PROMPT_TUNING") => Method::PromptTuning,
            other => {
                let what = match other {
                    Some(other) => {
                        format!(
                            "{other} is not supported; LORA, VERA, IA3, LN_TUNING and PROMPT_TUNING are"
                        )
                    }
                    None => "it is not a string".to_owned(),
                };
                self.refuse("peft_type", what);
                Method::Lora
            }
        }
    }

    /// `modules_to_save`: the head, all norms, or both.
    fn put_saved(&mut self, spec: &mut AdapterSpec) {
        let key = "modules_to_save";
        if !self.is_set(key) {
            return;
        }
        if !spec.method.goes_with_saved_modules() {
            self.refuse(key, "not supported together with norm or prompt tuning");
            return;
        }
        let mut names: BTreeSet<&str> = self.list(key).into_iter().flatten().collect();
        spec.train_head = names.remove("lm_head");
        spec.train_norms = names == all_norms();
        let is_head_alone = spec.train_head && names.is_empty();
        if !spec.train_norms && !is_head_alone {
            self.refuse(key, ONLY_ALL_NORMS);
        }
    }

    /// `target_modules` must be all norms of the model.
    fn check_norms(&mut self) {
        let key = "target_modules";
        let names: BTreeSet<&str> = self.list(key).into_iter().flatten().collect();
        if names != all_norms() {
            self.refuse(key, ONLY_ALL_NORMS);
        }
    }

    fn list(&self, key: &str) -> Option<Vec<&str>> {
        let list = self.config.get(key)?.as_array()?;
        list.iter().map(Value::as_str).collect()
    }

    /// Ranks or alphas of some modules, each of which must be one of the model's.
    fn pattern(&mut self, key: &str, shape: &ModelShape) -> BTreeMap<String, usize> {
        let mut pattern = BTreeMap::new();
        let Some(entries) = self.config.get(key).and_then(Value::as_object) else {
            return pattern;
        };
        for (name, value) in entries {
            // PEFT takes it as a regular expression; a name with this before it means the same.
            let name = name.trim_start_matches('^');
            let mut modules = all_modules(shape);
            let fits = modules.any(|(layer, module)| fits_pattern(name, layer, module));
            match whole(value).filter(|&value| value > 0 && fits) {
                Some(value) => {
                    pattern.insert(name.to_owned(), value);
                }
                None => {
                    let what = format!("{name:?}: {value} does not fit a module of this model");
                    self.refuse(key, what);
                }
            }
        }
        pattern
    }

    /// The adapted modules, which must be the same in each of a range of blocks.
    fn put_modules(&mut self, spec: &mut AdapterSpec, shape: &ModelShape, tensors: &[TensorEntry]) {
        let layers = self.layers();
        let is_named: Box<dyn Fn(usize, TargetModule) -> bool> =
            match self.config.get("target_modules") {
                Some(Value::String(all)) if all == "all-linear" => Box::new(|_, _| true),
                // A regular expression: the tensors say what it means.
                Some(Value::String(_)) => Box::new(|layer, module| {
                    tensors
                        .iter()
                        .any(|tensor| is_of_module(&tensor.name, layer, module))
                }),
                Some(Value::Array(_)) => match self.list("target_modules") {
                    Some(names) => {
                        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
                        for name in &names {
                            if !all_modules(shape)
                                .any(|(layer, module)| fits_pattern(name, layer, module))
                            {
                                let what = format!(
                                    "{name:?} is not a linear layer of this model's blocks"
                                );
                                self.refuse("target_modules", what);
                            }
                        }
                        Box::new(move |layer, module| {
                            names.iter().any(|name| fits_pattern(name, layer, module))
                        })
                    }
                    None => return self.refuse("target_modules", "it is not a list of names"),
                },
                _ => return self.refuse("target_modules", "it is missing"),
            };
        let is_adapted = |layer: usize, module| {
            layers.as_ref().is_none_or(|layers| layers.contains(&layer)) && is_named(layer, module)
        };
        let adapted: Vec<_> = all_modules(shape)
            .filter(|&(layer, module)| is_adapted(layer, module))
            .collect();
        let modules: BTreeSet<TargetModule> = adapted.iter().map(|(_, module)| *module).collect();
        let (Some(&(first, _)), Some(&(last, _))) = (adapted.first(), adapted.last()) else {
            return self.refuse(
                "target_modules",
                "they are not linear layers of this model's blocks",
            );
        };
        spec.target_modules = modules.into_iter().collect();
        let is_all = first == 0 && last + 1 == shape.num_hidden_layers;
        spec.layers_to_transform = (!is_all).then_some(LayerRange { first, last });
        if spec.modules(shape.num_hidden_layers).ne(adapted) {
            self.refuse(
                "target_modules",
                "supported only with the same modules in every block of a range",
            );
        }
        if spec.method == Method::Ia3 {
            self.check_feedforward(spec);
        }
    }

    /// `layers_to_transform`, a number or a list.
    fn layers(&mut self) -> Option<BTreeSet<usize>> {
        let layers = match self.config.get("layers_to_transform") {
            None | Some(Value::Null) => return None,
            Some(Value::Array(list)) => list.iter().map(whole).collect(),
            Some(one) => whole(one).map(|one| BTreeSet::from([one])),
        };
        if layers.is_none() {
            self.refuse("layers_to_transform", "it is not a list of whole numbers");
        }
        layers
    }

    /// IA3 scales the inputs of those modules; here that is the last of a block alone.
    fn check_feedforward(&mut self, spec: &AdapterSpec) {
        let names = self.list("feedforward_modules").unwrap_or_default();
        let names = |module: TargetModule| {
            names
                .iter()
                .any(|name| name.rsplit('.').next() == Some(module.name()))
        };
        let mut modules = spec.target_modules.iter();
        if !modules.all(|&module| names(module) == scales_input(module)) {
            self.refuse("feedforward_modules", "only down_proj is supported here");
        }
    }
}

fn all_norms() -> BTreeSet<&'static str> {
    let norms = BlockNorm::ALL.map(BlockNorm::name).into_iter();
    norms.chain(["norm"]).collect()
}

fn whole(value: &Value) -> Option<usize> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    // Whole numbers beyond this are no longer exact, and no rank or alpha is near it.
    (0.0..1e9).contains(&number).then_some(number as usize)
}

fn all_modules(shape: &ModelShape) -> impl Iterator<Item = (usize, TargetModule)> + use<> {
    let layers = 0..shape.num_hidden_layers;
    layers.flat_map(|layer| {
        TargetModule::ALL
            .into_iter()
            .map(move |module| (layer, module))
    })
}
