//! Opens a safetensors file together with config.json and tokenizer.json.

use serde::Deserialize;

use super::{
    ModelFiles, ModelFormat, NamedSource, TokenizerSource, main_type,
    sniff::{Content, MAX_JSON_BYTES, MAX_TEMPLATE_BYTES},
    stem,
};
use crate::weights::{
    config::{ConfigError, LlamaConfig, looks_like_encoder},
    error::ModelError,
    json,
    safetensors::SafetensorsHeader,
};

/// The files beside the weights.
struct Beside(Vec<(Content, NamedSource)>);

impl Beside {
    /// Takes the file of this content, if there is one; two are refused.
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

/// Reads the header of `file` and the JSON files beside it.
pub(super) async fn open(
    file: NamedSource,
    beside: Vec<(Content, NamedSource)>,
) -> Result<ModelFiles, ModelError> {
    let header = SafetensorsHeader::read(file.source.as_ref())
        .await
        .map_err(|error| ModelError::Safetensors {
            file: file.name.clone(),
            error,
        })?;
    let mut beside = Beside(beside);
    let config = beside.take(Content::Config, "config.json")?;
    let is_encoder = looks_like_encoder(header.tensors.iter().map(|t| t.name.as_str()));
    let config = match config {
        Some(config) => read_config(&config, &mut beside).await?,
        None if is_encoder => {
            let architecture = "a BERT-like model".to_owned();
            return Err(ModelError::Config {
                file: file.name,
                error: ConfigError::Encoder { architecture },
            });
        }
        None => return Err(ModelError::MissingConfig { file: file.name }),
    };
    let Some(tokenizer) = beside.take(Content::Tokenizer, "tokenizer.json")? else {
        return Err(ModelError::MissingTokenizer {
            file: file.name,
            is_gguf: false,
        });
    };
    let (config_json, chat_template) = read_template(&mut beside).await?;
    Ok(ModelFiles {
        parameters: config.num_parameters(),
        config,
        format: ModelFormat::Safetensors,
        name: stem(&file.name),
        // config.json's `_name_or_path` is no help: in a tuned model it names what that was tuned from.
        base_model_name: None,
        quantization: main_type(&header.tensors),
        file_bytes: file.source.num_bytes(),
        tokenizer: TokenizerSource::Json {
            tokenizer_json: tokenizer.read_whole(MAX_JSON_BYTES).await?,
            config_json,
        },
        chat_template,
        unused_files: beside.0.into_iter().map(|(_, file)| file.name).collect(),
        weights: file,
        tensors: header
            .tensors
            .into_iter()
            .map(|tensor| (tensor.name.clone(), tensor))
            .collect(),
        unknown_tensors: Vec::new(),
    })
}

/// config.json, corrected by generation_config.json.
async fn read_config(file: &NamedSource, beside: &mut Beside) -> Result<LlamaConfig, ModelError> {
    let config_error = |file: &NamedSource, error| ModelError::Config {
        file: file.name.clone(),
        error,
    };
    let config = LlamaConfig::from_json(&file.read_whole(MAX_JSON_BYTES).await?)
        .map_err(|error| config_error(file, error))?;
    match beside.take(Content::GenerationConfig, "generation_config.json")? {
        None => Ok(config),
        Some(generation) => config
            .with_generation_config(&generation.read_whole(MAX_JSON_BYTES).await?)
            .map_err(|error| config_error(&generation, error)),
    }
}

/// tokenizer_config.json, and the chat template: from its own file, else from there.
async fn read_template(
    beside: &mut Beside,
) -> Result<(Option<Vec<u8>>, Option<String>), ModelError> {
    let mut config_json = None;
    let mut template = None;
    if let Some(file) = beside.take(Content::TokenizerConfig, "tokenizer_config.json")? {
        let bytes = file.read_whole(MAX_JSON_BYTES).await?;
        let config: TokenizerConfig =
            json::from_slice(&bytes).map_err(|error| ModelError::Json {
                file: file.name.clone(),
                error,
            })?;
        template = config.chat_template.and_then(Templates::default);
        config_json = Some(bytes);
    }
    if let Some(file) = beside.take(Content::Template, "chat_template.jinja")? {
        let bytes = file.read_whole(MAX_TEMPLATE_BYTES).await?;
        let text = String::from_utf8(bytes).map_err(|_| ModelError::NotAModel {
            file: file.name,
            looks_like: "a template that is not valid UTF-8",
        })?;
        template = Some(text);
    }
    Ok((config_json, template))
}

#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Templates>,
}

/// One template, or several with names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl Templates {
    fn default(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Named(templates) => {
                let mut templates = templates.into_iter();
                let default = templates.find(|named| named.name == "default");
                default.map(|named| named.template)
            }
        }
    }
}
