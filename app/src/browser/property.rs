//! Accesses what the stable part of web-sys lacks, by name.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The property, unless the object or the property is missing.
pub fn get(object: &JsValue, name: &str) -> Option<JsValue> {
    if object.is_undefined() || object.is_null() {
        return None;
    }
    let value = Reflect::get(object, &JsValue::from_str(name)).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

/// Calls a method that answers with a promise and waits for it; `None` where there is no such method, where it fails
/// and where it answers with null.
pub async fn call(object: &JsValue, method: &str, argument: &JsValue) -> Option<JsValue> {
    let value = settle(object, method, argument).await?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

/// Like [`call`], for a method whose answer may be undefined: `None` only if there is no such method or it fails.
pub async fn settle(object: &JsValue, method: &str, argument: &JsValue) -> Option<JsValue> {
    let method = get(object, method)?.dyn_into::<Function>().ok()?;
    let answer = method.call1(object, argument).ok()?;
    JsFuture::from(Promise::resolve(&answer)).await.ok()
}
