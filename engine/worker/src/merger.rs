//! The worker that writes one merged model. It is separate from the engine's, so that a run can continue meanwhile, its
//! memory use is known, and ending the worker stops the export.
//!
//! Page to worker: `{ json: MergerCommand, files: [Blob] }`. Worker to page: `{ json: MergerEvent, blob?: Blob }`. The zip
//! goes into the browser's blobs piece by piece.

use std::{cell::Cell, rc::Rc};

use protocol::{Event, Failure, FailureKind, MergerCommand, MergerEvent, Phase};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, DedicatedWorkerGlobalScope, MessageEvent};

use super::{
    blob_parts::BlobParts,
    constructor::run_constructors,
    download::Downloads,
    host::memory_bytes,
    message,
    panic::report_panic,
    port::command_and_files,
    post::post_event,
    sources::{model_sources, named_sources},
};
use engine::{
    export::merged::{FileSink, merge_files},
    host::Host,
    pacing::Interruption,
    surroundings::{Cancel, Clock, Observer},
};

/// The number of bytes handed to the browser at a time.
const PART_BYTES: usize = 4 << 20;

/// Starts the worker. Returns at once; the rest happens as messages arrive.
pub fn serve() {
    run_constructors();
    std::panic::set_hook(Box::new(report_panic));
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let port = Rc::new(Port::new(scope.clone()));
    let listener = port.clone();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let port = listener.clone();
        spawn_local(async move {
            match write(&event.data(), &port).await {
                Ok((event, blob)) => port.send(&event, Some(&blob)),
                Err(failure) => port.send(&MergerEvent::Failed { failure }, None),
            }
        });
    });
    scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget();
    port.send(&MergerEvent::Ready, None);
}

async fn write(data: &JsValue, port: &Port) -> Result<(MergerEvent, Blob), Failure> {
    let internal = |reason: &str| {
        Failure::new(
            FailureKind::Internal,
            "The export could not read a message from the page.",
        )
        .at(reason)
        .remedy("Reload the page; if that does not help, clear its cache.")
    };
    let (command, mut files) = command_and_files(data).map_err(|reason| internal(&reason))?;
    let MergerCommand::Write { source, kind } = command;
    if files.is_empty() {
        return Err(internal("the adapter is missing"));
    }
    let adapter = named_sources(files.drain(..1).collect());
    let downloads = Downloads::new(port.scope.clone());
    let model = model_sources(&source, files, &downloads, port).await?;
    let mut sink = BlobSink::default();
    let written = merge_files(model, adapter, kind, port, &mut sink).await;
    let file_name = written.map_err(|interruption| match interruption {
        Interruption::Failed(failure) => failure,
        // Nobody asks for this: the worker is ended instead.
        Interruption::Stopped => internal("stopped"),
    })?;
    let blob = sink.finish()?;
    let event = MergerEvent::Written {
        file_name,
        // A size is an integer far below 2^53.
        num_bytes: blob.size() as u64,
        memory_bytes: memory_bytes(),
    };
    Ok((event, blob))
}

/// A file that the browser keeps.
#[derive(Default)]
struct BlobSink {
    parts: BlobParts,
    /// Not yet handed over.
    held: Vec<u8>,
}

impl BlobSink {
    fn hand_over(&mut self) -> Result<(), Failure> {
        let pushed = self.parts.push(&self.held);
        self.held.clear();
        pushed.map_err(|error| unstored(&error))
    }

    fn finish(mut self) -> Result<Blob, Failure> {
        self.hand_over()?;
        self.parts.finish().map_err(|error| unstored(&error))
    }
}

impl FileSink for BlobSink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.held.extend(bytes);
        if self.held.len() >= PART_BYTES {
            self.hand_over()?;
        }
        Ok(())
    }
}

fn unstored(error: &JsValue) -> Failure {
    let what = format!("The browser has no room for the model: {}.", message(error));
    Failure::new(FailureKind::OutOfMemory, what)
        .remedy("Free up some disk space, or export a smaller type.")
}

/// The worker's end of the channel, and its environment.
struct Port {
    scope: DedicatedWorkerGlobalScope,
    /// Reported in steps of a hundredth, so that the page is not flooded with messages.
    told: Cell<u64>,
}

impl Port {
    fn new(scope: DedicatedWorkerGlobalScope) -> Self {
        Self {
            scope,
            told: Cell::new(u64::MAX),
        }
    }

    fn send(&self, event: &MergerEvent, blob: Option<&Blob>) {
        post_event(&self.scope, event, blob);
    }

    fn tell(&self, done: u64, total: Option<u64>) {
        let share = total.map_or(done >> 20, |total| done * 100 / total.max(1));
        if self.told.replace(share) != share {
            self.send(&MergerEvent::Progress { done, total }, None);
        }
    }
}

impl Clock for Port {
    fn now_millis(&self) -> f64 {
        js_sys::Date::now()
    }
}

/// No message arrives while it works: to cancel it, the worker is ended.
impl Cancel for Port {}

impl Observer for Port {
    fn progressed(&self, done: u64, total: u64) {
        self.tell(done, Some(total));
    }
}

/// What the download of the model tells.
impl Host for Port {
    fn emit(&self, event: Event) {
        if let Event::Progress {
            phase: Phase::DownloadingModel,
            done,
            total,
        } = event
        {
            self.tell(done, total);
        }
    }

    fn emit_with_bytes(&self, event: Event, _bytes: Vec<u8>) {
        self.emit(event);
    }
}
