//! The page's side of the engine. The client owns the workers, the commands that wait for one, and the files and copies that a new
//! one is given again; it applies their events to the state, and keeps nothing that is shown. A worker that dies is replaced, and
//! everything is loaded again, except what it keeps dying of. Separate workers read dataset files.

mod merger;
mod port;
mod reader;
mod start;
mod supervise;

use std::cell::RefCell;
use std::rc::Rc;

use leptos::prelude::{RwSignal, Update, WithUntracked};
use protocol::{
    AdapterCopy, AdapterId, Command, Event, Failure, FailureKind, GenerationId, ModelSource,
    PROTOCOL_VERSION, RunId, Ticket,
};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, File};

use crate::browser::{download, get, zip_of};
use crate::state::copies::Copies;
use crate::state::reading::ReaderId;
use crate::state::{ExportState, State};

use merger::Merging;
use port::Port;
use reader::Readers;

/// A command with the files sent along with it.
#[derive(Clone)]
pub struct Parcel {
    command: Command,
    files: Vec<Blob>,
    /// Tells inputs apart that are named alike; the same when it is sent again.
    made: Rc<()>,
    /// The ticket under which it was sent last.
    ticket: Option<Ticket>,
    /// The reader of the dataset that it contains.
    reader: Option<ReaderId>,
    /// The name of the adapter whose files it contains.
    adapter: Option<String>,
}

impl Parcel {
    fn new(command: Command, files: Vec<Blob>) -> Self {
        Self {
            command,
            files,
            made: Rc::default(),
            ticket: None,
            reader: None,
            adapter: None,
        }
    }

    /// Whether it is the same input, sent again.
    fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.made, &other.made)
    }
}

/// A handle on the worker; clones share it.
#[derive(Clone)]
pub struct EngineClient {
    state: RwSignal<State>,
    inner: Rc<RefCell<Inner>>,
}

/// The source of the model or the dataset, to request it again from a new worker.
#[derive(Default)]
struct Source {
    /// The pending request.
    asked: Option<Parcel>,
    /// The last successful request.
    good: Option<Parcel>,
}

impl Source {
    fn latest(&self) -> Option<&Parcel> {
        self.asked.as_ref().or(self.good.as_ref())
    }

    /// The load is over, successful or not.
    fn settle(&mut self, is_loaded: bool) {
        let asked = self.asked.take();
        if is_loaded && asked.is_some() {
            self.good = asked;
        }
    }
}

#[derive(Default)]
struct Inner {
    port: Option<Port>,
    is_ready: bool,
    /// Commands given before the worker listens. Adapters' files stay here if it never does.
    queue: Vec<Parcel>,
    model: Source,
    dataset: Source,
    adapters: Copies<Blob>,
    readers: Readers,
    merging: Merging,
    /// Counts the starts, so that a slow probe of an old one is ignored.
    starts: u64,
    runs: u64,
    generations: u64,
}

impl EngineClient {
    pub fn new(state: RwSignal<State>) -> Self {
        Self {
            state,
            inner: Rc::default(),
        }
    }

    /// A fresh run id, above all earlier ones.
    pub fn next_run(&self) -> RunId {
        let mut inner = self.inner.borrow_mut();
        inner.runs += 1;
        RunId(inner.runs)
    }

    /// A fresh generation id, above all earlier ones.
    pub fn next_generation(&self) -> GenerationId {
        let mut inner = self.inner.borrow_mut();
        inner.generations += 1;
        GenerationId(inner.generations)
    }

    /// Sends a command, once the worker listens.
    pub fn send(&self, command: Command) {
        if let Command::ForgetAdapter { adapter } = &command {
            self.inner.borrow_mut().adapters.forget(*adapter);
        }
        self.send_parcel(Parcel::new(command, Vec::new()));
    }

    pub fn load_model(&self, source: ModelSource, files: Vec<File>) {
        let files = files.into_iter().map(Blob::from).collect();
        let parcel = Parcel::new(Command::LoadModel { source }, files);
        self.inner.borrow_mut().model.asked = Some(parcel.clone());
        self.send_source(parcel);
    }

    /// Sends what is given again to every engine; starts one if there is none.
    fn send_source(&self, parcel: Parcel) {
        if self.state.with_untracked(|state| state.device.is_down) {
            return self.restart_by_hand();
        }
        self.send_parcel(parcel);
    }

    /// Loads an adapter; `name` is shown until its files are read.
    pub fn load_adapter(&self, name: String, files: Vec<File>) {
        let files = files.into_iter().map(Blob::from).collect();
        let mut parcel = Parcel::new(Command::LoadAdapter {}, files);
        parcel.adapter = Some(name);
        self.send_parcel(parcel);
    }

    /// Whether this is the model that was requested last.
    pub fn is_last_model(&self, source: &ModelSource) -> bool {
        let inner = self.inner.borrow();
        inner.model.latest().is_some_and(
            |parcel| matches!(&parcel.command, Command::LoadModel { source: last } if last == source),
        )
    }

    fn send_parcel(&self, mut parcel: Parcel) {
        let ticket = self.state.try_update(|state| state.ask(&parcel.command));
        parcel.ticket = ticket.flatten();
        let posted = {
            let mut inner = self.inner.borrow_mut();
            match &inner.port {
                Some(port) if inner.is_ready => post(port, &parcel),
                _ => {
                    inner.queue.push(parcel);
                    Ok(())
                }
            }
        };
        self.tell_unsent(posted);
    }

