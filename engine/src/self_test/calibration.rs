//! Finds the fastest variant of the kernels on a device, and the fastest precision. The cases decide whether it is
//! correct.
//!
//! Clocks in browsers are coarse (a millisecond or more in some), so what is timed is repeated until it lasts, and the
//! lowest of several times counts: whatever disturbs a measurement makes it longer.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use protocol::DeviceProblem;

use crate::{
    kernels::{FrozenMatrix, Variant, matmul},
    surroundings::Clock,
    tensor::read_all,
    weights::quantized::{QuantizedMatrix, WeightKind},
};

/// The rows and columns of the timed product: large enough to tell variants apart, yet quick.
const SIZE: usize = 256;
/// The number of consecutive products, so that reading the last one costs little in comparison.
const REPETITIONS: usize = 8;
/// How long products in each precision are timed, ...
const ENOUGH_MILLIS: f64 = 20.0;
/// ... and the maximum number of them.
const MOST_REPETITIONS: usize = 64;
/// Halves have to take less than this share of the time.
const WORTHWHILE: f64 = 0.9;

/// Returns all variants that return a result, fastest first.
///
/// It leaves the last one preferred; the caller sets the one to use.
///
/// # Errors
/// [`DeviceProblem::InitFailed`] if nothing can be read from the device with any variant.
pub async fn by_speed(device: &Device, clock: &dyn Clock) -> Result<Vec<Variant>, DeviceProblem> {
    let mut timed = Vec::new();
    let mut problem = None;
    for variant in Variant::ALL {
        Variant::prefer(Some(variant));
        match time(device, clock).await {
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

/// Returns the milliseconds of the products, without compiling them: the first of two rounds compiles, and the lower
/// one counts.
///
/// # Errors
/// [`DeviceProblem::InitFailed`] if the result cannot be read.
async fn time(device: &Device, clock: &dyn Clock) -> Result<f64, DeviceProblem> {
    let ones = TensorData::new(vec![1.0f32; SIZE * SIZE], [SIZE, SIZE]);
    let x = Tensor::<2>::from_data(ones, device);
    let mut elapsed = f64::INFINITY;
    for _ in 0..2 {
        let started = clock.now_millis();
        let mut product = matmul(x.clone(), x.clone());
        for _ in 1..REPETITIONS {
            product = matmul(x.clone(), product);
        }
        read_corner(product).await?;
        elapsed = elapsed.min(clock.now_millis() - started);
    }
    Ok(elapsed)
}

/// Returns whether a block's products take less time in halves than in single precision, by enough to be sure of it.
///
/// Each precision is timed three times in turn, so that a clock rate that changes meanwhile meets both.
///
/// # Errors
/// [`DeviceProblem::InitFailed`] if nothing can be read from the device.
pub async fn halves_are_faster(device: &Device, clock: &dyn Clock) -> Result<bool, DeviceProblem> {
    // The MLP of a small model, with weights of the most common kind.
    let (num_tokens, d, f) = (256, 576, 1536);
    let weight = QuantizedMatrix {
        kind: WeightKind::Q4_0,
        rows: f,
        cols: d,
        words: vec![0x5a96_c3e1; f * d / 8],
        // 2^-12, with which pairs of products neither grow nor vanish.
        scales: vec![0x0c00; f * d / 32],
    };
    let weight = FrozenMatrix::from_quantized(weight, device);
    let single = Tensor::<2>::from_data(
        TensorData::new(vec![1.0f32; num_tokens * d], [num_tokens, d]),
        device,
    );
    let half = single.clone().cast(FloatDType::F16);
    // Both are compiled before either is timed.
    for x in [&single, &half] {
        time_products(&weight, x, 1, clock).await?;
    }
    // Long enough for a coarse clock, but not too long on a slow GPU.
    let mut repetitions = 1;
    while time_products(&weight, &single, repetitions, clock).await? < ENOUGH_MILLIS
        && repetitions < MOST_REPETITIONS
    {
        repetitions *= 2;
    }
    let mut elapsed = [f64::INFINITY; 2];
    for _ in 0..3 {
        for (best, x) in elapsed.iter_mut().zip([&single, &half]) {
            *best = best.min(time_products(&weight, x, repetitions, clock).await?);
        }
    }
    let [single, half] = elapsed;
    Ok(half < single * WORTHWHILE)
}

/// Returns the milliseconds of `repetitions` pairs of products, forward and backward.
///
/// # Shapes
/// - `weight`: `[f, d]`
/// - `x`: `[n, d]`, in the precision that is timed
///
/// # Errors
/// [`DeviceProblem::InitFailed`] if the result cannot be read.
async fn time_products(
    weight: &FrozenMatrix,
    x: &Tensor<2>,
    repetitions: usize,
    clock: &dyn Clock,
) -> Result<f64, DeviceProblem> {
    let started = clock.now_millis();
    let mut x = x.clone();
    for _ in 0..repetitions {
        x = weight.backward(weight.forward(x, None), None);
    }
    read_corner(x).await?;
    Ok(clock.now_millis() - started)
}

/// Waits until a tensor is computed, by reading its first number.
///
/// # Errors
/// [`DeviceProblem::InitFailed`] with what the graphics library said.
async fn read_corner(tensor: Tensor<2>) -> Result<(), DeviceProblem> {
    let corner = tensor.slice([0..1, 0..1]).cast(FloatDType::F32);
    let read = read_all(corner).await;
    read.map(|_| ())
        .map_err(|failure| DeviceProblem::InitFailed { message: failure.0 })
}
