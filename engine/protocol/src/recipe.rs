//! `recipe.json`: what is needed to repeat a run, in a versioned format. Its settings are those of the table
//! ([`crate::setting`]), by their names there.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::{
    Access, DatasetSummary, DeviceKind, Failure, FailureKind, ModelSummary, PROTOCOL_VERSION,
    ReadSpec, RunSpec, Setting, Settings,
};

const FORMAT: &str = "inlay-recipe";
/// Raised whenever a field is removed or changes its meaning; a new field has a default, since older recipes lack it.
const VERSION: u32 = 1;
/// A recipe has about 2 KB; anything much larger is another file.
pub const MAX_RECIPE_BYTES: usize = 1 << 20;

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
    /// The run to ask for. It continues no adapter, since one of another visit has another id.
    #[serde(with = "by_name")]
    pub settings: RunSpec,
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

/// Why a file cannot be read as a recipe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    #[error("the file has {num_bytes} bytes; a recipe has at most {MAX_RECIPE_BYTES}")]
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

impl RecipeError {
    /// What a reader of JSON says, which repeats the place at the end.
    pub fn json(line: usize, column: usize, text: &str) -> Self {
        let place = format!(" at line {line} column {column}");
        Self::Json {
            line,
            column,
            what: text.strip_suffix(&place).unwrap_or(text).to_owned(),
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
                .remedy("Use the recipe.json from an exported zip, unchanged. If a newer Inlay wrote it, reload the page first."),
            RecipeError::TooLarge { .. } | RecipeError::NotARecipe => {
                failure.remedy("Use the recipe.json from an exported zip, unchanged.")
            }
        }
    }
}

/// The fields that tell whether the rest can be understood.
#[derive(Deserialize)]
pub struct RecipeHeader {
    #[serde(default)]
    format: Word,
    #[serde(default)]
    version: Word,
}

/// A text, a number, or whatever else a foreign file has there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Number(u64),
    Other(IgnoredAny),
}

impl Default for Word {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

/// What reads JSON, which this crate does not: [`RecipeHeader`]s and [`Recipe`]s.
pub type FromJson<T> = fn(&[u8]) -> Result<T, RecipeError>;

impl Recipe {
    /// The recipe of a run on a model and a dataset.
    pub fn new(
        model: &ModelSummary,
        dataset: &DatasetSummary,
        run: &RunSpec,
        device: DeviceKind,
    ) -> Self {
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
            settings: RunSpec {
                initial_adapter: None,
                ..run.clone()
            },
            initial_adapter: None,
            device,
            finished_at: None,
        }
    }

    /// Reads a `recipe.json`. Its settings still have to be planned: their ranges are not checked here.
    ///
    /// # Errors
    /// The first problem, with its position.
    pub fn parse(
        json: &[u8],
        header: FromJson<RecipeHeader>,
        whole: FromJson<Self>,
    ) -> Result<Self, RecipeError> {
        let num_bytes = json.len();
        if num_bytes > MAX_RECIPE_BYTES {
            return Err(RecipeError::TooLarge { num_bytes });
        }
        // The version is checked before the fields, since those of a newer version may differ.
        let header = header(json)?;
        match (header.format, header.version) {
            (Word::Text(format), Word::Number(found)) if format == FORMAT => {
                if found == u64::from(VERSION) {
                    whole(json)
                } else {
                    Err(RecipeError::Version { found })
                }
            }
            _ => Err(RecipeError::NotARecipe),
        }
    }
}

/// A run's settings as recipes have them: each under its name.
pub struct ByName<'a>(pub &'a RunSpec);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_name::serialize(self.0, serializer)
    }
}

/// A number of which the whole ones have no fraction: some readers of `lora_alpha` take integers alone.
struct Plain(f64);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Every whole number of this size is exact.
        match self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            true => serializer.serialize_i64(self.0 as i64),
            false => serializer.serialize_f64(self.0),
        }
    }
}

/// The settings that every recipe has; a later one is as at first where an older recipe lacks it.
const ALWAYS: [&str; 21] = [
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "max_seq_length",
    "validation_split",
    "data_seed",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "eval_steps",
    "seed",
];

mod by_name {
    use super::*;

    pub fn serialize<S: Serializer>(run: &RunSpec, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = Settings::from(run);
        let mut map = serializer.serialize_map(None)?;
        for Setting { name, access, .. } in Setting::of_runs() {
            match access {
                Access::Whole(_, at) => map.serialize_entry(name, (at.get)(&settings))?,
                Access::Size(_, at) => map.serialize_entry(name, (at.get)(&settings))?,
                Access::Real(_, at) => map.serialize_entry(name, &Plain(*(at.get)(&settings)))?,
                Access::Switch(at) => map.serialize_entry(name, (at.get)(&settings))?,
                Access::Choice(choice) => {
                    map.serialize_entry(name, choice.key(choice.chosen(&settings)))?;
                }
                Access::Modules(at) => map.serialize_entry(name, (at.get)(&settings))?,
                Access::Layers(at) => map.serialize_entry(name, (at.get)(&settings))?,
                Access::Ranks(_, at) => map.serialize_entry(name, (at.get)(&settings))?,
                Access::Alphas(_, at) => {
                    let alphas = (at.get)(&settings).iter();
                    let alphas = alphas.map(|(key, alpha)| (key, Plain(*alpha)));
                    map.serialize_entry(name, &alphas.collect::<BTreeMap<_, _>>())?;
                }
                Access::LeftOut(at) => map.serialize_entry(name, (at.get)(&settings))?,
                Access::FileSides(at) => map.serialize_entry(name, (at.get)(&settings))?,
            }
        }
        map.end()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunSpec, D::Error> {
        deserializer.deserialize_map(SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = RunSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a run")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RunSpec, A::Error> {
        let mut settings = Settings::default();
        let mut read = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let known = Setting::of_runs().find(|line| line.name == name);
            let Some(Setting { name, access, .. }) = known else {
                return Err(de::Error::custom(format_args!("unknown setting `{name}`")));
            };
            if read.contains(name) {
                return Err(de::Error::duplicate_field(name));
            }
            read.push(*name);
            let to = &mut settings;
            match access {
                Access::Whole(_, at) => *(at.get_mut)(to) = map.next_value()?,
                Access::Size(_, at) => *(at.get_mut)(to) = map.next_value()?,
                Access::Real(_, at) => *(at.get_mut)(to) = map.next_value()?,
                Access::Switch(at) => *(at.get_mut)(to) = map.next_value()?,
                Access::Choice(choice) => {
                    let value = map.next_value::<String>()?;
                    let index = choice.named(&value).ok_or_else(|| {
                        de::Error::custom(format_args!("`{name}` cannot be `{value}`"))
                    })?;
                    choice.choose(to, index);
                }
                Access::Modules(at) => *(at.get_mut)(to) = map.next_value()?,
                Access::Layers(at) => *(at.get_mut)(to) = map.next_value()?,
                Access::Ranks(_, at) => *(at.get_mut)(to) = map.next_value()?,
                Access::Alphas(_, at) => *(at.get_mut)(to) = map.next_value()?,
                Access::LeftOut(at) => *(at.get_mut)(to) = map.next_value()?,
                Access::FileSides(at) => *(at.get_mut)(to) = map.next_value()?,
            }
        }
        match ALWAYS.into_iter().find(|name| !read.contains(name)) {
            Some(name) => Err(de::Error::missing_field(name)),
            None => Ok(settings.run),
        }
    }
}
