//! An adapter's files out of a zip, such as a run leaves.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::{ImportError, whole};
use crate::weights::checkpoint::NamedSource;

/// An adapter of every module of a large model has fewer.
const MAX_ARCHIVE_BYTES: u64 = 1 << 30;
/// What of an archive is an adapter's.
const WANTED: [&str; 4] = [
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapters.safetensors",
    "adapter.gguf",
];

/// The files as they are, or those of the one archive.
pub(super) async fn unpacked(files: Vec<NamedSource>) -> Result<Vec<NamedSource>, ImportError> {
    let [file] = files.as_slice() else {
        return Ok(files);
    };
    if file.source.num_bytes() < 4 || file.source.read(0, 4).await? != b"PK\x03\x04" {
        return Ok(files);
    }
    let mut archive = ZipArchive::new(Cursor::new(whole(file, MAX_ARCHIVE_BYTES).await?))?;
    let mut unpacked = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let is_wanted = |wanted: &&str| name.rsplit('/').next() == Some(*wanted);
        if !WANTED.iter().any(is_wanted) {
            continue;
        }
        let mut bytes = Vec::new();
        let read = entry
            .by_ref()
            .take(MAX_ARCHIVE_BYTES)
            .read_to_end(&mut bytes);
        read.map_err(zip::result::ZipError::Io)?;
        unpacked.push(NamedSource {
            name: format!("{}/{name}", file.name),
            source: Box::new(bytes),
        });
    }
    // A model of PyTorch's is a zip too, without either.
    Ok(if unpacked.is_empty() { files } else { unpacked })
}
