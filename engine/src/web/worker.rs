//! The worker's life: open the device, prove it, say Ready, then carry out requests until the page ends it.

use futures_channel::mpsc::UnboundedReceiver;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::DedicatedWorkerGlobalScope;

use super::{
    blob::BlobSource,
    constructor::run_constructors,
    device::{self, OpenDevice},
    download::Downloads,
    host::WebHost,
    panic::report_panic,
    port::{Port, Request},
};
use crate::{
    host::Host,
    protocol::{
        Command, DeviceProblem, DeviceReport, Event, Failure, FailureKind, ModelSource,
        PROTOCOL_VERSION, Phase,
    },
    self_test,
    weights::{checkpoint::NamedSource, hash::sha256_hex},
    workbench::Workbench,
};

/// Starts the worker; returns at once, the rest happens as messages come.
pub fn serve() {
    run_constructors();
    std::panic::set_hook(Box::new(report_panic));
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    spawn_local(async move {
        let (port, requests) = Port::open(scope.clone());
        match WebHost::new(scope.clone(), port) {
            Ok(host) => run(scope, &host, requests).await,
            Err(error) => web_sys::console::error_2(&"the worker could not start".into(), &error),
        }
    });
}

async fn run(
    scope: DedicatedWorkerGlobalScope,
    host: &WebHost,
    mut requests: UnboundedReceiver<Request>,
) {
    let (device, report) = match prove_device(&scope, host).await {
        Ok(proven) => proven,
        Err(reason) => {
            return host.emit(Event::DeviceRejected {
                kind: device::KIND,
                reason,
            });
        }
    };
    host.emit(Event::Ready {
        protocol_version: PROTOCOL_VERSION,
        device: report.clone(),
    });
    let mut workbench = Workbench::new(host, device, report);
    let downloads = Downloads::new(scope);
    while let Ok(request) = requests.recv().await {
        match sources(&request.command, request.files, &downloads, host).await {
            Ok(files) => workbench.handle(request.command, files).await,
            Err(failure) => host.emit(Event::Failed { failure }),
        }
    }
}

async fn prove_device(
    scope: &DedicatedWorkerGlobalScope,
    host: &WebHost,
) -> Result<(burn::tensor::Device, DeviceReport), DeviceProblem> {
    let OpenDevice {
        device,
        name,
        threads,
    } = device::open(scope).await?;
    let proven = self_test::run(&device, host).await?;
    Ok((
        device,
        DeviceReport {
            kind: device::KIND,
            name,
            self_test: proven.cases,
            threads,
            precision: proven.precision,
        },
    ))
}

/// The files that a command works on.
async fn sources(
    command: &Command,
    files: Vec<(String, web_sys::Blob)>,
    downloads: &Downloads,
    host: &dyn Host,
) -> Result<Vec<NamedSource>, Failure> {
    match command {
        Command::LoadModel {
            source: ModelSource::Url { url, name, sha256 },
        } => {
            let source = downloaded(url, sha256.as_deref(), downloads, host).await?;
            Ok(vec![NamedSource {
                name: name.clone(),
                source: Box::new(source),
            }])
        }
        _ => Ok(files
            .into_iter()
            .map(|(name, blob)| NamedSource {
                name,
                source: Box::new(BlobSource::new(blob)),
            })
            .collect()),
    }
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
        "The downloaded model is not the file it should be.",
    )
    .at(format!("{url}: its SHA-256 is not {sha256}"))
    .remedy("Try again; if it happens twice, the server offers another file."))
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
