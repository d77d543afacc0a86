//! Which variant of the kernels is fastest on a device. Whether it is right is for the cases to say.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    host::Host,
    kernels::{Variant, matmul},
    protocol::DeviceProblem,
    train::pacing::read_all,
};

/// Sizes of the product that is timed: long enough to tell variants apart, over in a moment.
const SIZE: usize = 256;
/// Products behind one another, so that reading the last costs little beside them.
const REPETITIONS: usize = 8;

/// Every variant that gives an answer, the fastest first.
///
/// # Errors
/// [`DeviceProblem::InitFailed`] where nothing can be read from the device.
pub async fn by_speed(device: &Device, host: &dyn Host) -> Result<Vec<Variant>, DeviceProblem> {
    let mut timed = Vec::new();
    let mut problem = None;
    for variant in Variant::ALL {
        Variant::prefer(Some(variant));
        match time(device, host).await {
            Ok(millis) => timed.push((millis, variant)),
            Err(failed) => problem = Some(failed),
        }
    }
    timed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    match (timed.is_empty(), problem) {
        (true, Some(problem)) => Err(problem),
        _ => Ok(timed.into_iter().map(|(_, variant)| variant).collect()),
    }
}

/// Milliseconds of the product, without compiling it.
async fn time(device: &Device, host: &dyn Host) -> Result<f64, DeviceProblem> {
    let ones = TensorData::new(vec![1.0f32; SIZE * SIZE], [SIZE, SIZE]);
    let x = Tensor::<2>::from_data(ones, device);
    let mut elapsed = f64::INFINITY;
    for _ in 0..2 {
        let started = host.now_millis();
        let mut product = matmul(x.clone(), x.clone());
        for _ in 1..REPETITIONS {
            product = matmul(x.clone(), product);
        }
        let corner = product.slice([0..1, 0..1]);
        read_all(corner)
            .await
            .map_err(|failure| DeviceProblem::InitFailed {
                message: failure.place.unwrap_or(failure.what),
            })?;
        elapsed = elapsed.min(host.now_millis() - started);
    }
    Ok(elapsed)
}
