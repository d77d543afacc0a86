//! The worker that writes a merged model: started once the engine gave out the adapter, ended when the model is there or no
//! longer wanted.

use leptos::prelude::Update;
use leptos::task::spawn_local;
use protocol::{AdapterId, Command, ExportKind, MergedKind, MergerCommand, MergerEvent};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Blob;

use crate::browser::{download, get};

use crate::state::failure::Death;

use super::EngineClient;
use super::port::Port;

const SCRIPT: &str = "./worker_merger_loader.js";

#[derive(Default)]
pub struct Merging {
    /// What the adapter is for that the engine was asked for; a download of the adapter itself where there is none.
    pub wanted: Option<MergedKind>,
    /// The adapter that is being merged.
    adapter: Option<AdapterId>,
    /// For the worker, once it listens.
    parcel: Option<(MergerCommand, Vec<Blob>)>,
    port: Option<Port>,
}

impl EngineClient {
    /// Asks the engine for an adapter, as a zip for the user or to be merged into the model.
    pub fn export(&self, adapter: AdapterId, kind: ExportKind, merged: Option<MergedKind>) {
        self.inner.borrow_mut().merging.wanted = merged;
        self.send(Command::Export { adapter, kind });
    }

    /// Writes the loaded model with that adapter.
    pub(super) fn begin_merging(&self, kind: MergedKind, id: AdapterId, adapter: Blob) {
        self.end_merger();
        self.inner.borrow_mut().merging.adapter = Some(id);
        let parcel = {
            let inner = self.inner.borrow();
            let model = inner.model.good.as_ref();
            model.and_then(|parcel| match &parcel.command {
                Command::LoadModel { source } => Some((source.clone(), parcel.files.clone())),
                _ => None,
            })
        };
        self.state.update(|state| state.begin_merging());
        let Some((source, model)) = parcel else {
            return self.merger_died("no model is loaded");
        };
        let files = std::iter::once(adapter).chain(model).collect();
        // The callbacks come from the browser's event loop, never from within a borrow of `inner`.
        let (on_event, on_crash) = (self.clone(), self.clone());
        let port = Port::open(
            SCRIPT,
            move |event, message| on_event.merger_said(event, &message),
            move |message: String| on_crash.merger_died(&message),
        );
        match port {
            Ok(port) => {
                let merging = &mut self.inner.borrow_mut().merging;
                merging.parcel = Some((MergerCommand::Write { source, kind }, files));
                merging.port = Some(port);
            }
            Err(error) => self.merger_died(&format!("{error:?}")),
        }
    }

    /// Ends the worker; nothing of the model is left.
    pub fn cancel_merging(&self) {
        self.state.update(|state| state.cancel_merging());
        self.end_merger();
    }

    fn merger_said(&self, event: MergerEvent, message: &JsValue) {
        match &event {
            MergerEvent::Ready => return self.write_now(),
            MergerEvent::Progress { .. } => {
                return self.state.update(|state| state.apply_merger(event));
            }
            MergerEvent::Failed { .. } => {}
            MergerEvent::Written { file_name, .. } => {
                // Told as written only where it is in the user's downloads.
                let blob = get(message, "blob").and_then(|blob| blob.dyn_into::<Blob>().ok());
                let Some(zip) = blob else {
                    return self.merger_died("the browser lost the file");
                };
                download(file_name, &zip);
                let merged = self.inner.borrow().merging.adapter;
                if let Some(id) = merged {
                    self.state.update(|state| state.adapter_settled(id));
                }
            }
        }
        self.state.update(|state| state.apply_merger(event));
        self.end_merger();
    }

    /// The worker listens: it is given what to write.
    fn write_now(&self) {
        let mut inner = self.inner.borrow_mut();
        let merging = &mut inner.merging;
        let (Some(port), Some((command, files))) = (&merging.port, merging.parcel.take()) else {
            return;
        };
        let posted = port.post(&command, None, &files);
        drop(inner);
        if let Err(reason) = posted {
            self.merger_died(&reason);
        }
    }

    fn merger_died(&self, message: &str) {
        let remedy = "Your model and adapters are still here; try again.";
        let death = Death {
            who: "the export",
            said: message,
            doing: "",
            device: "",
            memory_remedy: "Your model and adapters are still here. Export a smaller type, or close other tabs and try again.",
            remedy,
        };
        let failure = death.failure();
        self.state.update(|state| state.merging_failed(failure));
        self.end_merger();
    }

    fn end_merger(&self) {
        let merging = &mut self.inner.borrow_mut().merging;
        merging.parcel = None;
        if let Some(port) = merging.port.take() {
            port.end();
            // Its callback may be what runs now.
            spawn_local(async move { drop(port) });
        }
    }
}
