//! Telling of a run's end outside of the tab, where the browser has notifications and the user allows them.

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

/// Asks the user; to be called from a click. `false` where it is not allowed.
pub async fn ask() -> bool {
    let Some(class) = class() else {
        return false;
    };
    let answer = call(&class, "requestPermission", &JsValue::UNDEFINED).await;
    // Older browsers give the answer to a callback alone, and know it afterwards.
    let answer = answer.or_else(|| get(&class, "permission"));
    answer.and_then(|answer| answer.as_string()).as_deref() == Some("granted")
}

/// Shows it. Some phones have the class and refuse to make one; that costs the notification alone.
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
