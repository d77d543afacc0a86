//! VeRA (Kopiczko et al., arXiv 2310.11454): `W x + b (B (d (A x)))` with `A` and `B` drawn once for all modules and
//! never trained; `d` starts at 0.1, `b` at zero. A smaller module uses the first columns of `A` and the first rows of
//! `B`.
//!
//! The projection sees a low-rank pair of `d A` and `b B`; [`Chain::Vectors`] leads its gradients to `d` and `b`.

use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::{Dense, Fixed, HostModule, Matrix, Parameters, Part, Start, fill_uniform};
use crate::layers::{
    frozen::FrozenMatrix,
    projection::{Chain, LoraPair, ModuleAdapter},
};

/// PEFT's `d_initial`.
const D_INITIAL: f32 = 0.1;

/// The shared `A` `[r, largest in]` and `B` `[largest out, r]`: uniform within Kaiming's bound `sqrt(6 / fan in)`.
pub(super) fn projection(
    r: usize,
    features: (usize, usize),
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> [Matrix; 2] {
    let mut matrix = |rows: usize, cols: usize| {
        let mut values = vec![0.0; rows * cols];
        fill_uniform(&mut values, (6.0 / cols as f64).sqrt(), rng);
        Matrix::new(values, [rows, cols], device)
    };
    [matrix(r, features.0), matrix(features.1, r)]
}

pub(super) fn start(start: &mut Start<'_>, projection: &[Matrix; 2]) -> Fixed {
    start.part(Part::LambdaD).fill(D_INITIAL);
    slices(projection, start.weight)
}

/// The part of the shared matrices that a module uses.
pub(super) fn slices([a, b]: &[Matrix; 2], weight: &FrozenMatrix) -> Fixed {
    Fixed::Projection {
        a: a.tensor.clone().slice_dim(1, 0..weight.cols()),
        b: b.tensor.clone().slice_dim(0, 0..weight.rows()),
    }
}

pub(super) fn forward(parameters: &Parameters<'_>, [a, b]: [&Tensor<2>; 2]) -> ModuleAdapter {
    let d = parameters.part(Part::LambdaD).transpose();
    let lambda_b = parameters.part(Part::LambdaB).transpose();
    ModuleAdapter {
        low_rank: Some(LoraPair {
            a: a.clone() * d,
            b: b.clone() * lambda_b,
            scaling: 1.0,
        }),
        ..ModuleAdapter::new(Chain::Vectors {
            a: a.clone(),
            b: b.clone(),
        })
    }
}

/// `W + (b B) (d A)`
pub(super) fn merge(weight: &mut Dense<'_>, module: &HostModule<'_>, projection: &[Matrix; 2]) {
    let vectors = [module.part(Part::LambdaD), module.part(Part::LambdaB)];
    let (a, b) = product(vectors, projection, weight.in_features);
    weight.add_product(&b, &a, 1.0);
}

/// `d A` `[r, in]` and `b B` `[out, r]` from the vectors `d` and `b`.
pub(super) fn product(
    [d, lambda_b]: [&[f32]; 2],
    [a, b]: &[Matrix; 2],
    in_features: usize,
) -> (Vec<f32>, Vec<f32>) {
    let (r, cols) = (d.len(), a.shape[1]);
    let rows = a.values.chunks_exact(cols).zip(d);
    let a = rows.flat_map(|(row, &d)| row[..in_features].iter().map(move |&value| value * d));
    let rows = b.values.chunks_exact(r).zip(lambda_b);
    let b = rows.flat_map(|(row, &factor)| row.iter().map(move |&value| value * factor));
    (a.collect(), b.collect())
}
