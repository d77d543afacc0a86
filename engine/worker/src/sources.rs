//! The files of a model, wherever they come from.

use protocol::{Event, Failure, FailureKind, ModelSource, NotKept, Phase};
use web_sys::Blob;

use super::{
    blob::BlobSource,
    download::{Downloads, Unfetched, say},
};
use engine::{
    host::Host,
    transfer::{Attempt, Flaw},
    weights::{checkpoint::NamedSource, hash::sha256_hex, source::SourceError},
};

/// A model's files: those that came with the message, or the one that is downloaded.
///
/// # Errors
/// If the download fails or is cancelled, or is not the file it should be.
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
        let fetched = downloads.fetch(url, None, false, host).await;
        return fetched
            .map(BlobSource::new)
            .map_err(|unfetched| match unfetched {
                Unfetched::Failed(failure) => failure,
                Unfetched::NotKept => lost(url),
            });
    };
    if let Some(kept) = downloads.find(sha256).await {
        if hash(&kept, host).await.is_ok_and(|actual| actual == sha256) {
            return Ok(BlobSource::hashed(kept, sha256.to_owned()));
        }
        downloads.remove(sha256).await;
    }
    let mut attempt = Attempt::FIRST;
    loop {
        let key = attempt.is_kept.then_some(sha256);
        let fetched = downloads.fetch(url, key, attempt.is_past_cache, host).await;
        let flaw = match fetched {
            Ok(fresh) => match hash(&fresh, host).await {
                Ok(actual) if actual == sha256 => {
                    return Ok(BlobSource::hashed(fresh, sha256.to_owned()));
                }
                Ok(_) => Flaw::Unexpected,
                Err(_) => {
                    let is_told = attempt.is_kept.then_some(NotKept::NoStorage);
                    say(is_told, host);
                    Flaw::Unreadable
                }
            },
            Err(Unfetched::Failed(failure)) => return Err(failure),
            Err(Unfetched::NotKept) => Flaw::Unreadable,
        };
        if attempt.is_kept {
            downloads.remove(sha256).await;
        }
        attempt = match (attempt.after(flaw), flaw) {
            (Some(next), _) => next,
            (None, Flaw::Unexpected) => return Err(unexpected(url, sha256)),
            (None, Flaw::Unreadable) => return Err(lost(url)),
        };
    }
}

fn unexpected(url: &str, sha256: &str) -> Failure {
    Failure::new(
        FailureKind::Network,
        "The downloaded model is not the expected file, and neither was it when the server was asked again.",
    )
    .at(format!("{url}: its SHA-256 is not {sha256}"))
    .remedy("The server has a different file: drop a model file here instead.")
}

fn lost(url: &str) -> Failure {
    Failure::new(
        FailureKind::Network,
        "The browser does not give back the model that it downloaded.",
    )
    .at(url)
    .remedy("Free up some disk space and memory, then try again; or drop a model file here.")
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
