//! Asking the browser for its graphics adapter. WebGPU's types are unstable in web-sys, so they are read by name.

use engine::protocol::DeviceProblem;
use js_sys::Reflect;
use wasm_bindgen::JsValue;

use super::property::{call, get};
use crate::state::device::{AdapterFacts, Browser, browser_of};

/// What the adapter that WebGPU would use says of itself.
///
/// # Errors
/// The browser has no WebGPU, or offers no adapter.
pub async fn find_adapter() -> Result<AdapterFacts, DeviceProblem> {
    let navigator = web_sys::window().ok_or(DeviceProblem::NoApi)?.navigator();
    let gpu = get(&navigator, "gpu").ok_or(DeviceProblem::NoApi)?;
    let options = js_sys::Object::new();
    // Where this fails the browser picks by itself.
    let _ = Reflect::set(
        &options,
        &"powerPreference".into(),
        &"high-performance".into(),
    );
    let adapter = call(&gpu, "requestAdapter", &options)
        .await
        .ok_or(DeviceProblem::NoAdapter)?;
    Ok(facts(&adapter))
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
