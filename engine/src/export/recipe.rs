//! `recipe.json`: what is needed to repeat a run, in a versioned format.

use std::collections::BTreeMap;

use protocol::{
    AdapterSpec, ControlTokens, DataSpec, DeviceKind, Failure, FailureKind, FileSide, FindingKind,
    LayerRange, LrSchedulerType, Method, PROTOCOL_VERSION, PrecisionChoice, ReadSpec, RunSpec,
    TargetModule, TrainOn, default_lr_ratio, default_virtual_tokens,
};
use serde::{Deserialize, Serialize};

use super::{ExportError, ExportInput};
use crate::number::{plain, plain_map};

const FORMAT: &str = "inlay-recipe";
/// Raised whenever a field is removed or changes its meaning; a new field has a default, since older recipes lack it.
const VERSION: u32 = 1;
/// A recipe has about 2 KB; anything much larger is another file.
const MAX_BYTES: usize = 1 << 20;

/// A run that can be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// `inlay-recipe`
    pub format: String,
    pub version: u32,
    pub app: RecipeApp,
    pub model: RecipeModel,
    pub dataset: RecipeDataset,
    pub settings: RecipeSettings,
    /// The adapter that the run continued, if any.
    #[serde(default)]
    pub initial_adapter: Option<RecipeAdapter>,
    pub device: DeviceKind,
    /// ISO 8601, UTC.
    pub finished_at: Option<String>,
}

/// What made the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeApp {
    pub name: String,
    pub version: String,
    pub protocol_version: u32,
}

/// The base model's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeModel {
    pub name: String,
    pub base_model_name: Option<String>,
    pub quantization: String,
    pub file_bytes: u64,
    pub sha256: String,
}

/// The dataset's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeDataset {
    pub names: Vec<String>,
    pub file_bytes: u64,
    /// The SHA-256 of the files' concatenated bytes.
    pub sha256: String,
    pub num_rows: usize,
    /// How the files became rows.
    #[serde(default)]
    pub reading: ReadSpec,
}

/// An adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeAdapter {
    pub name: String,
    /// The SHA-256 of its `adapter_model.safetensors` as exported here.
    pub sha256: String,
}

/// Every hyperparameter, under the names of `peft.LoraConfig` and `transformers.TrainingArguments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeSettings {
    #[serde(default)]
    pub method: Method,
    pub r: usize,
    #[serde(serialize_with = "plain")]
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub target_modules: Vec<TargetModule>,
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    #[serde(default, serialize_with = "plain_map")]
    pub alpha_pattern: BTreeMap<String, f64>,
    #[serde(default)]
    pub layers_to_transform: Option<LayerRange>,
    #[serde(default)]
    pub train_norms: bool,
    #[serde(default)]
    pub train_head: bool,
    #[serde(default = "default_lr_ratio")]
    pub loraplus_lr_ratio: f64,
    #[serde(default = "default_virtual_tokens")]
    pub num_virtual_tokens: usize,
    #[serde(default)]
    pub train_on: TrainOn,
    pub max_seq_length: usize,
    pub validation_split: f64,
    #[serde(default)]
    pub test_split: f64,
    /// The findings whose rows are left out.
    #[serde(default)]
    pub leave_out: Vec<FindingKind>,
    #[serde(default)]
    pub control_tokens: ControlTokens,
    /// What the rows of some files are for, other than by their names.
    #[serde(default)]
    pub file_sides: Vec<FileSide>,
    /// Seeds the split.
    pub data_seed: u64,
    pub learning_rate: f64,
    pub lr_scheduler_type: LrSchedulerType,
    pub warmup_ratio: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    /// 0 is off.
    pub max_grad_norm: f64,
    #[serde(default)]
    pub precision: PrecisionChoice,
    pub num_train_epochs: f64,
    /// 0 is off.
    pub max_steps: u64,
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    #[serde(default)]
    pub packing: bool,
    #[serde(default)]
    pub group_by_length: bool,
    /// 0 leaves it to the engine.
    pub eval_steps: u64,
    /// Seeds the order of rows, the adapter's initialization and dropout.
    pub seed: u64,
}

