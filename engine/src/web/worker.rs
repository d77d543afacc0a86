//! The worker's main loop: opens the device, tests it, sends `Ready`, and then carries out requests until the page ends
//! the worker.

use futures_channel::mpsc::UnboundedReceiver;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::DedicatedWorkerGlobalScope;

use super::{
    constructor::run_constructors,
    device::{self, OpenDevice},
    download::Downloads,
    host::WebHost,
    panic::report_panic,
    port::{Port, Request},
    sources::{model_sources, named_sources},
};
use crate::{
    host::Host,
    protocol::{Command, DeviceProblem, DeviceReport, Event, Failure, PROTOCOL_VERSION},
    self_test,
    weights::checkpoint::NamedSource,
    workbench::Workbench,
};

/// Starts the worker. Returns at once; the rest happens as messages arrive.
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
        Command::LoadModel { source } => model_sources(source, files, downloads, host).await,
        _ => Ok(named_sources(files)),
    }
}
