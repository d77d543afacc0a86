//! Messages from and to the page.
//!
//! Page to worker: `{ json: Command, files: [File] }`. Worker to page: `{ json: Event, payload?: ArrayBuffer }`.
//! Commands that control current work (pause, resume, stop) take effect at once by setting a flag; the others wait
//! their turn.

use std::{cell::Cell, rc::Rc};

use futures_channel::mpsc;
use js_sys::{Array, Object, Reflect, Uint8Array};
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Blob, DedicatedWorkerGlobalScope, File, MessageEvent};

use super::message;
use crate::{
    host::Control,
    protocol::{Command, Event, Failure, FailureKind, GenerationId, RunId},
};

/// A command with the files that came with it.
pub struct Request {
    pub command: Command,
    pub files: Vec<(String, Blob)>,
}

/// The latest requests for the current work.
#[derive(Default)]
pub struct Controls {
    run: Cell<Option<(RunId, Control)>>,
    stopped_generation: Cell<Option<GenerationId>>,
}

impl Controls {
    /// The latest request for `run`.
    pub fn of_run(&self, run: RunId) -> Control {
        self.run
            .get()
            .filter(|(asked, _)| *asked == run)
            .map_or(Control::Run, |(_, control)| control)
    }

    /// Whether `id` was stopped.
    pub fn is_stopped(&self, id: GenerationId) -> bool {
        self.stopped_generation.get() == Some(id)
    }

    /// Carries out a command that cannot wait; returns any other.
    fn obey(&self, command: Command) -> Option<Command> {
        match command {
            Command::Pause { run } => self.run.set(Some((run, Control::Pause))),
            Command::Resume { run } => self.run.set(Some((run, Control::Run))),
            Command::Stop { run } => self.run.set(Some((run, Control::Stop))),
            Command::StopGeneration { id } => self.stopped_generation.set(Some(id)),
            other => return Some(other),
        }
        None
    }
}

/// The worker's end of the channel.
pub struct Port {
    scope: DedicatedWorkerGlobalScope,
    pub controls: Rc<Controls>,
}

impl Port {
    /// Starts listening; requests arrive in the receiver.
    pub fn open(scope: DedicatedWorkerGlobalScope) -> (Rc<Self>, mpsc::UnboundedReceiver<Request>) {
        let (sender, receiver) = mpsc::unbounded();
        let port = Rc::new(Self {
            scope: scope.clone(),
            controls: Rc::default(),
        });
        let listener = port.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            match parse(&event.data()) {
                Ok(Request { command, files }) => {
                    if let Some(command) = listener.controls.obey(command) {
                        // The receiver lives as long as the worker.
                        let _ = sender.unbounded_send(Request { command, files });
                    }
                }
                Err(reason) => listener.emit(
                    &Event::Failed {
                        failure: Failure::new(
                            FailureKind::Internal,
                            "The engine could not read a message from the page.",
                        )
                        .at(reason)
                        .remedy("Reload the page; if that does not help, clear its cache."),
                    },
                    None,
                ),
            }
        });
        scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        on_message.forget();
        (port, receiver)
    }

    /// Sends an event, along with bytes, which are not copied.
    pub fn emit(&self, event: &Event, payload: Option<Vec<u8>>) {
        if let Err(error) = self.try_emit(event, payload) {
            web_sys::console::error_2(&"an event could not be sent".into(), &error);
        }
    }

    fn try_emit(&self, event: &Event, payload: Option<Vec<u8>>) -> Result<(), JsValue> {
        let json =
            serde_json::to_string(event).map_err(|error| JsValue::from(error.to_string()))?;
        let body = Object::new();
        Reflect::set(&body, &"json".into(), &json.into())?;
        let transfer = Array::new();
        if let Some(payload) = payload {
            let buffer = Uint8Array::from(payload.as_slice()).buffer();
            Reflect::set(&body, &"payload".into(), &buffer)?;
            transfer.push(&buffer);
        }
        self.scope.post_message_with_transfer(&body, &transfer)
    }
}

fn parse(data: &JsValue) -> Result<Request, String> {
    let (command, files) = command_and_files(data)?;
    Ok(Request { command, files })
}

/// Parses what the page sends: `{ json: C, files: [Blob] }`, the files with their names.
pub fn command_and_files<C: DeserializeOwned>(
    data: &JsValue,
) -> Result<(C, Vec<(String, Blob)>), String> {
    let json = Reflect::get(data, &"json".into())
        .ok()
        .and_then(|json| json.as_string())
        .ok_or("the message has no `json`")?;
    let command = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    let files = Reflect::get(data, &"files".into()).map_err(|error| message(&error))?;
    let files = if files.is_array() {
        Array::from(&files)
    } else {
        Array::new()
    };
    let files = files
        .iter()
        .map(|file| {
            let blob: Blob = file
                .dyn_into()
                .map_err(|_| "`files` holds something that is no file")?;
            // The rows of a dataset are a blob without a name.
            let name = blob.dyn_ref::<File>().map(File::name).unwrap_or_default();
            Ok((name, blob))
        })
        .collect::<Result<_, String>>()?;
    Ok((command, files))
}
