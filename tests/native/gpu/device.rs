//! The GPU, opened once for all tests.

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use burn::tensor::{Device, FloatDType};
use futures_executor::block_on;

use crate::reference::Random;

static DEVICE: OnceLock<Result<Device, String>> = OnceLock::new();

fn open() -> &'static Result<Device, String> {
    DEVICE.get_or_init(|| {
        let opened = block_on(Device::wgpu_options().init_async());
        opened.map_err(|error| error.to_string())
    })
}

/// The GPU; without one, prints that `test` is skipped.
pub fn adapter(test: &str) -> Option<Device> {
    match open() {
        Ok(device) => Some(device.clone()),
        Err(problem) => {
            println!("SKIPPED {test}: no graphics adapter ({problem})");
            None
        }
    }
}

/// Like [`adapter`], if it supports halves.
pub fn adapter_with_halves(test: &str) -> Option<Device> {
    let device = adapter(test)?;
    if device.supports_dtype(FloatDType::F16) {
        return Some(device);
    }
    println!("SKIPPED {test}: the graphics adapter has no 16-bit floats");
    None
}

/// The device that the checks of the kernels run on.
pub async fn device() -> Device {
    open().clone().unwrap()
}

/// Draws from a new seed in every run, or from `INLAY_TEST_SEED`.
pub fn random() -> Random {
    let given = std::env::var("INLAY_TEST_SEED").ok();
    let seed = given.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    say(&format!("INLAY_TEST_SEED={seed}"));
    Random::from_seed(seed)
}

pub fn say(text: &str) {
    println!("{text}");
}
