//! Opens safetensors files together with config.json and tokenizer.json.
//!
//! | file | needed | what it gives |
//! |---|---|---|
//! | `*.safetensors` | yes, all shards | the tensors |
//! | `config.json` | yes | sizes and constants |
//! | `tokenizer.json` | yes | the vocabulary |
//! | `tokenizer_config.json` | no | special tokens, a chat template |
//! | `chat_template.jinja` | no | the chat template, before the one above |
//! | `chat_template.json` | no | the chat template, after both |
//! | `generation_config.json` | no | the tokens that end an answer |
//!
//! Checks run from the most telling to the least: whether the file holds an adapter, whether the family is
//! built, whether the weights are quantized, and only then whether a tokenizer is missing.
//!
//! Each file but the weights may be there once. A second config.json, or a second template, is refused as
//! ambiguous, wherever the two lie.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Foreign, ModelFiles, ModelFormat, NamedSource, TokenizerSource, main_type,
    select::Part,
    sniff::{
        Content, MAX_CONFIG_BYTES, MAX_JSON_BYTES, MAX_TEMPLATE_BYTES, MAX_TOKENIZER_CONFIG_BYTES,
    },
    stem,
};
use crate::arch::HEAD;
use crate::weights::{
    config::{ConfigError, ModelConfig, looks_like_encoder, quantized_by},
    error::{ModelError, TensorProblem},
    json,
    names::unwrapped,
    safetensors::SafetensorsHeader,
    source::Joined,
    tensor::TensorEntry,
};

/// The files next to the weights, each with what it is. What is not taken is reported as unused.
struct Beside(Vec<(Content, NamedSource)>);

impl Beside {
    /// Takes the file of this content, if there is one. `what` names it in messages.
    ///
    /// # Errors
    /// [`ModelError::Ambiguous`] if there are two: it is unknown which of them belongs to the weights.
    fn take(
        &mut self,
        content: Content,
        what: &'static str,
    ) -> Result<Option<NamedSource>, ModelError> {
        let (mut found, rest): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|(kind, _)| *kind == content);
        self.0 = rest;
        if found.len() > 1 {
            let files = found.into_iter().map(|(_, file)| file.name).collect();
            return Err(ModelError::Ambiguous { what, files });
        }
        Ok(found.pop().map(|(_, file)| file))
    }
}

/// Reads the headers of `files`, all parts of the weights, and the JSON files next to them.
///
/// # Errors
/// A [`ModelError`] for what is missing, damaged, ambiguous or not supported.
pub(super) async fn open(
    files: Vec<NamedSource>,
    beside: Vec<(Content, NamedSource)>,
) -> Result<ModelFiles, ModelError> {
    let (file, entries) = joined(files).await?;
    let mut beside = Beside(beside);
    let config = beside.take(Content::Config, "config.json")?;
    let names = || entries.iter().map(|entry| entry.name.as_str());
    if names().any(is_of_adapter) {
        return Err(ModelError::Adapter { file: file.name });
    }
    let is_encoder = looks_like_encoder(names());
    let quantization = main_type(&entries);
    let quantized_by = quantized_by(names());
    let (tensors, mut notes) = plainly_named(&file, entries)?;
    let config = match config {
        Some(config) => {
            let has_head = tensors.contains_key(HEAD.hf);
            read_config(&config, has_head, &mut beside, &mut notes).await?
        }
        None if is_encoder => {
            let architecture = "a BERT-like model".to_owned();
            return Err(ModelError::Config {
                file: file.name,
                error: ConfigError::Encoder { architecture },
            });
        }
        None => return Err(ModelError::MissingConfig { file: file.name }),
    };
    if let Some(method) = quantized_by {
        return Err(ModelError::Config {
            file: file.name,
            error: ConfigError::Quantized {
                method: method.to_owned(),
            },
        });
    }
    let Some(tokenizer) = beside.take(Content::Tokenizer, "tokenizer.json")? else {
        return Err(without_tokenizer(file, &beside));
    };
    notes.extend(config.unembedded_ids_note());
    let (config_json, chat_template) = read_template(&mut beside).await?;
    Ok(ModelFiles {
        parameters: config.num_parameters(),
        config,
        format: ModelFormat::Safetensors,
        name: stem(&file.name),
        // config.json's `_name_or_path` is no help: in a tuned model it names what that was tuned from.
        base_model_name: None,
        quantization,
        file_bytes: file.source.num_bytes(),
        tokenizer: TokenizerSource::Json {
            tokenizer_json: tokenizer.read_json(MAX_JSON_BYTES).await?,
            config_json,
        },
        chat_template,
        unused_files: beside.0.into_iter().map(|(_, file)| file.name).collect(),
        notes,
        file_type: None,
        weights: file,
        tensors,
        unknown_tensors: Vec::new(),
    })
}

