//! The worker's main loop: opens the device, tests it, sends `Ready`, and then carries out requests until the page ends
//! the worker.

use futures_channel::mpsc::UnboundedReceiver;
use protocol::{Command, DeviceProblem, DeviceReport, Event, Failure, PROTOCOL_VERSION};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::DedicatedWorkerGlobalScope;

use super::{
    constructor::run_constructors,
    device::{self, OpenDevice},
    download::Downloads,
    host::WebHost,
    panic::{report_error, report_panic},
    port::{Port, Request},
    sources::{model_sources, named_sources},
};
use engine::{
    host::{Host, cancelled},
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
            Err(error) => report_error(&error),
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
            // With the words of the graphics library, which the page does not show.
            let reason_text = format!("{reason:?}");
            web_sys::console::warn_2(&"the device was rejected:".into(), &reason_text.into());
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
    let profile = device::profile(&report);
    let mut workbench = Workbench::new(host, device, profile, report);
    let downloads = Downloads::new(scope);
    while let Ok(request) = requests.recv().await {
        host.begin(request.ticket);
        if let Err(failure) = carry_out(
            request.command,
            request.files,
            &mut workbench,
            &downloads,
            host,
        )
        .await
        {
            host.emit(Event::Failed { failure });
        }
        host.emit(Event::Answered {
            ticket: request.ticket,
        });
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

/// Carries out a command, unless it is cancelled.
async fn carry_out(
    command: Command,
    files: Vec<(String, web_sys::Blob)>,
    workbench: &mut Workbench<'_>,
    downloads: &Downloads,
    host: &WebHost,
) -> Result<(), Failure> {
    if host.is_cancelled() {
        return Err(cancelled());
    }
    // Not dropped when it is cancelled: a download has something to clear away.
    let files = sources(&command, files, downloads, host).await?;
    if !command.can_be_cancelled() {
        workbench.handle(command, files).await;
        return Ok(());
    }
    let work = workbench.handle(command, files);
    host.unless_cancelled(work).await.ok_or_else(cancelled)
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
