//! Tests that there is a device, and that it computes correctly at the shapes of a real model.

use std::cell::OnceCell;

use burn::tensor::{Device, activation::softmax};
use engine::self_test;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

use crate::{
    common::host::ScriptedHost,
    kernels::{tensor, values},
    reference::{Array, Random},
};

thread_local! {
    // A runtime is set up once in a worker, and all tests run in one.
    static DEVICE: OnceCell<Device> = const { OnceCell::new() };
}

/// The device that this build of the tests is about.
pub async fn device() -> Device {
    if let Some(device) = DEVICE.with(|cell| cell.get().cloned()) {
        return device;
    }
    worker::run_constructors();
    #[cfg(feature = "gpu")]
    let device = Device::wgpu_options()
        .init_async()
        .await
        .expect("a WebGPU adapter (SwiftShader will do)");
    #[cfg(not(feature = "gpu"))]
    let device = Device::flex();
    DEVICE.with(|cell| cell.get_or_init(|| device).clone())
}

/// Draws from a new seed in every run, or from `INLAY_TEST_SEED` as it was when the tests were built.
pub fn random() -> Random {
    let given = option_env!("INLAY_TEST_SEED").and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| (js_sys::Math::random() * f64::from(u32::MAX)) as u64);
    console_log!("INLAY_TEST_SEED={seed}");
    Random::from_seed(seed)
}

pub fn say(text: &str) {
    console_log!("{text}");
}

#[wasm_bindgen_test]
async fn the_device_passes_the_self_test() {
    let proven = self_test::run(&device().await, &ScriptedHost::default()).await;
    let cases = proven.unwrap().cases;
    assert!(cases.len() >= 4);
    for case in cases {
        console_log!("{}: error {:.1e}", case.name, case.max_error);
        assert!(case.max_error > 0.0, "{} compared nothing", case.name);
        assert!(case.max_error < case.tolerance / 10.0, "{case:?}");
    }
}

#[wasm_bindgen_test]
async fn softmax_is_right_for_large_values() {
    let mut random = random();
    let len = random.size(200..400);
    let row = random.array([1, len]).times(80.0);
    let largest = row.values.iter().copied().fold(f64::MIN, f64::max);
    let power = |value: &f64| (f64::from(*value as f32) - largest).exp();
    let sum: f64 = row.values.iter().map(power).sum();
    let expected = Array::from_fn([1, len], |index| power(&row.values[index]) / sum);
    let actual = values(softmax(tensor(&row, &device().await), 1)).await;
    expected.assert_values_within("softmax", &actual, 1e-5);
}
