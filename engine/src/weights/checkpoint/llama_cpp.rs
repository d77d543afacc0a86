//! Opens a GGUF file, which carries everything: settings, vocabulary, template, weights.
//!
//! ```text
//! general.*        name, type and origin of the file           tokenizer.ggml.*           vocabulary
//! llama.*          hyper-parameters                            tokenizer.chat_template    Jinja source
//! blk.N.*, token_embd, output_norm, output       the tensors, which become HF's names here
//! ```

use std::collections::BTreeMap;

use super::{
    GgufVocabulary, ModelFiles, ModelFormat, NamedSource, ROPE_FACTORS, TokenizerSource, main_type,
    purpose::{self, check_purpose},
    sniff::Content,
    stem,
};
use crate::arch::HEAD;
use crate::weights::{
    config::ModelConfig,
    error::ModelError,
    gguf::{GgufError, GgufHeader, Metadata},
};

/// Hub ids of well-known files that do not name theirs, by `general.organization` and `general.name`.
const KNOWN_MODELS: [(&str, &str, &str); 1] = [
    // What the makers of SmolLM2 called the checkpoint that they published as the instruct model.
    (
        "HuggingFaceTB",
        "Smollm2 135M 8k Lc100K Mix1 Ep2",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
];

/// Reads the header of `file`; the `rest` is not needed and is reported as unused.
///
/// # Errors
/// A [`ModelError`] for a damaged header, a file of another purpose, settings that are not supported, or no
/// vocabulary.
pub(super) async fn open(
    file: NamedSource,
    rest: Vec<(Content, NamedSource)>,
) -> Result<ModelFiles, ModelError> {
    let gguf_error = |error: GgufError| {
        let file = file.name.clone();
        ModelError::Gguf { file, error }
    };
    let header = GgufHeader::read(file.source.as_ref())
        .await
        .map_err(gguf_error)?;
    check_purpose(&file.name, &header)?;
    let metadata = &header.metadata;
    let has_own_head = header.tensors.iter().any(|t| t.name == HEAD.gguf);
    let config =
        ModelConfig::from_gguf(metadata, !has_own_head).map_err(|error| ModelError::Config {
            file: file.name.clone(),
            error,
        })?;
    let vocabulary = GgufVocabulary::from_metadata(metadata)
        .map_err(|error| ModelError::Vocabulary {
            file: file.name.clone(),
            error,
        })?
        .ok_or_else(|| ModelError::MissingTokenizer {
            file: file.name.clone(),
            is_gguf: true,
        })?;
    let name = metadata.text("general.name").map_err(gguf_error)?;
    let template = metadata
        .text("tokenizer.chat_template")
        .map_err(gguf_error)?;
    let base_model_name = base_model_name(metadata).map_err(gguf_error)?;
    let quantization = main_type(&header.tensors);
    let file_type = metadata.unsigned("general.file_type").map_err(gguf_error)?;
    let file_type = purpose::file_type(&file.name, file_type);
    let notes = config.unembedded_ids_note().into_iter().collect();
    let mut tensors = BTreeMap::new();
    let mut unknown_tensors = Vec::new();
    for tensor in header.tensors {
        match config.arch.hf_from_gguf(&tensor.name) {
            Some(hf_name) => drop(tensors.insert(hf_name, tensor)),
            None if tensor.name == ROPE_FACTORS => {
                tensors.insert(ROPE_FACTORS.to_owned(), tensor);
            }
            None => unknown_tensors.push(tensor.name),
        }
    }
    Ok(ModelFiles {
        parameters: config.num_parameters(),
        config,
        format: ModelFormat::Gguf,
        name: name.map_or_else(|| stem(&file.name), str::to_owned),
        base_model_name,
        quantization,
        file_bytes: file.source.num_bytes(),
        tokenizer: TokenizerSource::Gguf(vocabulary),
        chat_template: template.map(str::to_owned),
        unused_files: rest.into_iter().map(|(_, file)| file.name).collect(),
        notes,
        file_type,
        weights: file,
        tensors,
        unknown_tensors,
    })
}

/// Returns the hub id of the model that was converted: from the keys for its source, else from [`KNOWN_MODELS`],
/// else from its base model. `general.base_model.0` is asked last and only for models
/// that are not themselves fine-tuned: for the others it names what they were tuned from, whose weights are
/// different ones.
///
/// It becomes `base_model_name_or_path` of an exported adapter, where a wrong id is worse than none.
///
/// # Errors
/// A key of another type.
fn base_model_name(metadata: &Metadata) -> Result<Option<String>, GgufError> {
    for key in [
        "general.source.huggingface.repository",
        "general.source.repo_url",
        "general.repo_url",
    ] {
        if let Some(id) = metadata.text(key)?.and_then(hub_id) {
            return Ok(Some(id));
        }
    }
    let organization = metadata.text("general.organization")?;
    let name = metadata.text("general.name")?;
    let mut known = KNOWN_MODELS.iter();
    if let Some((_, _, id)) =
        known.find(|&&(by, called, _)| (Some(by), Some(called)) == (organization, name))
    {
        return Ok(Some((*id).to_owned()));
    }
    match metadata.text("general.finetune")? {
        Some(_) => Ok(None),
        None => Ok(metadata
            .text("general.base_model.0.repo_url")?
            .and_then(hub_id)),
    }
}

/// Returns `owner/name` from a hub id or from a URL of the hub; `None` for anything else, such as a path on the
/// converter's machine with more parts.
fn hub_id(text: &str) -> Option<String> {
    let path = text
        .strip_prefix("https://huggingface.co/")
        .unwrap_or(text)
        .trim_end_matches('/');
    let is_word = |word: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !word.is_empty() && !word.starts_with('.') && word.chars().all(allowed)
    };
    let (owner, name) = path.split_once('/')?;
    (is_word(owner) && is_word(name)).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_ids_are_found_in_urls() {
        for (text, id) in [
            ("https://huggingface.co/a-b/C_1.5/", Some("a-b/C_1.5")),
            ("owner/name", Some("owner/name")),
            ("https://example.org/owner/name", None),
            ("../name", None),
            ("owner/name/tree", None),
            ("name", None),
            ("owner/", None),
        ] {
            assert_eq!(hub_id(text).as_deref(), id, "{text}");
        }
    }
}
