//! The workers that read dataset files: one per reading, kept while its rows may be requested.

use leptos::prelude::{Update, WithUntracked};
use leptos::task::spawn_local;
use protocol::{Command, DatasetSource, ReadSpec, ReaderCommand, ReaderEvent, RowFilter};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, File};

use crate::browser::get;
use crate::state::failure::Death;
use crate::state::reading::{Held, ReaderId};

use super::port::Port;
use super::{EngineClient, Parcel};

const SCRIPT: &str = "./worker_data_loader.js";

/// The latest reading, so that it can be read again in another way.
#[derive(Clone)]
struct Asked {
    source: DatasetSource,
    files: Vec<Blob>,
    spec: ReadSpec,
}

#[derive(Default)]
pub struct Readers {
    ports: Vec<(ReaderId, Port)>,
    last: Option<Asked>,
    num_started: u64,
}

impl EngineClient {
    /// Reads files, or a text, detecting their format.
    pub fn read(&self, source: DatasetSource, files: Vec<File>, name: String) {
        self.start_reading(
            Asked {
                source,
                files: files.into_iter().map(Blob::from).collect(),
                spec: ReadSpec::default(),
            },
            name,
        );
    }

    /// Reads the latest files again in another way.
    pub fn read_again(&self, spec: ReadSpec) {
        let last = self.inner.borrow().readers.last.clone();
        if let Some(last) = last {
            let name = match &last.source {
                DatasetSource::Files { names } => names.join(", "),
                DatasetSource::Text { name, .. } => name.clone(),
            };
            self.start_reading(Asked { spec, ..last }, name);
        }
    }

    fn start_reading(&self, asked: Asked, name: String) {
        let reader = {
            let readers = &mut self.inner.borrow_mut().readers;
            readers.num_started += 1;
            readers.last = Some(asked);
            ReaderId(readers.num_started)
        };
        self.state.update(|state| state.begin_reading(reader, name));
        // The callbacks run from the browser's event loop, never within a borrow of `inner`.
        let (on_event, on_crash) = (self.clone(), self.clone());
        let port = Port::open(
            SCRIPT,
            move |event, message| on_event.reader_said(reader, event, &message),
            move |message| on_crash.reader_died(reader, &message),
        );
        match port {
            Ok(port) => self.inner.borrow_mut().readers.ports.push((reader, port)),
            Err(error) => self.reader_died(reader, &format!("{error:?}")),
        }
        self.end_old_readers();
    }

    /// Requests rows of the table; the answer is a message of the reader.
    pub fn list_rows(&self, reader: ReaderId, start: usize, count: usize, filter: RowFilter) {
        let command = ReaderCommand::ListRows {
            start,
            count,
            filter,
        };
        self.tell(reader, &command, &[]);
    }

    fn tell(&self, reader: ReaderId, command: &ReaderCommand, files: &[Blob]) {
        let inner = self.inner.borrow();
        if let Some((_, port)) = inner.readers.ports.iter().find(|(id, _)| *id == reader) {
            let posted = port.post(command, None, files);
            drop(inner);
            if let Err(reason) = posted {
                self.reader_died(reader, &reason);
            }
        }
    }

    fn reader_said(&self, reader: ReaderId, event: ReaderEvent, message: &JsValue) {
        if event == ReaderEvent::Ready {
            let asked = self.inner.borrow().readers.last.clone();
            if let Some(Asked {
                source,
                files,
                spec,
            }) = asked
            {
                let spec = Box::new(spec);
                self.tell(reader, &ReaderCommand::Read { source, spec }, &files);
            }
            return;
        }
        let mut read = None;
        self.state
            .update(|state| read = state.apply_reader(reader, event));
        if let Some(held) = read {
            match get(message, "blob").and_then(|blob| blob.dyn_into::<Blob>().ok()) {
                Some(rows) => self.hand_over(held, rows),
                None => leptos::logging::error!("the reader sent no rows"),
            }
        }
        self.end_old_readers();
    }

    fn hand_over(&self, held: Held, rows: Blob) {
        let command = Command::LoadDataset {
            dataset: held.dataset,
        };
        let parcel = Parcel {
            reader: Some(held.reader),
            ..Parcel::new(command, vec![rows])
        };
        self.inner.borrow_mut().dataset.asked = Some(parcel.clone());
        self.send_source(parcel);
    }

    fn reader_died(&self, reader: ReaderId, message: &str) {
        let death = Death {
            who: "the file reader",
            said: message,
            doing: "",
            device: "",
            memory_remedy: "What was loaded before is still there. Split the file, or close other tabs and try again.",
            remedy: "What was loaded before is still there.",
        };
        let failure = death.failure();
        self.state
            .update(|state| state.reader_failed(reader, failure));
        self.end_old_readers();
    }

    /// Ends the readers whose rows are no longer needed.
    pub(super) fn end_old_readers(&self) {
        let ended = {
            let mut inner = self.inner.borrow_mut();
            self.state.with_untracked(|state| {
                inner
                    .readers
                    .ports
                    .extract_if(.., |(reader, _)| !state.needs_reader(*reader))
                    .collect::<Vec<_>>()
            })
        };
        if ended.is_empty() {
            return;
        }
        ended.iter().for_each(|(_, port)| port.end());
        // The callback of one of them may be running now.
        spawn_local(async move { drop(ended) });
    }
}
