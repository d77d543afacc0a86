//! Models of the tests.

use std::{
    fs::{self, File},
    future::{Future, ready},
    os::unix::fs::FileExt,
    path::PathBuf,
    pin::Pin,
};

use burn::tensor::Device;
use engine::{
    model::Llama,
    weights::{
        checkpoint::{NamedSource, open},
        source::{ByteSource, SourceError},
    },
};
use futures_executor::block_on;

const BUNDLED: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// One of the committed models, `tiny` or `odd`.
pub fn fixture_model(name: &str) -> Llama {
    let folder = super::fixture::path("model").join(name);
    let sources = ["config.json", "model.safetensors", "tokenizer.json"].map(|file| NamedSource {
        name: file.to_owned(),
        source: Box::new(fs::read(folder.join(file)).unwrap()),
    });
    load(sources.into())
}

/// The bundled model, if it was fetched; otherwise says aloud that `test` is skipped.
pub fn bundled_model(test: &str) -> Option<Llama> {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../.material/");
    let path = std::env::var_os("INLAY_MODEL")
        .map_or_else(|| PathBuf::from(fetched).join(BUNDLED), PathBuf::from);
    if !path.is_file() {
        println!("SKIPPED {test}: the bundled model is not fetched (make model)");
        return None;
    }
    Some(load(vec![NamedSource {
        name: BUNDLED.to_owned(),
        source: Box::new(DiskSource(File::open(path).unwrap())),
    }]))
}

fn load(sources: Vec<NamedSource>) -> Llama {
    let files = block_on(open(sources)).unwrap();
    block_on(Llama::load(&files, &Device::flex(), async |_| ())).unwrap()
}

/// A file on disk, read by slices.
struct DiskSource(File);

impl ByteSource for DiskSource {
    fn num_bytes(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        let mut bytes = vec![0; num_bytes];
        let read = self.0.read_exact_at(&mut bytes, offset);
        let read = read.map_err(|error| SourceError::Read(error.to_string()));
        Box::pin(ready(read.map(|()| bytes)))
    }
}
