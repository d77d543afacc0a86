//! Tensors on their way to the device and back.
//!
//! Reading is `async` throughout: a browser's GPU delivers only after the worker has returned to its event loop, so a
//! blocking read would wait forever.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use protocol::{Failure, FailureKind, GpuFault};

/// Uploads row numbers, to gather rows with [`Tensor::select`]. They are below 2^31: WebGPU has no 64-bit integers.
///
/// # Shapes
/// - returns `[indices]`
pub(crate) fn index_tensor(indices: &[usize], device: &Device) -> Tensor<1, Int> {
    let indices: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
    let len = indices.len();
    Tensor::from_data(TensorData::new(indices, [len]), (device, DType::I32))
}

/// The device delivers nothing any more. It holds what the graphics library said, which the page does not show as it is
/// (see [`GpuFault`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device stopped responding: {0}")]
pub struct DeviceLost(pub String);

impl From<DeviceLost> for Failure {
    fn from(DeviceLost(message): DeviceLost) -> Self {
        Self::new(FailureKind::DeviceLost, "The GPU stopped responding.")
            .at(GpuFault::of(&message).to_string())
            .raw(Some(message))
            .remedy(
                "Close other tabs that use the GPU, or choose CPU as the device, and start again.",
            )
    }
}

/// Reads a tensor's elements without blocking, which also waits for everything queued before.
///
/// # Shapes
/// - returns all elements, the last dimension fastest
///
/// # Errors
/// [`DeviceLost`] if the device cannot deliver them, or if they are not f32.
pub async fn read_all<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DeviceLost> {
    let lost = DeviceLost;
    let data = tensor
        .into_data_async()
        .await
        .map_err(|error| lost(error.to_string()))?;
    data.try_into_vec::<f32>()
        .map_err(|error| lost(error.to_string()))
}
