//! Asks the browser for its GPU. WebGPU's types are unstable in web-sys, so they are accessed by name.

use js_sys::{Array, Function, Promise, Reflect};
use protocol::DeviceProblem;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::property::get;
use crate::state::device::{AdapterFacts, Browser, browser_of};

/// How long the browser may search for a GPU: a hanging graphics process never answers.
const PATIENCE_MILLIS: i32 = 20_000;

/// What the GPU that WebGPU would use reports about itself.
///
/// # Errors
/// The browser has no WebGPU, or offers no adapter.
pub async fn find_adapter() -> Result<AdapterFacts, DeviceProblem> {
    let navigator = web_sys::window().ok_or(DeviceProblem::NoApi)?.navigator();
    let gpu = get(&navigator, "gpu").ok_or(DeviceProblem::NoApi)?;
    let options = js_sys::Object::new();
    // If this fails, the browser chooses by itself.
    let _ = Reflect::set(
        &options,
        &"powerPreference".into(),
        &"high-performance".into(),
    );
    let adapter = request(&gpu, &options).await;
    adapter
        .map(|adapter| facts(&adapter))
        .ok_or(DeviceProblem::NoAdapter)
}

async fn request(gpu: &JsValue, options: &JsValue) -> Option<JsValue> {
    let request: Function = get(gpu, "requestAdapter")?.dyn_into().ok()?;
    let asked = Promise::resolve(&request.call1(gpu, options).ok()?);
    let late = Promise::new(&mut |resolve, _| {
        // Without timers, the wait is unlimited.
        let _ = web_sys::window().map(|window| {
            window.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, PATIENCE_MILLIS)
        });
    });
    let adapter = JsFuture::from(Promise::race(&Array::of2(&asked, &late)))
        .await
        .ok()?;
    (!adapter.is_undefined() && !adapter.is_null()).then_some(adapter)
}

fn facts(adapter: &JsValue) -> AdapterFacts {
    let info = get(adapter, "info").unwrap_or(JsValue::UNDEFINED);
    let limits = get(adapter, "limits").unwrap_or(JsValue::UNDEFINED);
    let text = |name| {
        get(&info, name)
            .and_then(|value| value.as_string())
            .unwrap_or_default()
    };
    let names = [
        text("vendor"),
        text("architecture"),
        text("device"),
        text("description"),
    ];
    let limit = |name| {
        get(&limits, name)
            .and_then(|value| value.as_f64())
            .unwrap_or_default() as u64
    };
    let is_true =
        |object: &JsValue| get(object, "isFallbackAdapter").is_some_and(|value| value.is_truthy());
    AdapterFacts {
        name: names
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
            .join(" "),
        is_fallback: is_true(&info) || is_true(adapter),
        max_storage_buffer_binding_size: limit("maxStorageBufferBindingSize"),
        max_buffer_size: limit("maxBufferSize"),
        max_compute_invocations_per_workgroup: limit("maxComputeInvocationsPerWorkgroup"),
        max_storage_buffers_per_shader_stage: limit("maxStorageBuffersPerShaderStage"),
    }
}

/// The browser that runs the page.
pub fn this_browser() -> Browser {
    let user_agent = web_sys::window().and_then(|window| window.navigator().user_agent().ok());
    user_agent.map_or(Browser::Other, |user_agent| browser_of(&user_agent))
}
