//! `peft.LoraConfig`, which LoRA and all methods that add a trained pair share.
//!
//! PEFT tells variants apart by switches. Methods that differ only in how they train (LoRA+, PiSSA, OLoRA) leave no
//! trace in an exported config: what they trained is a plain LoRA.
//!
//! | method | `use_rslora` | `use_dora` | `r`, `lora_alpha` |
//! |---|---|---|---|
//! | LoRA, LoRA+ | false | false | as trained |
//! | rsLoRA | true | false | as trained |
//! | DoRA | false | true | as trained |
//! | PiSSA, OLoRA | false | false | twice as trained, so `s` stays the same |

use protocol::{AdapterSpec, TargetModule};
use serde_json::{Value, json};

use crate::{
    adapter::{
        ModelShape,
        peft::{ConfigReader, ConfigWriter, PeftConfig, Remedy},
    },
    number::plain_number,
};

/// Starts that change the base, as values of `init_lora_weights`; some have a suffix, such as `pissa_niter_16`, and PEFT takes
/// `OLoRA`, too. LoftQ replaces the base's weights by quantized ones; the others subtract the start from them. An adapter
/// that was saved with one of these belongs to the base that PEFT changed, unless it was converted when it was saved.
const FROM_BASE: [&str; 4] = ["pissa", "olora", "corda", "lora_ga"];
/// Why such an adapter is refused.
const CONVERT: &str = "its initialization changed the base, so it does not fit the original base";

/// The config, by the switches that tell variants apart.
pub(in crate::adapter::method) struct LoraConfig {
    /// Whether `s` is `alpha / sqrt(r)`.
    use_rslora: bool,
    /// Whether there are magnitudes.
    use_dora: bool,
}

impl LoraConfig {
    /// LoRA's config, and that of methods which PEFT does not tell apart once they are trained.
    pub(in crate::adapter::method) const PLAIN: Self = Self {
        use_rslora: false,
        use_dora: false,
    };
    /// rsLoRA's config.
    pub(in crate::adapter::method) const RSLORA: Self = Self {
        use_rslora: true,
        ..Self::PLAIN
    };
    /// DoRA's config.
    pub(in crate::adapter::method) const DORA: Self = Self {
        use_dora: true,
        ..Self::PLAIN
    };
}

impl PeftConfig for LoraConfig {
    fn peft_type(&self) -> &'static str {
        "LORA"
    }

    /// A DoRA that is also rsLoRA counts as DoRA, and is refused as such.
    fn is_of(&self, reader: &dyn ConfigReader) -> bool {
        let is_rslora = !self.use_dora && reader.is_set("use_rslora");
        self.use_dora == reader.is_set("use_dora") && self.use_rslora == is_rslora
    }

    /// Writes a start from the base as a plain LoRA of twice the rank and alpha; see [`crate::adapter::method::pissa`].
    ///
    /// Ranks and alphas by module are written for each module that differs from `r` and `lora_alpha`, by its whole
    /// path:
    ///
    /// ```text
    /// "rank_pattern": { "model.layers.3.self_attn.q_proj": 16 }
    /// ```
    fn write(&self, spec: &AdapterSpec, shape: &ModelShape, config: &mut ConfigWriter) {
        config.put_modules(spec);
        let times = spec.rank_factor();
        config.put("r", json!(times * spec.r));
        let times_alpha = |alpha: f64| plain_number(times as f64 * alpha);
        config.put("lora_alpha", times_alpha(spec.lora_alpha));
        config.put("lora_dropout", json!(spec.lora_dropout));
        config.put("use_rslora", json!(self.use_rslora));
        config.put("use_dora", json!(self.use_dora));
        config.put("init_lora_weights", json!(true));
        // Whole paths, because versions differ in which of two matching patterns wins.
        let pattern = |of: &dyn Fn(usize, TargetModule) -> Option<Value>| {
            let modules = spec.modules(shape.num_hidden_layers);
            let entries = modules.filter_map(|(layer, module)| {
                Some((module.path_in_model(layer), of(layer, module)?))
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
        config.put("rank_pattern", ranks);
        config.put("alpha_pattern", alphas);
        config.put_blocks(spec);
    }

    /// Refuses a start from the base that was not converted, and DoRA with the scaling of rsLoRA.
    fn check(&self, reader: &mut dyn ConfigReader) {
        let init = reader.value("init_lora_weights").and_then(Value::as_str);
        let init = init.unwrap_or_default().to_ascii_lowercase();
        if FROM_BASE.iter().any(|start| init.starts_with(start)) {
            reader.refuse("init_lora_weights", CONVERT, Remedy::Convert);
        }
        if init.starts_with("loftq") {
            reader.refuse("init_lora_weights", CONVERT, Remedy::Merge);
        }
        if self.use_dora && reader.is_set("use_rslora") {
            let what = "DoRA combined with rsLoRA is not supported";
            reader.refuse("use_rslora", what, Remedy::Merge);
        }
    }

    fn read(&self, spec: &mut AdapterSpec, reader: &mut dyn ConfigReader) {
        spec.r = reader.count("r");
        reader.read_alphas(spec);
        reader.read_modules(spec);
    }
}
