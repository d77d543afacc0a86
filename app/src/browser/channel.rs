//! A broadcast channel, through which a worker's worker can reach the page while the worker between them waits.

use js_sys::{Array, Function, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::MessageEvent;

use super::property::get;

/// A listener on a channel, until it is dropped.
pub struct Channel {
    channel: JsValue,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl Channel {
    /// Calls `on_text` with every text sent under this name. `None` if the browser has no such channels.
    pub fn listen(name: &str, on_text: impl Fn(String) + 'static) -> Option<Self> {
        let class: Function = get(&js_sys::global(), "BroadcastChannel")?
            .dyn_into()
            .ok()?;
        let channel = Reflect::construct(&class, &Array::of1(&name.into())).ok()?;
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            on_text(message.data().as_string().unwrap_or_default());
        });
        let handler = on_message.as_ref();
        Reflect::set(&channel, &"onmessage".into(), handler).ok()?;
        Some(Self {
            channel,
            _on_message: on_message,
        })
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(close) =
            get(&self.channel, "close").and_then(|close| close.dyn_into::<Function>().ok())
        {
            // A channel that is already closed need not be closed.
            let _ = close.call0(&self.channel);
        }
    }
}
