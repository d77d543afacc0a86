//! Messages from and to the page.
//!
//! Page to worker: `{ json: Command, files: [File], ticket: number }`. Worker to page: `{ json: Event, payload?: ArrayBuffer }`.
//! Commands that control current work (pause, resume, stop, cancel) take effect at once by setting a flag; the others wait
//! their turn. What `life.js` and the page say to each other (pings) never arrives here.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
};

use futures_channel::mpsc;
use js_sys::{Array, Object, Reflect, Uint8Array};
use protocol::{Command, Event, Failure, FailureKind, GenerationId, RunId, Ticket};
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Blob, DedicatedWorkerGlobalScope, File, MessageEvent};

use super::message;
use engine::surroundings::Control;

/// A command with the files that came with it.
pub struct Request {
    pub ticket: Ticket,
    pub command: Command,
    pub files: Vec<(String, Blob)>,
}

/// The latest requests for the current work.
#[derive(Default)]
pub struct Controls {
    run: Cell<Option<(RunId, Control)>>,
    stopped_generation: Cell<Option<GenerationId>>,
    /// The command being carried out.
    present: Cell<Option<Ticket>>,
    cancelled: RefCell<BTreeSet<Ticket>>,
    /// Woken when something is cancelled.
    waker: RefCell<Option<Waker>>,
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

    /// A command's turn has come.
    pub fn begin(&self, ticket: Ticket) {
        self.present.set(Some(ticket));
        self.cancelled.borrow_mut().retain(|&other| other >= ticket);
    }

    /// Whether the command being carried out was cancelled.
    pub fn is_cancelled(&self) -> bool {
        let present = self.present.get();
        present.is_some_and(|ticket| self.cancelled.borrow().contains(&ticket))
    }

    /// Waits for `work`, but no longer than until it is cancelled: then it is dropped, and the result is `None`.
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.is_cancelled() {
                return Poll::Ready(None);
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Carries out a command that cannot wait; returns any other.
    fn obey(&self, command: Command) -> Option<Command> {
        match command {
            Command::Pause { run } => self.run.set(Some((run, Control::Pause))),
            Command::Resume { run } => self.run.set(Some((run, Control::Run))),
            Command::Stop { run } => self.run.set(Some((run, Control::Stop))),
            Command::StopGeneration { id } => self.stopped_generation.set(Some(id)),
            Command::Cancel { ticket } => {
                self.cancelled.borrow_mut().insert(ticket);
                if let Some(waker) = self.waker.take() {
                    waker.wake();
                }
            }
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
                Ok(Request {
                    ticket,
                    command,
                    files,
                }) => {
                    if let Some(command) = listener.controls.obey(command) {
                        // The receiver lives as long as the worker.
                        let _ = sender.unbounded_send(Request {
                            ticket,
                            command,
                            files,
                        });
                    }
                }
                Err(reason) => {
                    let what = "The engine could not read a message from the page.";
                    let failure = Failure::new(FailureKind::Internal, what)
                        .at(reason)
                        .remedy("Reload the page; if that does not help, clear its cache.");
                    listener.emit(&Event::Failed { failure }, None);
                    let ticket = ticket(&event.data());
                    listener.emit(&Event::Answered { ticket }, None);
                }
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
    Ok(Request {
        ticket: ticket(data),
        command,
        files,
    })
}

/// The ticket sent along with a command; commands that do not wait have none.
fn ticket(data: &JsValue) -> Ticket {
    let ticket = Reflect::get(data, &"ticket".into()).ok();
    // A whole number far below 2^53.
    Ticket(
        ticket
            .and_then(|ticket| ticket.as_f64())
            .unwrap_or_default() as u64,
    )
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
