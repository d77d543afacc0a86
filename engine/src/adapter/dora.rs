//! DoRA (Liu et al., arXiv 2402.09353): `W` as directions and magnitudes, `W x` becomes `m / ||V|| V x` with
//! `V = W + s B A` and `||V||` its row norms. `m` starts as the row norms of `W`. As in the paper (section 4.3), the
//! gradient treats the norms as constants.
//!
//! The norms are computed without a dense `V`: `||V||^2 = ||W||^2 + 2 s sum (W A^T) B + s^2 sum (B A A^T) B`, sums over
//! the rank.

use burn::tensor::Tensor;
use protocol::Failure;
use rand_chacha::ChaCha8Rng;

use super::{Dense, Fixed, HostModule, Parameters, Part, Start, lora};
use crate::{
    kernels::matmul,
    layers::{
        frozen::FrozenMatrix,
        projection::{Chain, ModuleAdapter},
    },
    tensor::read_all,
};

/// The number of rows of `W` unpacked at a time.
const ROWS: usize = 256;

pub(super) async fn start(start: &mut Start<'_>, rng: &mut ChaCha8Rng) -> Result<Fixed, Failure> {
    lora::start(start, rng);
    let weight = start.weight;
    let squares = (0..weight.rows()).step_by(ROWS).map(|first| {
        let rows = weight
            .slice_rows(first..(first + ROWS).min(weight.rows()))
            .dense();
        rows.powi_scalar(2).sum_dim(1)
    });
    let squares = Tensor::cat(squares.collect(), 0).transpose();
    let norms = read_all(squares.clone().sqrt()).await?;
    start.part(Part::Magnitude).copy_from_slice(&norms);
    Ok(Fixed::RowNorms(squares))
}

pub(super) fn forward(
    parameters: &Parameters<'_>,
    weight: &FrozenMatrix,
    squares: &Tensor<2>,
) -> ModuleAdapter {
    let scaling = parameters.scaling;
    let (a, b) = (parameters.part(Part::A), parameters.part(Part::B));
    let cross = (weight.forward(a.clone(), None).transpose() * b.clone()).sum_dim(1);
    let gram = matmul(a.clone(), a.transpose());
    let square = (matmul(b.clone(), gram) * b).sum_dim(1);
    let added = cross.mul_scalar(2.0 * scaling) + square.mul_scalar(scaling * scaling);
    // The difference of nearly equal numbers may be slightly below zero.
    let norms = (squares.clone() + added.transpose()).clamp_min(0.0).sqrt();
    let inverse = norms.clamp_min(f32::MIN_POSITIVE).recip();
    ModuleAdapter {
        output_scale: Some(parameters.part(Part::Magnitude) * inverse.clone()),
        chain: Chain::Magnitude(inverse),
        ..lora::forward(parameters)
    }
}

/// `m / ||V|| V`
pub(super) fn merge(weight: &mut Dense<'_>, module: &HostModule<'_>) {
    lora::merge(weight, module);
    for (row, &magnitude) in weight.rows().zip(module.part(Part::Magnitude)) {
        let square: f64 = row.iter().map(|&v| f64::from(v).powi(2)).sum();
        let factor = f64::from(magnitude) / square.sqrt().max(f64::from(f32::MIN_POSITIVE));
        for value in row {
            *value = (f64::from(*value) * factor) as f32;
        }
    }
}
