//! The files of a model, wherever they come from.

use web_sys::Blob;

use super::{blob::BlobSource, download::Downloads};
use crate::{
    host::Host,
    protocol::{Event, Failure, FailureKind, ModelSource, Phase},
    weights::{checkpoint::NamedSource, hash::sha256_hex},
};

/// A model's files: those that came beside the message, or the one that is downloaded.
///
/// # Errors
/// Of a download that fails, or is another file than it should be.
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

/// Files that came beside a message.
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
        if has_hash(&kept, sha256, host).await {
            return Ok(BlobSource::hashed(kept, sha256.to_owned()));
        }
        downloads.remove(sha256).await;
    }
    let fresh = downloads.fetch(url, Some(sha256), host).await?;
    if has_hash(&fresh, sha256, host).await {
        return Ok(BlobSource::hashed(fresh, sha256.to_owned()));
    }
    downloads.remove(sha256).await;
    Err(Failure::new(
        FailureKind::Network,
        "The downloaded model is not the expected file.",
    )
    .at(format!("{url}: its SHA-256 is not {sha256}"))
    .remedy("Try again; if it happens twice, the server has a different file."))
}

/// Hashing reads the file once, loading once more: each is half of what the user waits for.
async fn has_hash(blob: &web_sys::Blob, expected: &str, host: &dyn Host) -> bool {
    let progress = |done: u64, total: u64| {
        host.emit(Event::Progress {
            phase: Phase::LoadingModel,
            done: done / 2,
            total: Some(total),
        });
    };
    sha256_hex(&BlobSource::new(blob.clone()), progress)
        .await
        .is_ok_and(|actual| actual == expected)
}
