//! A method's config in PEFT's files, `adapter_config.json`: what is written, and what is read back.
//!
//! Every method has a [`PeftConfig`]; methods that PEFT does not tell apart share one. The keys that come first in every
//! config are written by [`config`]. What a config cannot be read for is refused with a [`Remedy`].

use protocol::{AdapterSpec, Method, TargetModule};
use serde_json::{Map, Value, json};

use super::{ModelShape, method};

/// The norms of a model as `target_modules` and `modules_to_save` name them.
pub(crate) const NORMS: [&str; 3] = ["input_layernorm", "post_attention_layernorm", "norm"];
/// Why other norms are refused.
pub(crate) const ONLY_ALL_NORMS: &str = "norms are supported only all together (input_layernorm, post_attention_layernorm and norm), and lm_head among modules_to_save";

/// The config of one or several methods.
pub(crate) trait PeftConfig: Sync {
    /// Its `peft_type`.
    fn peft_type(&self) -> &'static str;

    /// Whether a config with this `peft_type` is its own, and not that of another method.
    fn is_of(&self, _reader: &dyn ConfigReader) -> bool {
        true
    }

    /// Writes the keys that follow those of every config.
    fn write(&self, spec: &AdapterSpec, shape: &ModelShape, config: &mut ConfigWriter);

    /// Refuses what is no such method at all, before any setting is read.
    fn check(&self, _reader: &mut dyn ConfigReader) {}

    /// Reads its settings into `spec`, whose method and saved modules are known.
    fn read(&self, spec: &mut AdapterSpec, reader: &mut dyn ConfigReader);
}

/// A config being read. What cannot be read is refused and replaced, so that all reasons are found at once.
pub(crate) trait ConfigReader {
    fn value(&self, key: &str) -> Option<&Value>;

    /// Whether a key says something: `null`, `false` and whatever is empty are as if they were not there.
    fn is_set(&self, key: &str) -> bool;

    /// The texts of a list.
    fn names(&self, key: &str) -> Option<Vec<&str>>;

    fn refuse(&mut self, key: &str, what: &str, remedy: Remedy);

    /// A whole number above zero; zero if it is refused.
    fn count(&mut self, key: &str) -> usize;

    /// Reads alpha, and the ranks and alphas of some modules.
    fn read_alphas(&mut self, spec: &mut AdapterSpec);

    /// Reads the adapted modules and blocks; whether there are any.
    fn read_modules(&mut self, spec: &mut AdapterSpec) -> bool;
}

/// What helps against a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// To merge the adapter into its base elsewhere.
    Merge,
    /// The same, for an adapter of mlx-lm.
    Fuse,
    /// To save it again in another way.
    Convert,
    Complete,
    Precision,
    /// To train it again, since its numbers are of no use.
    Train,
    /// To choose an adapter that writes text.
    Task,
    /// To load the base that it was made for.
    Base,
}

/// The keys of a config in the order in which they are written.
#[derive(Default)]
pub(crate) struct ConfigWriter(Map<String, Value>);

impl ConfigWriter {
    /// Writes a key; one that was written before keeps its place.
    pub(super) fn put(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }

    /// The modules that are adapted, and those that are trained whole.
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

    /// The blocks that are adapted.
    pub(super) fn put_blocks(&mut self, spec: &AdapterSpec) {
        let layers = spec.layers_to_transform;
        let layers = layers.map(|range| (range.first..=range.last).collect::<Vec<_>>());
        self.put("bias", json!("none"));
        self.put("layers_to_transform", json!(layers));
        self.put("layers_pattern", Value::Null);
    }
}

/// `adapter_config.json`, without the keys that newer versions of PEFT added, since older versions refuse unknown keys.
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

/// The method of a config; the first where PEFT does not tell several apart.
pub(crate) fn method_of(peft_type: &str, reader: &dyn ConfigReader) -> Option<Method> {
    Method::ALL.into_iter().find(|&method| {
        let config = config_of(method);
        config.peft_type() == peft_type && config.is_of(reader)
    })
}

/// The parts of modules by their names in PEFT's memory, each once.
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

/// Every `peft_type` there is, each once.
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
