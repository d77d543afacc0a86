//! Models of the tests, on the CPU.

use std::fs;

use burn::tensor::Device;
use engine::{
    model::Llama,
    weights::checkpoint::{ModelFiles, NamedSource, open},
};
use futures_executor::block_on;

use super::{fetched::open_bundled, fixture};

/// One of the committed models, `tiny` or `odd`.
pub fn fixture_model(name: &str) -> Llama {
    let folder = fixture::path("model").join(name);
    let sources = ["config.json", "model.safetensors", "tokenizer.json"].map(|file| NamedSource {
        name: file.to_owned(),
        source: Box::new(fs::read(folder.join(file)).unwrap()),
    });
    load(&block_on(open(sources.into())).unwrap())
}

/// The bundled model; none where `test` is skipped.
pub fn bundled_model(test: &str) -> Option<Llama> {
    open_bundled(test).as_ref().map(load)
}

fn load(files: &ModelFiles) -> Llama {
    block_on(Llama::load(files, &Device::flex(), async |_| ())).unwrap()
}
