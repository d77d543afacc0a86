//! PiSSA (Meng et al., arXiv 2404.02948): LoRA that starts from the base's principal directions. With `W = U S V^T`,
//! `B0 = U_r sqrt(S_r / s)`, `A0 = sqrt(S_r / s) V_r^T`, and the base is `W - s B0 A0`.
//!
//! The quantized base does not change; the difference belongs to the adapter: `W x + s (B A - B0 A0) x`, a pair of
//! twice the rank, half of which is trained. So nothing is lost to a second rounding of the base, and the export is a
//! plain LoRA of rank `2 r` for the original base (as PEFT's `path_initial_model_for_weight_conversion` makes it).
//!
//! The principal directions are found by subspace iteration (Halko, Martinsson and Tropp, arXiv 0909.4061) with a few
//! more directions than requested; its products run on the device with the quantized `W`.

use burn::tensor::{Tensor, TensorData};
use protocol::Failure;
use rand_chacha::ChaCha8Rng;

use super::{
    Dense, Fixed, HostModule, Matrix, Parameters, Part, Start, fill_uniform,
    linalg::{Rows, symmetric_eigen},
};
use crate::{
    layers::projection::{Chain, LoraPair, ModuleAdapter},
    tensor::read_all,
};

/// Directions beyond those requested: the more there are, the faster the others converge.
const EXTRA: usize = 16;
/// The number of rounds after which the directions are used as they are.
const MAX_ROUNDS: usize = 16;
/// How much converged singular values may still move in a round, relative to the largest. The error of the vectors is
/// its square root.
const SETTLED: f64 = 1e-9;

pub(super) async fn start(start: &mut Start<'_>, rng: &mut ChaCha8Rng) -> Result<Fixed, Failure> {
    let r = start.rank;
    let (out_features, in_features) = (start.weight.rows(), start.weight.cols());
    let k = (r + EXTRA).min(out_features).min(in_features);
    let mut drawn = vec![0.0; k * in_features];
    fill_uniform(&mut drawn, 1.0, rng);
    let mut right = Rows::new(drawn.iter().map(|&v| f64::from(v)).collect(), in_features);
    let mut before: Vec<f64> = Vec::new();
    let mut round = 0;
    let (left, values) = loop {
        right.orthonormalise();
        let mut left = Rows::from_f32(&start.power(&right).await?, out_features);
        left.orthonormalise();
        // `left W`, whose singular values are those of `W` on the directions.
        right = Rows::from_f32(&start.times(&left).await?, in_features);
        let (squares, turn) = symmetric_eigen(right.gram());
        let values: Vec<f64> = squares
            .iter()
            .map(|square| square.max(0.0).sqrt())
            .collect();
        right = right.turned(&turn);
        let left = left.turned(&turn);
        let moved = before
            .iter()
            .zip(&values)
            .take(r)
            .map(|(a, b)| (a - b).abs());
        let moved = moved.fold(0.0, f64::max);
        let is_settled = !before.is_empty() && moved <= SETTLED * values[0];
        before.clone_from(&values);
        round += 1;
        if is_settled || round == MAX_ROUNDS || k == out_features.min(in_features) {
            break (left, values);
        }
    };
    // Rows of `right` are now `S_i V_i`.
    let roots = values[..r].iter().map(|s| (s / start.scaling).sqrt());
    let roots: Vec<f64> = roots.collect();
    let inverses = roots.iter().zip(&values);
    let inverses = inverses.map(|(root, &s)| if s > 0.0 { root / s } else { 0.0 });
    let a = right.scaled(&inverses.collect::<Vec<_>>()).to_f32();
    let b = left.scaled(&roots).to_f32_columns();
    Ok(residual(start, a, b))
}

/// Trains `A` and `B` starting from these, which are subtracted from the base.
pub(super) fn residual(start: &mut Start<'_>, a: Vec<f32>, b: Vec<f32>) -> Fixed {
    let (r, out_features, in_features) = (start.rank, start.weight.rows(), start.weight.cols());
    start.part(Part::A).copy_from_slice(&a);
    start.part(Part::B).copy_from_slice(&b);
    Fixed::Residual {
        a: start.matrix(a, [r, in_features]),
        b: start.matrix(b, [out_features, r]),
    }
}

pub(super) fn forward(parameters: &Parameters<'_>, [a, b]: [&Matrix; 2]) -> ModuleAdapter {
    let r = a.shape[0];
    let both = |trained: Tensor<2>, fixed: Tensor<2>, dim| Tensor::cat(vec![trained, fixed], dim);
    ModuleAdapter {
        low_rank: Some(LoraPair {
            a: both(parameters.part(Part::A), a.tensor.clone(), 0),
            b: both(parameters.part(Part::B), b.tensor.clone().neg(), 1),
            scaling: parameters.scaling,
        }),
        ..ModuleAdapter::new(Chain::First(r))
    }
}

/// `B A - B0 A0` as one pair of twice the rank, `[2 r, in]` and `[out, 2 r]`.
pub(super) fn difference(
    [trained_a, trained_b]: [&[f32]; 2],
    [a, b]: [&Matrix; 2],
) -> (Vec<f32>, Vec<f32>) {
    let r = a.shape[0];
    let rows = trained_b.chunks_exact(r).zip(b.values.chunks_exact(r));
    let rows = rows.flat_map(|(trained, fixed)| {
        let fixed = fixed.iter().map(|value| -value);
        trained.iter().copied().chain(fixed)
    });
    ([trained_a, &a.values].concat(), rows.collect())
}

/// `W + s (B A - B0 A0)`
pub(super) fn merge(weight: &mut Dense<'_>, module: &HostModule<'_>, [a, b]: [&Matrix; 2]) {
    weight.add_product(module.part(Part::B), module.part(Part::A), module.scaling);
    weight.add_product(&b.values, &a.values, -module.scaling);
}

impl Start<'_> {
    /// `x W^T` `[k, out]` for `x` `[k, in]`.
    pub(super) async fn times_transposed(&self, x: &Rows) -> Result<Vec<f32>, Failure> {
        read_all(self.weight.forward(self.upload(x), None)).await
    }

    /// `x W` `[k, in]` for `x` `[k, out]`.
    pub(super) async fn times(&self, x: &Rows) -> Result<Vec<f32>, Failure> {
        read_all(self.weight.backward(self.upload(x), None)).await
    }

    /// `x W^T W W^T` `[k, out]` for `x` `[k, in]`: the products of two rounds with a single read.
    async fn power(&self, x: &Rows) -> Result<Vec<f32>, Failure> {
        let once = self.weight.forward(self.upload(x), None);
        let twice = self.weight.forward(self.weight.backward(once, None), None);
        read_all(twice).await
    }

    fn upload(&self, x: &Rows) -> Tensor<2> {
        Tensor::from_data(TensorData::new(x.to_f32(), x.shape()), self.device)
    }
}
