//! The message port of one worker, and the signs of its life.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Object, Reflect};
use protocol::Ticket;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use crate::browser::channel::Channel;
use crate::browser::get;
use crate::browser::lock::Wait;

/// A tick counts for no more than this, in milliseconds: the machine may have slept, or the tab's timers with it.
const MAX_TICK_MILLIS: f64 = 1500.0;

/// A running worker.
pub struct Port {
    worker: Worker,
    name: String,
    life: Rc<Life>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(ErrorEvent)>,
    /// The channel on which its threads report that they die: the worker itself may be busy waiting for them.
    _deaths: Option<Channel>,
}

/// The signs of a worker's life.
struct Life {
    on_death: Box<dyn Fn(String)>,
    /// The locks that the worker and its threads hold while they live.
    waits: RefCell<Vec<Wait>>,
    /// Pings sent, and the last one that was answered.
    num_pings: Cell<u32>,
    answered: Cell<u32>,
    silent_millis: Cell<f64>,
    last_tick_millis: Cell<f64>,
}

impl Life {
    fn heard(&self) {
        self.silent_millis.set(0.0);
    }

    /// Reports a death once the lock of this name is free.
    fn watch(self: &Rc<Self>, name: &str, said: &'static str) {
        let life = Rc::downgrade(self);
        let wait = Wait::until_free(name, move || {
            if let Some(life) = life.upgrade() {
                (life.on_death)(said.to_owned());
            }
        });
        self.waits.borrow_mut().extend(wait);
    }
}

impl Port {
    /// Starts the worker with this script. `on_event` receives every event along with its message, and `on_death` what
    /// is known of the worker's death, nothing where the browser says nothing; it may be called more than once.
    ///
    /// # Errors
    /// What the browser threw.
    pub fn open<E: DeserializeOwned>(
        script: &str,
        on_event: impl Fn(E, JsValue) + 'static,
        on_death: impl Fn(String) + Clone + 'static,
    ) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        // A name that differs from that of any other tab's worker.
        let name = format!("inlay-{}", js_sys::Math::random());
        options.set_name(&name);
        let deaths = Channel::listen(&name, on_death.clone());
        let worker = Worker::new_with_options(script, &options)?;
        let life = Rc::new(Life {
            on_death: Box::new(on_death.clone()),
            waits: RefCell::default(),
            num_pings: Cell::new(0),
            answered: Cell::new(0),
            silent_millis: Cell::new(0.0),
            last_tick_millis: Cell::new(js_sys::Date::now()),
        });
        let (listener, lock) = (life.clone(), name.clone());
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            let data = message.data();
            listener.heard();
            if let Some(pong) = get(&data, "pong").and_then(|pong| pong.as_f64()) {
                // One of our own numbers.
                return listener.answered.set(pong as u32);
            }
            if get(&data, "alive").is_some() {
                return listener.watch(&lock, "");
            }
            match event_from_message(&data) {
                Ok(event) => on_event(event, data),
                Err(error) => {
                    leptos::logging::error!("the worker sent an event that cannot be read: {error}")
                }
            }
        });
        let on_error = Closure::<dyn FnMut(ErrorEvent)>::new(move |error: ErrorEvent| {
            // A script that does not load raises a plain event without a message.
            let message = get(&error, "message").and_then(|message| message.as_string());
            on_death(message.unwrap_or_default());
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Ok(Self {
            worker,
            name,
            life,
            _on_message: on_message,
            _on_error: on_error,
            _deaths: deaths,
        })
    }

    /// Reports the death of each of the worker's threads too.
    pub fn watch_threads(&self, num_threads: usize) {
        for index in 1..num_threads {
            let lock = format!("{}-thread-{index}", self.name);
            self.life.watch(&lock, "a thread ended");
        }
    }

    /// Pings the worker, and tells for how many milliseconds it has not answered; called about once a second.
    pub fn tick(&self) -> f64 {
        let life = &self.life;
        let now = js_sys::Date::now();
        let since = now - life.last_tick_millis.replace(now);
        if life.answered.get() == life.num_pings.get() {
            life.silent_millis.set(0.0);
        } else {
            let silent = life.silent_millis.get() + since.clamp(0.0, MAX_TICK_MILLIS);
            life.silent_millis.set(silent);
        }
        life.num_pings.set(life.num_pings.get() + 1);
        let ping = Object::new();
        let number = f64::from(life.num_pings.get());
        let posted = Reflect::set(&ping, &"ping".into(), &number.into())
            .and_then(|_| self.worker.post_message(&ping));
        if posted.is_err() {
            leptos::logging::error!("a worker could not be pinged");
        }
        life.silent_millis.get()
    }

    /// Sends the command as JSON, along with its ticket and files.
    ///
    /// # Errors
    /// What the browser says, or the encoder.
    pub fn post<C: Serialize>(
        &self,
        command: &C,
        ticket: Option<Ticket>,
        files: &[Blob],
    ) -> Result<(), String> {
        let json = serde_json::to_string(command).map_err(|error| error.to_string())?;
        let message = Object::new();
        let files: Array = files.iter().map(JsValue::from).collect();
        // A whole number far below 2^53.
        let ticket = ticket.map_or(0.0, |ticket| ticket.0 as f64);
        Reflect::set(&message, &"json".into(), &json.into())
            .and_then(|_| Reflect::set(&message, &"files".into(), &files))
            .and_then(|_| Reflect::set(&message, &"ticket".into(), &ticket.into()))
            .and_then(|_| self.worker.post_message(&message))
            .map_err(|error| format!("{error:?}"))
    }

    /// Ends the worker at once; no more messages arrive from it.
    pub fn end(&self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.life.waits.borrow_mut().clear();
        self.worker.terminate();
    }
}

fn event_from_message<E: DeserializeOwned>(data: &JsValue) -> Result<E, String> {
    let json = get(data, "json").and_then(|json| json.as_string());
    serde_json::from_str(&json.ok_or("no text")?).map_err(|error| error.to_string())
}
