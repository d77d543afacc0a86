//! The files of a model, wherever they come from.

use web_sys::Blob;

use super::{blob::BlobSource, download::Downloads};
use crate::{
    host::Host,
    protocol::{Event, Failure, FailureKind, ModelSource, Phase},
    weights::{checkpoint::NamedSource, hash::sha256_hex, source::SourceError},
};

/// A model's files: those that came with the message, or the one that is downloaded.
///
/// # Errors
/// If the download fails, or is not the file it should be.
pub async fn model_sources(
    source: &ModelSource,
    files: Vec<(String, Blob)>,
    downloads: &Downloads,
    host: &dyn Host,
) -> Result<Vec<NamedSource>, Failure> {
    let ModelSource::Url { url, name, sha256 } = source else {
        return Ok(named_sources(files));
    };
    let source = downloaded(url, sha256.as_deref(), downloads, host).await?;
    Ok(vec![NamedSource {
        name: name.clone(),
        source: Box::new(source),
    }])
}

/// Files that came with a message.
pub fn named_sources(files: Vec<(String, Blob)>) -> Vec<NamedSource> {
    let named = files.into_iter().map(|(name, blob)| NamedSource {
        name,
        source: Box::new(BlobSource::new(blob)),
    });
    named.collect()
}

/// The file kept from an earlier visit if it is whole, else a new download; checked by its hash where that is known.
async fn downloaded(
    url: &str,
    sha256: Option<&str>,
    downloads: &Downloads,
    host: &dyn Host,
) -> Result<BlobSource, Failure> {
    let Some(sha256) = sha256 else {
        let blob = downloads.fetch(url, None, host).await?;
        return Ok(BlobSource::new(blob));
    };
    if let Some(kept) = downloads.find(sha256).await {
        if hash(&kept, host).await.is_ok_and(|actual| actual == sha256) {
            return Ok(BlobSource::hashed(kept, sha256.to_owned()));
        }
        downloads.remove(sha256).await;
    }
    // A file that cannot be read again was kept badly, not sent badly: the second time it is held in memory.
    for key in [Some(sha256), None] {
        let fresh = downloads.fetch(url, key, host).await?;
        match hash(&fresh, host).await {
            Ok(actual) if actual == sha256 => {
                return Ok(BlobSource::hashed(fresh, sha256.to_owned()));
            }
            Ok(_) => {
                downloads.remove(sha256).await;
                return Err(Failure::new(
                    FailureKind::Network,
                    "The downloaded model is not the expected file.",
                )
                .at(format!("{url}: its SHA-256 is not {sha256}"))
                .remedy("Try again; if it happens twice, the server has a different file."));
            }
            Err(_) => downloads.remove(sha256).await,
        }
    }
    Err(Failure::new(
        FailureKind::Network,
        "The browser does not give back the model that it downloaded.",
    )
    .at(url)
    .remedy("Free up some disk space and memory, then try again; or drop a model file here."))
}

/// Hashing reads the file once, loading once more: each is half of what the user waits for.
async fn hash(blob: &Blob, host: &dyn Host) -> Result<String, SourceError> {
    let progress = |done: u64, total: u64| {
        host.emit(Event::Progress {
            phase: Phase::LoadingModel,
            done: done / 2,
            total: Some(total),
        });
    };
    sha256_hex(&BlobSource::new(blob.clone()), progress).await
}
