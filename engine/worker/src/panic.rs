//! Reports what the worker cannot survive.

use js_sys::{Function, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// Writes a panic to the console and raises an `error` event, by which the page learns that the worker is dead.
pub fn report_panic(info: &std::panic::PanicHookInfo<'_>) {
    console_error_panic_hook::hook(info);
    report_error(&js_sys::Error::new(&info.to_string()));
}

/// Raises an `error` event in the worker, which the page hears.
pub fn report_error(error: &JsValue) {
    let global = js_sys::global();
    let report = Reflect::get(&global, &"reportError".into());
    if let Some(report) = report
        .ok()
        .and_then(|report| report.dyn_into::<Function>().ok())
    {
        // Nothing can be done if even this fails.
        let _ = report.call1(&global, error);
    }
}
