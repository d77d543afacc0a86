//! Notifies the user of a run's end outside the tab, if the browser has notifications and the user allows them.

use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use super::property::{call, get};

fn class() -> Option<Function> {
    get(&js_sys::global(), "Notification")?.dyn_into().ok()
}

/// Whether the browser has notifications at all.
pub fn is_there() -> bool {
    class().is_some_and(|class| get(&class, "requestPermission").is_some())
}

/// Asks the user for permission; must be called from a click. `false` if it is not granted.
pub async fn ask() -> bool {
    let Some(class) = class() else {
        return false;
    };
    let answer = call(&class, "requestPermission", &JsValue::UNDEFINED).await;
    // Older browsers pass the answer only to a callback; it can be read afterward.
    let answer = answer.or_else(|| get(&class, "permission"));
    answer.and_then(|answer| answer.as_string()).as_deref() == Some("granted")
}

/// Shows a notification. Some phones have the class but refuse to create one; then there is just no notification.
pub fn show(title: &str, body: &str) {
    let shown = class().map(|class| {
        let options = Object::new();
        Reflect::set(&options, &"body".into(), &body.into())?;
        Reflect::construct(&class, &Array::of2(&title.into(), &options))
    });
    if let Some(Err(error)) = shown {
        leptos::logging::warn!("no notification: {error:?}");
    }
}
