//! The golden files, and the bundled model's vocabulary where it was fetched.

use std::{env, fs, io::Read, path::PathBuf};

use engine::{
    tokenizer::Tokenizer,
    weights::checkpoint::{self, ModelFiles, NamedSource},
};
use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;

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
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The bundled model, opened; `None` (and a line that says so) where it was not fetched.
pub fn model(test: &str) -> Option<ModelFiles> {
    let path = env::var_os("INLAY_MODEL").map_or_else(
        || workspace().join(".material/SmolLM2-135M-Instruct.Q4_1.gguf"),
        PathBuf::from,
    );
    let Ok(bytes) = fs::read(&path) else {
        eprintln!("SKIPPED {test}: the bundled model is not fetched (make model)");
        return None;
    };
    let file = NamedSource {
        name: "SmolLM2-135M-Instruct.Q4_1.gguf".into(),
        source: Box::new(bytes),
    };
    Some(futures_executor::block_on(checkpoint::open(vec![file])).unwrap())
}

pub fn model_tokenizer(test: &str) -> Option<(Tokenizer, ModelFiles)> {
    let model = model(test)?;
    Some((Tokenizer::from_source(&model.tokenizer).unwrap(), model))
}

pub fn tiny_tokenizer() -> Tokenizer {
    let config = br#"{"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}}"#;
    Tokenizer::from_json(&fixture("tiny_tokenizer.json"), Some(config)).unwrap()
}