/// Why a file cannot be read as a recipe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    #[error("the file has {num_bytes} bytes; a recipe has at most {MAX_BYTES}")]
    TooLarge { num_bytes: usize },
    #[error("line {line}, column {column}: {what}")]
    Json {
        line: usize,
        column: usize,
        what: String,
    },
    #[error("the file is JSON, but its `format` is not `{FORMAT}`")]
    NotARecipe,
    #[error("the recipe has version {found}; this version of Inlay reads version {VERSION}")]
    Version { found: u64 },
}

impl From<serde_json::Error> for RecipeError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Self::Json {
            line: error.line(),
            column: error.column(),
            what: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
        }
    }
}

impl From<RecipeError> for Failure {
    fn from(error: RecipeError) -> Self {
        let failure = Failure::new(
            FailureKind::Settings,
            format!("The recipe cannot be read: {error}."),
        );
        match error {
            RecipeError::Version { .. } => failure.remedy(
                "Reload the page to get the newest version, or fill in the fields yourself.",
            ),
            RecipeError::Json { line, column, .. } => failure
                .at(format!("line {line}, column {column}"))
                .remedy("Use the recipe.json from an exported zip, unchanged."),
            RecipeError::TooLarge { .. } | RecipeError::NotARecipe => {
                failure.remedy("Use the recipe.json from an exported zip, unchanged.")
            }
        }
    }
}

/// The fields that tell whether the rest can be understood.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    format: serde_json::Value,
    #[serde(default)]
    version: serde_json::Value,
}

impl Recipe {
    /// The recipe of a run.
    pub(super) fn new(input: &ExportInput<'_>) -> Self {
        let ExportInput { model, dataset, .. } = input;
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            app: RecipeApp {
                name: "inlay".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                protocol_version: PROTOCOL_VERSION,
            },
            model: RecipeModel {
                name: model.name.clone(),
                base_model_name: model.base_model_name.clone(),
                quantization: model.quantization.clone(),
                file_bytes: model.file_bytes,
                sha256: model.sha256.clone(),
            },
            dataset: RecipeDataset {
                names: dataset.names.clone(),
                file_bytes: dataset.file_bytes,
                sha256: dataset.sha256.clone(),
                num_rows: dataset.num_rows,
                reading: dataset.spec.clone(),
            },
            settings: RecipeSettings::from(input.spec),
            initial_adapter: input.initial.cloned(),
            device: input.device.kind,
            finished_at: input.finished_at.map(str::to_owned),
        }
    }

    /// Reads a `recipe.json`. Its settings still have to be planned: their ranges are not checked here.
    ///
    /// # Errors
    /// The first problem, with its position.
    pub fn parse(json: &[u8]) -> Result<Self, RecipeError> {
        if json.len() > MAX_BYTES {
            return Err(RecipeError::TooLarge {
                num_bytes: json.len(),
            });
        }
        // The version is checked before the fields, since those of a newer version may differ.
        let header: Header = serde_json::from_slice(json)?;
        if header.format != FORMAT {
            return Err(RecipeError::NotARecipe);
        }
        match header.version.as_u64() {
            Some(found) if found == u64::from(VERSION) => Ok(serde_json::from_slice(json)?),
            Some(found) => Err(RecipeError::Version { found }),
            None => Err(RecipeError::NotARecipe),
        }
    }

    /// The run to ask for.
    pub fn run_spec(&self) -> RunSpec {
        RunSpec::from(&self.settings)
    }
}

impl RecipeSettings {
    pub(super) fn check(&self) -> Result<(), ExportError> {
        let values = [
            ("lora_dropout", self.lora_dropout),
            ("loraplus_lr_ratio", self.loraplus_lr_ratio),
            ("validation_split", self.validation_split),
            ("test_split", self.test_split),
            ("learning_rate", self.learning_rate),
            ("warmup_ratio", self.warmup_ratio),
            ("weight_decay", self.weight_decay),
            ("lora_alpha", self.lora_alpha),
            ("adam_beta1", self.adam_beta1),
            ("adam_beta2", self.adam_beta2),
            ("adam_epsilon", self.adam_epsilon),
            ("max_grad_norm", self.max_grad_norm),
            ("num_train_epochs", self.num_train_epochs),
        ];
        match values.into_iter().find(|(_, value)| !value.is_finite()) {
            Some((name, value)) => Err(ExportError::NonFinite {
                name: name.to_owned(),
                value,
            }),
            None => Ok(()),
        }
    }
}

