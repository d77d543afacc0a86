//! Finds the fastest variant of the kernels on a device, and the fastest precision. The cases decide whether it is
//! correct.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use protocol::DeviceProblem;

use crate::{
    kernels::{FrozenMatrix, Variant, matmul},
    surroundings::Clock,
    tensor::read_all,
    weights::packed::{PackedKind, PackedMatrix},
};

/// The size of the timed product: large enough to tell variants apart, yet quick.
const SIZE: usize = 256;
/// The number of consecutive products, so that reading the last one costs little in comparison.
const REPETITIONS: usize = 8;
/// How long products in each precision are timed, and the maximum number of them.
const ENOUGH_MILLIS: f64 = 20.0;
const MOST_REPETITIONS: usize = 64;
/// Halves have to take less than this share of the time.
const WORTHWHILE: f64 = 0.9;

/// All variants that return a result, fastest first.
///
/// # Errors
/// [`DeviceProblem::InitFailed`] if nothing can be read from the device.
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

/// Milliseconds of the product, without compiling it.
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

/// Whether a block's products take less time in halves than in single precision, by enough to be sure of it.
///
/// # Errors
/// [`DeviceProblem::InitFailed`] where nothing can be read from the device.
pub async fn halves_are_faster(device: &Device, clock: &dyn Clock) -> Result<bool, DeviceProblem> {
    // The MLP of a small model, with weights of the most common kind.
    let (num_tokens, d, f) = (256, 576, 1536);
    let weight = PackedMatrix {
        kind: PackedKind::Q4_0,
        rows: f,
        cols: d,
        words: vec![0x5a96_c3e1; f * d / 8],
        // 2^-12, with which pairs of products neither grow nor vanish.
        scales: vec![0x0c00; f * d / 32],
    };
    let weight = FrozenMatrix::from_packed(weight, device);
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

/// The milliseconds of `repetitions` pairs of products, forward and backward.
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

/// Waits until a tensor is computed.
async fn read_corner(tensor: Tensor<2>) -> Result<(), DeviceProblem> {
    let corner = tensor.slice([0..1, 0..1]).cast(FloatDType::F32);
    let read = read_all(corner).await;
    read.map(|_| ())
        .map_err(|failure| DeviceProblem::InitFailed { message: failure.0 })
}