/// Returns all parts of the weights as one file, and every tensor in it with offsets in that file.
///
/// ```text
/// model-00001-of-00002.safetensors    1000 bytes    model.norm.weight at 200 -> 200
/// model-00002-of-00002.safetensors     800 bytes    lm_head.weight at 100    -> 1100
/// model.safetensors (2 files)         1800 bytes
/// ```
///
/// # Errors
/// [`ModelError::Safetensors`] with the name of the part.
async fn joined(files: Vec<NamedSource>) -> Result<(NamedSource, Vec<TensorEntry>), ModelError> {
    let mut entries = Vec::new();
    let mut offset = 0;
    for file in &files {
        let header = SafetensorsHeader::read(file.source.as_ref()).await;
        let header = header.map_err(|error| ModelError::Safetensors {
            file: file.name.clone(),
            error,
        })?;
        entries.extend(header.tensors.into_iter().map(|mut entry| {
            entry.offset = entry.offset.saturating_add(offset);
            entry
        }));
        offset = file.source.num_bytes().saturating_add(offset);
    }
    let mut names = files.iter().map(|file| file.name.as_str());
    let first = names.next().unwrap_or_default();
    let name = match (files.len(), Part::of(first)) {
        (1, _) => first.to_owned(),
        (count, Some(part)) => format!("{}.safetensors ({count} files)", part.stem),
        (count, None) => format!("{first} ({count} files)"),
    };
    let sources = files.into_iter().map(|file| file.source);
    let source = Box::new(Joined::new(sources.collect()));
    Ok((NamedSource { name, source }, entries))
}

/// Returns whether a tensor of this name belongs to an adapter (PEFT's or mlx-lm's) rather than to a model.
fn is_of_adapter(name: &str) -> bool {
    let parts = [
        ".lora_A.",
        ".lora_B.",
        ".lora_a",
        ".lora_b",
        "lora_magnitude",
        ".ia3_l",
        "vera_lambda",
    ];
    name.starts_with("base_model.model.") || parts.iter().any(|part| name.contains(part))
}

/// Returns the tensors by their HF names, without what wrappers such as torch.compile put before those, and a
/// note for the user if there were any.
///
/// # Errors
/// [`ModelError::Tensors`] if two tensors have the same name then.
fn plainly_named(
    file: &NamedSource,
    entries: Vec<TensorEntry>,
) -> Result<(BTreeMap<String, TensorEntry>, Vec<String>), ModelError> {
    let mut tensors = BTreeMap::new();
    let mut notes = Vec::new();
    for entry in entries {
        let name = unwrapped(&entry.name);
        if name != entry.name && notes.is_empty() {
            notes.push(format!(
                "The names of the weights have prefixes of the program that saved them ({}), which were ignored.",
                entry.name
            ));
        }
        if let Some(twice) = tensors.insert(name, entry) {
            return Err(ModelError::Tensors {
                file: file.name.clone(),
                problems: vec![TensorProblem::Repeated { name: twice.name }],
            });
        }
    }
    Ok((tensors, notes))
}

/// Returns the error for a missing tokenizer.json; it names a tokenizer of another kind if one was given.
fn without_tokenizer(file: NamedSource, beside: &Beside) -> ModelError {
    let is_other = |content: Content, name: &str| {
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        content == Content::TokenizerModel || ["vocab.json", "merges.txt"].contains(&name)
    };
    let mut others = beside.0.iter();
    match others.find(|(content, file)| is_other(*content, &file.name)) {
        Some((_, other)) => ModelError::OtherTokenizer {
            file: file.name,
            other: other.name.clone(),
        },
        None => ModelError::MissingTokenizer {
            file: file.name,
            is_gguf: false,
        },
    }
}