impl From<&RunSpec> for RecipeSettings {
    fn from(spec: &RunSpec) -> Self {
        let RunSpec { adapter, data, .. } = spec;
        Self {
            method: adapter.method,
            r: adapter.r,
            lora_alpha: adapter.lora_alpha,
            lora_dropout: adapter.lora_dropout,
            target_modules: adapter.target_modules.clone(),
            rank_pattern: adapter.rank_pattern.clone(),
            alpha_pattern: adapter.alpha_pattern.clone(),
            layers_to_transform: adapter.layers_to_transform,
            train_norms: adapter.train_norms,
            train_head: adapter.train_head,
            loraplus_lr_ratio: adapter.loraplus_lr_ratio,
            num_virtual_tokens: adapter.num_virtual_tokens,
            train_on: data.train_on,
            max_seq_length: data.max_seq_length,
            validation_split: data.validation_split,
            test_split: data.test_split,
            leave_out: data.leave_out.clone(),
            control_tokens: data.control_tokens,
            file_sides: data.file_sides.clone(),
            data_seed: data.seed,
            learning_rate: spec.learning_rate,
            lr_scheduler_type: spec.lr_scheduler_type,
            warmup_ratio: spec.warmup_ratio,
            weight_decay: spec.weight_decay,
            adam_beta1: spec.adam_beta1,
            adam_beta2: spec.adam_beta2,
            adam_epsilon: spec.adam_epsilon,
            max_grad_norm: spec.max_grad_norm,
            precision: spec.precision,
            num_train_epochs: spec.num_train_epochs,
            max_steps: spec.max_steps,
            per_device_train_batch_size: spec.per_device_train_batch_size,
            gradient_accumulation_steps: spec.gradient_accumulation_steps,
            packing: spec.packing,
            group_by_length: spec.group_by_length,
            eval_steps: spec.eval_steps,
            seed: spec.seed,
        }
    }
}

impl From<&RecipeSettings> for RunSpec {
    fn from(settings: &RecipeSettings) -> Self {
        Self {
            // An adapter from another visit has another id.
            initial_adapter: None,
            adapter: AdapterSpec {
                method: settings.method,
                r: settings.r,
                lora_alpha: settings.lora_alpha,
                lora_dropout: settings.lora_dropout,
                target_modules: settings.target_modules.clone(),
                rank_pattern: settings.rank_pattern.clone(),
                alpha_pattern: settings.alpha_pattern.clone(),
                layers_to_transform: settings.layers_to_transform,
                train_norms: settings.train_norms,
                train_head: settings.train_head,
                loraplus_lr_ratio: settings.loraplus_lr_ratio,
                num_virtual_tokens: settings.num_virtual_tokens,
            },
            data: DataSpec {
                train_on: settings.train_on,
                max_seq_length: settings.max_seq_length,
                validation_split: settings.validation_split,
                test_split: settings.test_split,
                leave_out: settings.leave_out.clone(),
                control_tokens: settings.control_tokens,
                file_sides: settings.file_sides.clone(),
                seed: settings.data_seed,
            },
            learning_rate: settings.learning_rate,
            lr_scheduler_type: settings.lr_scheduler_type,
            warmup_ratio: settings.warmup_ratio,
            weight_decay: settings.weight_decay,
            adam_beta1: settings.adam_beta1,
            adam_beta2: settings.adam_beta2,
            adam_epsilon: settings.adam_epsilon,
            max_grad_norm: settings.max_grad_norm,
            precision: settings.precision,
            num_train_epochs: settings.num_train_epochs,
            max_steps: settings.max_steps,
            per_device_train_batch_size: settings.per_device_train_batch_size,
            gradient_accumulation_steps: settings.gradient_accumulation_steps,
            packing: settings.packing,
            group_by_length: settings.group_by_length,
            eval_steps: settings.eval_steps,
            seed: settings.seed,
        }
    }
}
