//! `adapter_config.json` to an [`AdapterSpec`]: what PEFT 0.5 to 0.21 write.
//!
//! A config is refused for every key that changes what the adapter computes and is not supported, and never for
//! one that matters in training alone. Each method reads its own keys through [`ConfigReader`]
//! (`adapter/method/<method>.rs`); this file has what they share.
//!
//! ```text
//! peft_type, task_type, bias, fan_in_fan_out, use_* ...      checked here for all methods
//! modules_to_save                                            saved.rs
//! r, lora_alpha, rank_pattern, alpha_pattern                 read_alphas
//! target_modules, exclude_modules, layers_to_transform       modules.rs
//! ```

mod modules;
mod saved;

use std::collections::BTreeMap;

use protocol::{AdapterSpec, Method, TargetModule, fits_pattern};
use serde_json::{Map, Value};

use super::{Mismatch, Remedy};
use crate::{
    adapter::{
        ModelShape,
        peft::{self, ConfigReader},
    },
    weights::tensor::TensorEntry,
};
use modules::all_modules;

pub(super) use modules::foreign_tensor;

/// Keys that change what an adapter computes in a way that this engine does not support, each with the reason;
/// `null`, `false`, `[]` and `{}` are as if they were not there.
const UNKNOWN: [(&str, &str); 6] = [
    (
        "fan_in_fan_out",
        "transposed weights, as in GPT-2, are not supported",
    ),
    ("lora_bias", "a bias on B is not supported"),
    ("layer_replication", "replicated layers are not supported"),
    (
        "trainable_token_indices",
        "it trained the embeddings of single tokens, which is not supported",
    ),
    (
        "target_parameters",
        "adapters of single parameters are not supported",
    ),
    ("alora_invocation_tokens", "activated LoRA is not supported"),
];
/// How the keys begin and end by which newer versions of PEFT switch on what they add to LoRA, such as `use_qalora`
/// and `arrow_config`. An unknown one that is set is refused: ignored, it would change the result without a word.
const SWITCH: [&str; 2] = ["use_", "_config"];
/// Keys of that form that are known (`use_dora`, `use_rslora`), or matter only before and during the training: how
/// matrices start, how the work is spread over devices.
const HARMLESS: [&str; 8] = [
    "use_dora",
    "use_rslora",
    "megatron_config",
    "corda_config",
    "eva_config",
    "loftq_config",
    "lora_ga_config",
    "runtime_config",
];

/// Returns what the config says, for a model of `shape` and the adapter's `tensors`; `None` if there is a
/// reason against it, which is then in `mismatches` with all others found.
///
/// ```text
/// {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16, "target_modules": ["v_proj", "q_proj"]}
/// -> method LoRA, r 8, alpha 16, modules q_proj and v_proj, all blocks
/// ```
pub(super) fn spec(
    config: &Map<String, Value>,
    shape: &ModelShape,
    tensors: &[TensorEntry],
    mismatches: &mut Vec<Mismatch>,
) -> Option<AdapterSpec> {
    let found = mismatches.len();
    let mut reader = Reader {
        config,
        shape,
        tensors,
        mismatches,
    };
    let spec = reader.spec();
    (mismatches.len() == found).then_some(spec)
}

/// A config being read, next to the model and the tensors that it must fit.
struct Reader<'a> {
    /// PEFT's config, or the one that was written for a file of another program.
    config: &'a Map<String, Value>,
    /// The sizes of the loaded model.
    shape: &'a ModelShape,
    /// The tensors of the adapter's file, by PEFT's names.
    tensors: &'a [TensorEntry],
    /// The reasons found so far.
    mismatches: &'a mut Vec<Mismatch>,
}

