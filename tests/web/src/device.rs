//! The device itself: that there is one, and that it computes right at the shapes of a real model.

use std::cell::OnceCell;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

thread_local! {
    // A runtime is set up once in a worker, and all tests run in one.
    static DEVICE: OnceCell<Device> = const { OnceCell::new() };
}

/// The device that this build of the tests is about.
#[cfg_attr(
    not(feature = "gpu"),
    expect(clippy::unused_async, reason = "only the GPU is waited for")
)]
pub async fn device() -> Device {
    if let Some(device) = DEVICE.with(|cell| cell.get().cloned()) {
        return device;
    }
    #[cfg(feature = "gpu")]
    let device = Device::wgpu_options()
        .init_async()
        .await
        .expect("a WebGPU adapter (SwiftShader will do)");
    #[cfg(not(feature = "gpu"))]
    let device = Device::flex();
    DEVICE.with(|cell| cell.get_or_init(|| device).clone())
}

/// Values in -1..1, other ones at every run; the seed is printed.
fn random_values(len: usize) -> Vec<f32> {
    let seed = (js_sys::Math::random() * f64::from(u32::MAX)) as u32 | 1;
    console_log!("seed {seed}");
    let mut state = seed;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// `a` [m, k] times `b` [k, n], in f64.
fn product(a: &[f32], b: &[f32], [m, k, n]: [usize; 3]) -> Vec<f64> {
    let mut sums = vec![0.0; m * n];
    for i in 0..m {
        for l in 0..k {
            for j in 0..n {
                sums[i * n + j] += f64::from(a[i * k + l]) * f64::from(b[l * n + j]);
            }
        }
    }
    sums
}

async fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data_async()
        .await
        .expect("a readable tensor")
        .to_vec()
        .expect("f32 values")
}

fn assert_near(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(found) - expected).abs();
        assert!(
            difference <= tolerance,
            "at {at}: {found} instead of {expected}"
        );
    }
}

#[wasm_bindgen_test]
async fn matrices_are_multiplied_right() {
    let device = device().await;
    // The query projection of SmolLM2-135M over 32 positions, then a shape that no tile divides.
    for [m, k, n] in [[32, 576, 576], [5, 67, 129]] {
        let (a, b) = (random_values(m * k), random_values(k * n));
        let left = Tensor::<2>::from_data(TensorData::new(a.clone(), [m, k]), &device);
        let right = Tensor::<2>::from_data(TensorData::new(b.clone(), [k, n]), &device);
        assert_near(
            &values(left.matmul(right)).await,
            &product(&a, &b, [m, k, n]),
            1e-3,
        );
    }
}

#[wasm_bindgen_test]
async fn softmax_is_right_for_large_values() {
    let device = device().await;
    let row: Vec<f32> = random_values(300)
        .iter()
        .map(|value| value * 80.0)
        .collect();
    let largest = row
        .iter()
        .fold(f64::MIN, |largest, &value| largest.max(value.into()));
    let sum: f64 = row
        .iter()
        .map(|&value| (f64::from(value) - largest).exp())
        .sum();
    let expected: Vec<f64> = row
        .iter()
        .map(|&value| (f64::from(value) - largest).exp() / sum)
        .collect();
    let tensor = Tensor::<2>::from_data(TensorData::new(row, [1, 300]), &device);
    assert_near(&values(softmax(tensor, 1)).await, &expected, 1e-5);
}
