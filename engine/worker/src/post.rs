//! Sends a worker's event to the page: `{ json, blob?: Blob }`.

use js_sys::{Object, Reflect};
use serde::Serialize;
use wasm_bindgen::JsValue;
use web_sys::{Blob, DedicatedWorkerGlobalScope};

/// Posts `event`, along with `blob`; errors go to the console, since nobody else could receive them.
pub fn post_event(scope: &DedicatedWorkerGlobalScope, event: &impl Serialize, blob: Option<&Blob>) {
    let sent = serde_json::to_string(event)
        .map_err(|error| JsValue::from(error.to_string()))
        .and_then(|json| {
            let body = Object::new();
            Reflect::set(&body, &"json".into(), &json.into())?;
            if let Some(blob) = blob {
                Reflect::set(&body, &"blob".into(), blob)?;
            }
            scope.post_message(&body)
        });
    if let Err(error) = sent {
        web_sys::console::error_2(&"an event could not be sent".into(), &error);
    }
}