impl Reader<'_> {
    /// Reads the whole config. It goes on after a refusal, so that all reasons are found; the result counts
    /// only if there are none.
    fn spec(&mut self) -> AdapterSpec {
        for (key, what) in UNKNOWN {
            if self.is_set(key) {
                self.refuse(key, what, Remedy::Merge);
            }
        }
        if let Some(task) = self.text("task_type").filter(|task| *task != "CAUSAL_LM") {
            let what = format!("it was trained for {task}, and Inlay runs models that write text");
            self.refuse("task_type", &what, Remedy::Task);
        }
        let [start, end] = SWITCH;
        for key in self.config.keys() {
            let is_switch = key.starts_with(start) || key.ends_with(end);
            if is_switch && !HARMLESS.contains(&key.as_str()) && self.is_set(key) {
                self.refuse(key, "this feature is not supported", Remedy::Merge);
            }
        }
        if self.text("bias").is_some_and(|bias| bias != "none") {
            self.refuse("bias", "trained biases are not supported", Remedy::Merge);
        }
        let method = self.method();
        let mut spec = AdapterSpec {
            method,
            // Nothing is dropped where an adapter is used; training goes on with the form's.
            lora_dropout: 0.0,
            ..AdapterSpec::default()
        };
        self.put_saved(&mut spec);
        peft::config_of(method).read(&mut spec, self);
        spec
    }

    /// Returns the text of a key; `None` if the key is missing or holds something else.
    fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key)?.as_str()
    }

    /// Returns the method that the config is of, or notes a refusal and returns LoRA in its place. LoRA stands in so
    /// that the remaining keys are still checked; the spec does not count any more.
    fn method(&mut self) -> Method {
        let peft_type = self.text("peft_type").map(str::to_owned);
        let method = peft_type
            .as_deref()
            .and_then(|peft_type| peft::method_of(peft_type, &*self));
        if let Some(method) = method {
            peft::config_of(method).check(self);
            return method;
        }
        let what = match peft_type {
            Some(other) => format!(
                "{other} is not supported; {} are",
                listed(&peft::peft_types())
            ),
            None => "it is not a string".to_owned(),
        };
        self.refuse("peft_type", &what, Remedy::Merge);
        Method::Lora
    }

    /// Reads ranks or alphas of some modules, each of which must be one of the model's.
    ///
    /// ```text
    /// "rank_pattern": {"q_proj": 16, "^model.layers.0.mlp.up_proj": 4}
    /// ```
    ///
    /// PEFT takes the keys as regular expressions; only plain names are accepted here, by the ends of modules' paths.
    /// With `^` before it, a key must be a whole path.
    ///
    /// Of several keys that fit a module, PEFT takes the first in the file (`get_pattern_key` of `peft.utils.other`) and
    /// [`AdapterSpec`] the longest; where these differ, the module's whole path is added, which is longer than any other.
    ///
    /// ```text
    /// {"q_proj": 2, "layers.1.self_attn.q_proj": 5}     block 1 has 2 in PEFT: "model.layers.1.self_attn.q_proj": 2
    /// ```
    fn pattern<T: Copy + PartialEq>(
        &mut self,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let mut pattern = BTreeMap::new();
        let Some(entries) = self.config.get(key).and_then(Value::as_object) else {
            return pattern;
        };
        let mut taken: Vec<(&str, T)> = Vec::new();
        for (name, value) in entries {
            let mut modules = all_modules(self.shape);
            let fits = modules.any(|(layer, module)| fits_key(name, layer, module));
            match read(value).filter(|_| fits) {
                Some(value) => taken.push((name, value)),
                None => {
                    let what = format!("{name:?}: {value} does not fit a module of this model");
                    self.refuse(key, &what, Remedy::Base);
                }
            }
        }
        for (name, value) in &taken {
            let name = name.trim_start_matches('^').to_owned();
            pattern.entry(name).or_insert(*value);
        }
        for (layer, module) in all_modules(self.shape) {
            let fitting = || {
                let taken = taken.iter();
                taken.filter(|(name, _)| fits_key(name, layer, module))
            };
            let longest = fitting().max_by_key(|(name, _)| name.len());
            if let (Some((_, first)), Some((_, longest))) = (fitting().next(), longest)
                && first != longest
            {
                pattern.insert(module.path_in_model(layer), *first);
            }
        }
        pattern
    }
}

/// Returns whether a key of `rank_pattern` or `alpha_pattern` means a module. PEFT matches
/// `(.*\.)?(KEY)$` from the start of the module's path, so `^` leaves no room for anything before the key.
fn fits_key(key: &str, layer: usize, module: TargetModule) -> bool {
    match key.strip_prefix('^') {
        Some(path) => path == module.path_in_model(layer),
        None => fits_pattern(key, layer, module),
    }
}

impl ConfigReader for Reader<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.config.get(key)
    }

    fn is_set(&self, key: &str) -> bool {
        match self.config.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            Some(_) => true,
        }
    }

    fn names(&self, key: &str) -> Option<Vec<&str>> {
        let list = self.config.get(key)?.as_array()?;
        list.iter().map(Value::as_str).collect()
    }

    fn refuse(&mut self, key: &str, what: &str, remedy: Remedy) {
        self.mismatches.push(Mismatch::config(key, what, remedy));
    }

    fn count(&mut self, key: &str) -> usize {
        let count = self.config.get(key).and_then(whole).unwrap_or(0);
        if count == 0 {
            self.refuse(key, NO_COUNT, Remedy::Complete);
        }
        count
    }

    fn read_alphas(&mut self, spec: &mut AdapterSpec) {
        match self.config.get("lora_alpha").and_then(alpha) {
            Some(alpha) => spec.lora_alpha = alpha,
            None => {
                let what = "it must be a number other than zero";
                self.refuse("lora_alpha", what, Remedy::Complete);
            }
        }
        let rank = |value: &Value| whole(value).filter(|&rank| rank > 0);
        spec.rank_pattern = self.pattern("rank_pattern", rank);
        spec.alpha_pattern = self.pattern("alpha_pattern", alpha);
    }

    fn read_modules(&mut self, spec: &mut AdapterSpec) -> bool {
        self.put_modules(spec)
    }
}

/// Returns an alpha: any number but zero, which would switch the adapter off. Negative ones turn its effect around
/// and are allowed.
fn alpha(value: &Value) -> Option<f64> {
    let number = value.as_f64()?;
    (number != 0.0 && number.abs() < 1e9).then_some(number)
}

/// Joins names in a sentence: `["A", "B", "C"]` becomes "A, B and C".
fn listed(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        names => names.concat(),
    }
}

/// The reason to refuse a rank or a number of tokens for which [`whole`] returns `None` or 0.
const NO_COUNT: &str = "it must be a whole number above zero and below a billion";

/// Returns a whole number from 0 to below a billion; programs also write them as `8.0`.
fn whole(value: &Value) -> Option<usize> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    // Whole numbers beyond this are no longer exact, and no rank or alpha is near it.
    (0.0..1e9).contains(&number).then_some(number as usize)
}