    /// A command that the browser did not take is answered by the page itself.
    fn tell_unsent(&self, posted: Result<(), (Option<Ticket>, Failure)>) {
        if let Err((ticket, failure)) = posted {
            self.state.update(|state| {
                state.apply(Event::Failed { failure });
                if let Some(ticket) = ticket {
                    state.answered(ticket);
                }
            });
        }
    }

    fn received(&self, event: Event, message: &JsValue) {
        match &event {
            Event::Ready {
                protocol_version, ..
            } if *protocol_version != PROTOCOL_VERSION => {
                self.state.update(|state| state.device.is_outdated = true);
                return;
            }
            Event::Ready { device, .. } => {
                if let Some(port) = &self.inner.borrow().port {
                    port.watch_threads(device.threads);
                }
                self.flush();
            }
            Event::DeviceRejected { kind, reason } => return self.rejected(*kind, reason.clone()),
            Event::AdapterKept { copy } => return self.keep_adapter(copy.clone(), message),
            Event::Adapters { list } => {
                self.inner.borrow_mut().adapters.listed(list);
            }
            _ => {}
        }
        let has_lost_device =
            matches!(&event, Event::Failed { failure } if failure.kind == FailureKind::DeviceLost);
        let export = match &event {
            Event::ExportReady { file_name, adapter } => Some((file_name.clone(), *adapter)),
            _ => None,
        };
        let model = match &event {
            Event::ModelLoaded { model } => Some(model.sha256.clone()),
            _ => None,
        };
        let is_dataset = matches!(event, Event::DatasetLoaded { .. });
        self.state.update(|state| state.apply(event));
        let is_packing = self
            .state
            .with_untracked(|state| state.export == ExportState::Packing);
        if !is_packing && export.is_none() {
            // It was refused, so no adapter will come.
            self.inner.borrow_mut().merging.wanted = None;
        }
        self.settle_sources(model.is_some(), is_dataset);
        if let Some(sha256) = model {
            self.restore_adapters(&sha256);
        }
        if let Some((file_name, adapter)) = export {
            self.packed(file_name, adapter, zip_beside(message));
        }
        if has_lost_device {
            self.restart();
        }
    }

    fn keep_adapter(&self, copy: AdapterCopy, message: &JsValue) {
        match zip_beside(message) {
            Some(zip) => {
                self.state.update(|state| state.adapter_kept(&copy));
                self.inner.borrow_mut().adapters.keep(copy, zip);
            }
            None => leptos::logging::error!("{} could not be copied", copy.name),
        }
    }

    /// Gives a worker the adapters for its model that an earlier one had.
    fn restore_adapters(&self, model_sha256: &str) {
        let due = self.inner.borrow_mut().adapters.due(model_sha256);
        if let Some((command, zips)) = due {
            self.send_parcel(Parcel::new(command, zips));
        }
    }

    /// Remembers what was loaded and forgets what failed to.
    fn settle_sources(&self, is_model: bool, is_dataset: bool) {
        let (is_model_due, is_dataset_due) = self.state.with_untracked(|state| {
            (
                state.model.loading.is_some(),
                !state.readings.handed.is_empty(),
            )
        });
        {
            let mut inner = self.inner.borrow_mut();
            if !is_model_due {
                inner.model.settle(is_model);
            }
            if !is_dataset_due {
                inner.dataset.settle(is_dataset);
            }
        }
        self.end_old_readers();
    }

    fn flush(&self) {
        let posted: Vec<_> = {
            let mut inner = self.inner.borrow_mut();
            inner.is_ready = true;
            let queue = std::mem::take(&mut inner.queue);
            let port = inner.port.as_ref();
            port.map_or_else(Vec::new, |port| {
                queue.iter().map(|parcel| post(port, parcel)).collect()
            })
        };
        posted
            .into_iter()
            .for_each(|posted| self.tell_unsent(posted));
    }

    /// An adapter's zip came: for the user, or for the worker that merges it.
    fn packed(&self, file_name: String, adapter: AdapterId, zip: Option<Blob>) {
        let wanted = self.inner.borrow_mut().merging.wanted.take();
        let Some(zip) = zip else {
            let failure = Failure::new(FailureKind::Internal, "the browser lost the adapter's zip")
                .remedy("Try again; your adapters are still here.");
            return self.state.update(|state| state.export_failed(failure));
        };
        if let Some(kind) = wanted {
            return self.begin_merging(kind, adapter, zip);
        }
        download(&file_name, &zip);
        self.state.update(|state| {
            state.adapter_settled(adapter);
            state.export = ExportState::Ready {
                file_name,
                // A size is an integer far below 2^53.
                bytes: zip.size() as u64,
                memory_bytes: None,
            };
        });
    }
}

/// Gives the worker a command; the error is for the user.
fn post(port: &Port, parcel: &Parcel) -> Result<(), (Option<Ticket>, Failure)> {
    let posted = port.post(&parcel.command, parcel.ticket, &parcel.files);
    posted.map_err(|reason| {
        let what = "the browser could not pass this on to the engine";
        let failure = Failure::new(FailureKind::Internal, what)
            .at(reason)
            .remedy("Try again; if that does not help, reload the page.");
        (parcel.ticket, failure)
    })
}

/// The zip sent along with an event; `None` if the browser lost it.
fn zip_beside(message: &JsValue) -> Option<Blob> {
    let payload = get(message, "payload")?.dyn_into().ok()?;
    zip_of(&payload).ok()
}
