//! A method's config in PEFT's files, `adapter_config.json`: what is written, and what is read back.
//!
//! Every method has a [`PeftConfig`]; methods that PEFT does not tell apart share one. The keys that come first in
//! every config are written by [`config`]. Whatever a config says that cannot be read is refused with a [`Remedy`].
//!
//! A LoRA's config, shortened:
//!
//! ```text
//! "peft_type": "LORA",  "task_type": "CAUSAL_LM",  "base_model_name_or_path": "...",  "inference_mode": true,
//! "target_modules": ["q_proj", "v_proj"],  "modules_to_save": null,  "fan_in_fan_out": false,
//! "r": 8,  "lora_alpha": 16,  "lora_dropout": 0.0,  "use_rslora": false,  "use_dora": false,
//! "rank_pattern": {},  "alpha_pattern": {},  "bias": "none",  "layers_to_transform": null
//! ```
//!
//! | `peft_type` | class in PEFT | methods |
//! |---|---|---|
//! | `LORA` | `LoraConfig` | LoRA, LoRA+, PiSSA, OLoRA; with `use_rslora` rsLoRA, with `use_dora` DoRA |
//! | `VERA` | `VeraConfig` | VeRA |
//! | `IA3` | `IA3Config` | IA3 |
//! | `LN_TUNING` | `LNTuningConfig` | norm tuning |
//! | `PROMPT_TUNING` | `PromptTuningConfig` | prompt tuning |
//!
//! Reading goes through the trait [`ConfigReader`], so that the methods know nothing of import.

use protocol::{AdapterSpec, Method, TargetModule};
use serde_json::{Map, Value, json};

use super::{ModelShape, method};

/// The norms of a model as `target_modules` and `modules_to_save` name them: the ends of their paths, which PEFT
/// matches in every block.
pub(crate) const NORMS: [&str; 3] = ["input_layernorm", "post_attention_layernorm", "norm"];
/// Why other norms, or only some of them, are refused; it follows the name of the key.
pub(crate) const ONLY_ALL_NORMS: &str = "norms are supported only all together (input_layernorm, post_attention_layernorm and norm), and lm_head among modules_to_save";

/// The config of one or several methods.
pub(crate) trait PeftConfig: Sync {
    /// Its `peft_type`, in capitals, such as `LORA`.
    fn peft_type(&self) -> &'static str;

    /// Whether a config with this `peft_type` is its own, and not that of another method. The default is for types that
    /// only one method has.
    fn is_of(&self, _reader: &dyn ConfigReader) -> bool {
        true
    }

    /// Writes the keys that follow those of every config. What it leaves out has the default of PEFT's class.
    fn write(&self, spec: &AdapterSpec, shape: &ModelShape, config: &mut ConfigWriter);

    /// Refuses what has the method's type but cannot be the method as it is built here, before any setting is read.
    fn check(&self, _reader: &mut dyn ConfigReader) {}

    /// Reads its settings into `spec`, whose method and saved modules are known already. It never stops at an error:
    /// what is wrong is refused at the reader, which makes the spec count for nothing.
    fn read(&self, spec: &mut AdapterSpec, reader: &mut dyn ConfigReader);
}

/// A config being read. What cannot be read is refused and replaced by something harmless, so that all reasons are
/// found at once.
pub(crate) trait ConfigReader {
    /// The value of a key, if there is one.
    fn value(&self, key: &str) -> Option<&Value>;

    /// Whether a key says something: `null`, `false` and whatever is empty are as if they were not there.
    fn is_set(&self, key: &str) -> bool;

    /// The texts of a list; `None` if the key is missing or is no list of texts alone.
    fn names(&self, key: &str) -> Option<Vec<&str>>;

    /// Notes that a key cannot be taken, with a reason in lower case and what helps.
    fn refuse(&mut self, key: &str, what: &str, remedy: Remedy);

    /// A whole number above zero, which the key must have; zero if it is refused.
    fn count(&mut self, key: &str) -> usize;

    /// Reads `lora_alpha`, `rank_pattern` and `alpha_pattern`.
    fn read_alphas(&mut self, spec: &mut AdapterSpec);

    /// Reads `target_modules` and what narrows it to some blocks; whether any module is adapted.
    fn read_modules(&mut self, spec: &mut AdapterSpec) -> bool;
}

