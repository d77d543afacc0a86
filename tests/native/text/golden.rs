//! The golden files, and the bundled model's vocabulary where it was fetched.

use std::{fs, io::Read, path::PathBuf};

use engine::{
    data::Encoder, template::ChatTemplate, tokenizer::Tokenizer, weights::checkpoint::ModelFiles,
};
use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;

use crate::fetched::open_bundled;

pub fn fixture(name: &str) -> Vec<u8> {
    let path = workspace().join("tests/fixtures/text").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn golden<T: DeserializeOwned>(name: &str) -> T {
    let mut json = Vec::new();
    GzDecoder::new(fixture(name).as_slice())
        .read_to_end(&mut json)
        .unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn model_tokenizer(test: &str) -> Option<(Tokenizer, ModelFiles)> {
    let model = open_bundled(test)?;
    Some((Tokenizer::from_source(&model.tokenizer).unwrap(), model))
}

pub fn tiny_tokenizer() -> Tokenizer {
    let config = br#"{"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}}"#;
    Tokenizer::from_json(&fixture("tiny_tokenizer.json"), Some(config)).unwrap()
}

pub fn encoder<'a>(tokenizer: &'a Tokenizer, template: &'a ChatTemplate) -> Encoder<'a> {
    Encoder {
        tokenizer,
        template: Some(template),
    }
}
