//! Reports a panic before the worker dies.

use wasm_bindgen::JsCast;

/// Writes to the console and raises an `error` event, by which the page learns that the worker is dead. (A panic inside
/// a promise would otherwise end as a rejection that the page never hears of.)
pub fn report_panic(info: &std::panic::PanicHookInfo<'_>) {
    console_error_panic_hook::hook(info);
    let global = js_sys::global();
    let report = js_sys::Reflect::get(&global, &"reportError".into());
    if let Some(report) = report
        .ok()
        .and_then(|report| report.dyn_into::<js_sys::Function>().ok())
    {
        // Nothing can be done if even this fails.
        let _ = report.call1(&global, &js_sys::Error::new(&info.to_string()));
    }
}