/// Reads config.json, with the end tokens of generation_config.json, for weights with or without a head of
/// their own.
///
/// A config that does not say whether the head is the embedding is completed by the weights, and the user is
/// told: without `lm_head.weight` there is no other head to take.
///
/// # Errors
/// [`ModelError::Config`] with the name of the file concerned.
async fn read_config(
    file: &NamedSource,
    has_head: bool,
    beside: &mut Beside,
    notes: &mut Vec<String>,
) -> Result<ModelConfig, ModelError> {
    let config_error = |file: &NamedSource, error| ModelError::Config {
        file: file.name.clone(),
        error,
    };
    let json = file.read_json(MAX_CONFIG_BYTES).await?;
    let config =
        ModelConfig::from_json_of(&json, !has_head).map_err(|error| config_error(file, error))?;
    if !has_head && !ModelConfig::says_tied(&json) {
        notes.push(
            "The weights have no head (lm_head.weight), and config.json does not set tie_word_embeddings: the \
             embedding is taken as the head."
                .to_owned(),
        );
    }
    match beside.take(Content::GenerationConfig, "generation_config.json")? {
        None => Ok(config),
        Some(generation) => config
            .with_generation_config(&generation.read_json(MAX_CONFIG_BYTES).await?)
            .map_err(|error| config_error(&generation, error)),
    }
}

/// Returns tokenizer_config.json as bytes, and the chat template: from its own file, else from there, else from a
/// processor's chat_template.json.
///
/// # Errors
/// [`ModelError::Json`], [`ModelError::TooLarge`], or a template that is not UTF-8.
async fn read_template(
    beside: &mut Beside,
) -> Result<(Option<Vec<u8>>, Option<String>), ModelError> {
    let mut config_json = None;
    let mut template = None;
    if let Some(file) = beside.take(Content::TokenizerConfig, "tokenizer_config.json")? {
        let bytes = file.read_json(MAX_TOKENIZER_CONFIG_BYTES).await?;
        template = template_in(&file, &bytes)?;
        config_json = Some(bytes);
    }
    if let Some(file) = beside.take(Content::Template, "chat_template.jinja")? {
        let bytes = file.read_whole(MAX_TEMPLATE_BYTES).await?;
        let text = String::from_utf8(bytes).map_err(|_| ModelError::NotAModel {
            file: file.name,
            foreign: Foreign {
                looks_like: "a chat template that is not valid UTF-8",
                remedy: "Save it as UTF-8, or leave it out.",
                is_model: false,
            },
        })?;
        template = Some(text);
    }
    // Where there is a template already, it stays among the unused files.
    if template.is_none()
        && let Some(file) = beside.take(Content::ProcessorTemplate, "chat_template.json")?
    {
        let bytes = file.read_json(MAX_TOKENIZER_CONFIG_BYTES).await?;
        template = template_in(&file, &bytes)?;
    }
    Ok((config_json, template))
}

/// Returns the chat template in a JSON file's field of that name.
///
/// # Errors
/// [`ModelError::Json`]
fn template_in(file: &NamedSource, bytes: &[u8]) -> Result<Option<String>, ModelError> {
    let config: TokenizerConfig = json::from_slice(bytes).map_err(|error| ModelError::Json {
        file: file.name.clone(),
        error,
    })?;
    Ok(config.chat_template.and_then(Templates::default))
}

/// The one field of tokenizer_config.json that is read here; the tokenizer reads the others.
#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Templates>,
}

/// One template, or several with names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    /// `"{% for message in messages %}..."`
    One(String),
    /// `[{"name": "default", "template": "..."}, {"name": "tool_use", "template": "..."}]`
    Named(Vec<NamedTemplate>),
}

/// One of several templates, such as `default`, `tool_use` or `rag`.
#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl Templates {
    /// Returns the only template, the one called `default`, or else the first.
    fn default(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Named(templates) => {
                let is_default = |named: &NamedTemplate| named.name == "default";
                let at = templates.iter().position(is_default).unwrap_or(0);
                templates.into_iter().nth(at).map(|named| named.template)
            }
        }
    }
}
