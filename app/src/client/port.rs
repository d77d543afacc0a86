//! The message port of one worker.

use js_sys::{Array, Object, Reflect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use crate::browser::channel::Channel;
use crate::browser::get;

/// A running worker.
pub struct Port {
    worker: Worker,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(ErrorEvent)>,
    /// The channel on which its threads report that they die: the worker itself may be busy waiting for them.
    _deaths: Option<Channel>,
}

impl Port {
    /// Starts the worker with this script. `on_event` receives every event along with its message, and `on_crash` what
    /// the browser says about a crash.
    ///
    /// # Errors
    /// What the browser threw.
    pub fn open<E: DeserializeOwned>(
        script: &str,
        on_event: impl Fn(E, JsValue) + 'static,
        on_crash: impl Fn(String) + Clone + 'static,
    ) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        // A name that differs from that of any other tab's worker.
        let name = format!("inlay-{}", js_sys::Math::random());
        options.set_name(&name);
        let deaths = Channel::listen(&name, on_crash.clone());
        let worker = Worker::new_with_options(script, &options)?;
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            let data = message.data();
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
            on_crash(message.unwrap_or_default());
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Ok(Self {
            worker,
            _on_message: on_message,
            _on_error: on_error,
            _deaths: deaths,
        })
    }

    /// Sends the command as JSON, along with its files.
    pub fn post<C: Serialize>(&self, command: &C, files: &[Blob]) {
        let sent = serde_json::to_string(command)
            .map_err(|error| error.to_string())
            .and_then(|json| {
                let message = Object::new();
                let files: Array = files.iter().map(JsValue::from).collect();
                Reflect::set(
                    &message,
                    &JsValue::from_str("json"),
                    &JsValue::from_str(&json),
                )
                .and_then(|_| Reflect::set(&message, &JsValue::from_str("files"), &files))
                .and_then(|_| self.worker.post_message(&message))
                .map_err(|error| format!("{error:?}"))
            });
        if let Err(error) = sent {
            leptos::logging::error!("a command could not be sent: {error}");
        }
    }

    /// Ends the worker at once; no more messages arrive from it.
    pub fn end(&self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

fn event_from_message<E: DeserializeOwned>(data: &JsValue) -> Result<E, String> {
    let json = get(data, "json").and_then(|json| json.as_string());
    serde_json::from_str(&json.ok_or("no text")?).map_err(|error| error.to_string())
}