/// What helps against a refusal; the sentences are in `import/error.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// To merge the adapter into its base with PEFT, and load the result as the model.
    Merge,
    /// To load the whole model that `mlx_lm.fuse` makes, for an adapter of mlx-lm.
    Fuse,
    /// To save it again in another way: a start from the base as a plain LoRA, VeRA with its shared matrices.
    Convert,
    /// To save it again, since its config is incomplete or belongs to other weights.
    Complete,
    /// To save it in float32, float16 or bfloat16.
    Precision,
    /// To take an earlier checkpoint or train it again, since some of its numbers are not finite.
    Train,
    /// To choose an adapter that writes text.
    Task,
    /// To load the base that it was made for.
    Base,
}

/// The keys of a config, in the order in which they are written; serde_json's `preserve_order` keeps it in the file.
#[derive(Default)]
pub(crate) struct ConfigWriter(Map<String, Value>);

impl ConfigWriter {
    /// Writes a key; one that was written before keeps its place and takes the new value.
    pub(super) fn put(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }

    /// Writes the modules that are adapted, and those that are trained whole (`modules_to_save`).
    ///
    /// `fan_in_fan_out` is false: weights are `[out, in]`, unlike GPT-2's.
    pub(super) fn put_modules(&mut self, spec: &AdapterSpec) {
        let modules = spec.target_modules.iter();
        let modules: Vec<&str> = modules.map(|module| module.name()).collect();
        self.put("target_modules", json!(modules));
        let norms = NORMS.into_iter().filter(|_| spec.train_norms);
        let saved: Vec<&str> = norms.chain(spec.train_head.then_some("lm_head")).collect();
        let saved = match saved.is_empty() {
            true => Value::Null,
            false => json!(saved),
        };
        self.put("modules_to_save", saved);
        self.put("fan_in_fan_out", json!(false));
    }

    /// Writes the blocks that are adapted, as a list of their numbers, or `null` for all.
    ///
    /// `layers_pattern` is `null`: PEFT then finds the blocks by itself. Biases are never trained.
    pub(super) fn put_blocks(&mut self, spec: &AdapterSpec) {
        let layers = spec.layers_to_transform;
        let layers = layers.map(|range| (range.first..=range.last).collect::<Vec<_>>());
        self.put("bias", json!("none"));
        self.put("layers_to_transform", json!(layers));
        self.put("layers_pattern", Value::Null);
    }
}

/// Makes `adapter_config.json` of an adapter over the base with the name or path `base`.
///
/// Keys that newer versions of PEFT added are left out, since older versions refuse unknown keys.
pub(crate) fn config(spec: &AdapterSpec, shape: &ModelShape, base: &str) -> Map<String, Value> {
    let of_method = config_of(spec.method);
    let mut config = ConfigWriter::default();
    config.put("peft_type", json!(of_method.peft_type()));
    config.put("task_type", json!("CAUSAL_LM"));
    config.put("base_model_name_or_path", json!(base));
    config.put("revision", Value::Null);
    config.put("inference_mode", json!(true));
    config.put("auto_mapping", Value::Null);
    of_method.write(spec, shape, &mut config);
    config.0
}

/// The config of a method.
pub(crate) fn config_of(method: Method) -> &'static dyn PeftConfig {
    method::of(method).config()
}

/// The method of a config with this `peft_type`; the first in the order of [`Method`] where PEFT does not tell several
/// apart, so that a LoRA+ or a PiSSA comes back as LoRA. `None` if no method has the type.
pub(crate) fn method_of(peft_type: &str, reader: &dyn ConfigReader) -> Option<Method> {
    Method::ALL.into_iter().find(|&method| {
        let config = config_of(method);
        config.peft_type() == peft_type && config.is_of(reader)
    })
}

/// The parts of modules by their names in PEFT's memory, each once, such as `lora_A` and `ia3_l`.
///
/// There the adapter's own name follows (`lora_A.default.weight`), which import takes out.
pub(crate) fn part_names() -> Vec<&'static str> {
    let mut names = Vec::new();
    for method in Method::ALL {
        let projections = method::of(method).projections().into_iter();
        // The sizes do not matter to the names.
        let parts = projections.flat_map(|method| method.parts(1, TargetModule::QProj, (1, 1)));
        for made in parts {
            let suffix = made.part.suffix();
            let name = suffix.strip_suffix(".weight").unwrap_or(suffix);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Every `peft_type` there is, each once, to tell a user which are supported.
pub(crate) fn peft_types() -> Vec<&'static str> {
    let mut types = Vec::new();
    for method in Method::ALL {
        let peft_type = config_of(method).peft_type();
        if !types.contains(&peft_type) {
            types.push(peft_type);
        }
    }
    types
}
