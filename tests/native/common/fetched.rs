//! The bundled model's file, if it was fetched.

use std::{
    fs::File,
    future::{Future, ready},
    os::unix::fs::FileExt,
    path::PathBuf,
    pin::Pin,
};

use engine::weights::{
    checkpoint::{ModelFiles, NamedSource, open},
    source::{ByteSource, SourceError},
};
use futures_executor::block_on;

const NAME: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The path of the file, if it was fetched; otherwise prints that `test` is skipped.
pub fn bundled_model(test: &str) -> Option<PathBuf> {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.material/");
    let path = std::env::var_os("INLAY_MODEL")
        .map_or_else(|| PathBuf::from(fetched).join(NAME), PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    println!("SKIPPED {test}: the bundled model is not fetched (make model)");
    None
}

/// The opened model; `None` if `test` is skipped.
pub fn open_bundled(test: &str) -> Option<ModelFiles> {
    let path = bundled_model(test)?;
    let file = NamedSource {
        name: NAME.to_owned(),
        source: Box::new(DiskSource(File::open(path).unwrap())),
    };
    Some(block_on(open(vec![file])).unwrap())
}

/// A file on disk, read in slices.
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
