//! PiSSA (Meng et al., arXiv 2404.02948): LoRA that starts from the base's principal directions. With `W = U S V^T`,
//! `B0 = U_r sqrt(S_r / s)`, `A0 = sqrt(S_r / s) V_r^T`, and the base is `W - s B0 A0`.
//!
//! The quantized base does not change; the difference belongs to the adapter: `W x + s (B A - B0 A0) x`, a pair of
//! twice the rank, half of which is trained. So nothing is lost to a second rounding of the base, and the export is a
//! plain LoRA of rank `2 r` for the original base (as PEFT's `path_initial_model_for_weight_conversion` makes it).
//!
//! ```text
//! pair on the device:  [ A  ] [2 r, in]      [ B  -B0 ] [out, 2 r]
//!                      [ A0 ]
//! gradients used:      the first r rows      the first r columns
//! ```
//!
//! The principal directions are found by subspace iteration (Halko, Martinsson and Tropp, arXiv 0909.4061) with a few
//! more directions than requested; its products run on the device with the quantized `W`. A round, with `k` directions
//! as the rows of `X` `[k, in]`:
//!
//! 1. orthonormalize `X`;
//! 2. `Y = X W^T W W^T` `[k, out]`, and orthonormalize `Y`;
//! 3. `X = Y W`, whose singular values approach those of `W`;
//! 4. turn `X` and `Y` so that the rows of `X` are orthogonal, largest first: row `i` is then `S_i V_i`, and row `i`
//!    of `Y` is `U_i`.

use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};
use protocol::{Failure, FailureKind, TargetModule};
use rand_chacha::ChaCha8Rng;

use super::{
    Adaptation, ModuleOnDevice, ModuleOnHost, Projections, Start, Started,
    lora::{self, LoraConfig, Pair},
};
use crate::{
    adapter::{
        Matrix, Part, fill_uniform,
        linalg::{Rows, symmetric_eigen},
        merge::Dense,
        peft::PeftConfig,
        slot::{ModulePart, ModuleSlots},
    },
    kernels::FrozenMatrix,
    layers::projection::{GradientRule, Gradients, LoraPair, ModuleAdapter, Unchanged},
    tensor::read_all,
};

/// The number of directions beyond those requested: the more there are, the faster the others converge.
const EXTRA: usize = 16;
/// The number of rounds after which the directions are used as they are.
const MAX_ROUNDS: usize = 16;
/// How much converged singular values may still move in a round, relative to the largest. The error of the vectors is
/// its square root.
const SETTLED: f64 = 1e-9;

/// PiSSA as [`super::of`] returns it.
pub(super) struct Pissa;

impl Adaptation for Pissa {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(self)
    }

    fn config(&self) -> &dyn PeftConfig {
        &LoraConfig::PLAIN
    }
}

impl Projections for Pissa {
    fn parts(&self, r: usize, _: TargetModule, features: (usize, usize)) -> Vec<ModulePart> {
        lora::parts(r, features)
    }

    fn scaling(&self, alpha: f64, r: usize) -> f64 {
        lora::scaling(alpha, r)
    }

    fn start<'a>(&self, start: Start<'a>, rng: &'a mut ChaCha8Rng) -> Started<'a> {
        Box::pin(started(start, rng))
    }

    fn to_merge(
        &self,
        _: &ModuleSlots<'_>,
        _: &[Rc<Matrix>],
    ) -> Result<Rc<dyn ModuleOnHost>, Failure> {
        Err(without_base())
    }
}

/// The failure of merging without the base: what was subtracted is not among the parameters. No file leads to it, since
/// files hold the difference, as a plain LoRA.
pub(super) fn without_base() -> Failure {
    let what = "An adapter that starts from the base cannot be merged without it.";
    Failure::new(FailureKind::Internal, what)
}

/// Finds the principal directions and makes the module that starts from them.
///
/// The rank must not exceed the module's features; plans check this.
///
/// # Errors
/// The device's failure.
///
/// # Panics
/// If the rank exceeds the module's input or output features.
async fn started(
    start: Start<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Rc<dyn ModuleOnDevice>, Failure> {
    let r = start.slots.r;
    let (out_features, in_features) = (start.weight.rows(), start.weight.cols());
    let k = (r + EXTRA).min(out_features).min(in_features);
    let mut drawn = vec![0.0; k * in_features];
    fill_uniform(&mut drawn, 1.0, rng);
    let mut right = Rows::new(drawn.iter().map(|&v| f64::from(v)).collect(), in_features);
    let mut before: Vec<f64> = Vec::new();
    let mut round = 0;
    let (left, values) = loop {
        right.orthonormalize();
        let mut left = Rows::from_f32(&start.power(&right).await?, out_features);
        left.orthonormalize();
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
        // With as many directions as the matrix has, one round is exact.
        if is_settled || round == MAX_ROUNDS || k == out_features.min(in_features) {
            break (left, values);
        }
    };
    // Rows of `right` are now `S_i V_i`.
    let roots = values[..r].iter().map(|s| (s / start.slots.scaling).sqrt());
    let roots: Vec<f64> = roots.collect();
    let inverses = roots.iter().zip(&values);
    let inverses = inverses.map(|(root, &s)| if s > 0.0 { root / s } else { 0.0 });
    let a = right.scaled(&inverses.collect::<Vec<_>>()).to_f32();
    let b = left.scaled(&roots).to_f32_columns();
    residual(start, a, b)
}

/// Makes a module that trains `A` and `B` starting from these, which are subtracted from the base.
///
/// # Shapes
/// - `a`: `[r, in]`, row by row
/// - `b`: `[out, r]`, row by row
///
/// # Errors
/// As [`ModuleSlots::slot`].
pub(super) fn residual(
    mut start: Start<'_>,
    a: Vec<f32>,
    b: Vec<f32>,
) -> Result<Rc<dyn ModuleOnDevice>, Failure> {
    let r = start.slots.r;
    let (out_features, in_features) = (start.weight.rows(), start.weight.cols());
    start.part(Part::A)?.copy_from_slice(&a);
    start.part(Part::B)?.copy_from_slice(&b);
    Ok(Rc::new(Residual {
        // `A` and `B` among the parameters.
        trained: Pair::of(&start.slots)?,
        a: start.matrix(a, [r, in_features]),
        b: start.matrix(b, [out_features, r]),
    }))
}

/// A trained pair, and the pair that it started from.
#[derive(Debug)]
struct Residual {
    trained: Pair,
    /// `A0`, `[r, in]`
    a: Matrix,
    /// `B0`, `[out, r]`
    b: Matrix,
}

impl ModuleOnHost for Residual {
    /// `W + s (B A - B0 A0)`
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>) {
        self.trained.merge(parameters, weight);
        weight.add_product(&self.b.values, &self.a.values, -self.trained.scaling);
    }

    /// `B A - B0 A0` as one pair of twice the rank, `[2 r, in]` and `[out, 2 r]`.
    fn product(&self, parameters: &[f32]) -> Option<[Vec<f32>; 2]> {
        let [trained_a, trained_b] = self.trained.on_host(parameters);
        let r = self.a.shape[0];
        let rows = trained_b.chunks_exact(r).zip(self.b.values.chunks_exact(r));
        let rows = rows.flat_map(|(trained, fixed)| {
            let fixed = fixed.iter().map(|value| -value);
            trained.iter().copied().chain(fixed)
        });
        Some([[trained_a, &self.a.values].concat(), rows.collect()])
    }
}

impl ModuleOnDevice for Residual {
    fn forward(&self, flat: &Tensor<1>, _: &FrozenMatrix) -> ModuleAdapter {
        let LoraPair { a, b, scaling } = self.trained.on_device(flat);
        let [fixed_a, fixed_b] = [self.a.tensor.clone(), self.b.tensor.clone().neg()];
        ModuleAdapter {
            low_rank: Some(LoraPair {
                a: Tensor::cat(vec![a, fixed_a], 0),
                b: Tensor::cat(vec![b, fixed_b], 1),
                scaling,
            }),
            ..ModuleAdapter::new(First { r: self.a.shape[0] })
        }
    }
}

/// The gradient rule of a pair of which only the first part is trained.
#[derive(Debug)]
struct First {
    /// How many rows of `A` and columns of `B` are trained.
    r: usize,
}

impl GradientRule for First {
    fn trained(&self, seen: Gradients) -> Vec<Tensor<2>> {
        let pair = seen
            .pair
            .map(|[d_a, d_b]| [d_a.slice_dim(0, 0..self.r), d_b.slice_dim(1, 0..self.r)]);
        Unchanged.trained(Gradients { pair, ..seen })
    }
}

impl Start<'_> {
    /// Computes `x W^T` on the device.
    ///
    /// # Shapes
    /// - `x`: `k` vectors `[in]`
    /// - returns `[k, out]`
    ///
    /// # Errors
    /// The device's failure.
    pub(super) async fn times_transposed(&self, x: &Rows) -> Result<Vec<f32>, Failure> {
        Ok(read_all(self.weight.forward(self.upload(x), None)).await?)
    }

    /// Computes `x W` on the device.
    ///
    /// # Shapes
    /// - `x`: `k` vectors `[out]`
    /// - returns `[k, in]`
    ///
    /// # Errors
    /// The device's failure.
    pub(super) async fn times(&self, x: &Rows) -> Result<Vec<f32>, Failure> {
        Ok(read_all(self.weight.backward(self.upload(x), None)).await?)
    }

    /// Computes `x W^T W W^T`: three products of the iteration with a single read.
    ///
    /// # Shapes
    /// - `x`: `k` vectors `[in]`
    /// - returns `[k, out]`
    ///
    /// # Errors
    /// The device's failure.
    async fn power(&self, x: &Rows) -> Result<Vec<f32>, Failure> {
        let once = self.weight.forward(self.upload(x), None);
        let twice = self.weight.forward(self.weight.backward(once, None), None);
        Ok(read_all(twice).await?)
    }

    /// The vectors as the rows of a tensor, rounded to f32.
    fn upload(&self, x: &Rows) -> Tensor<2> {
        Tensor::from_data(TensorData::new(x.to_f32(), x.shape()), self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Array, Random};

    #[test]
    fn the_gradients_are_those_of_the_first_part_of_the_pair() {
        let mut random = Random::new();
        let [out, cols, r] = [2..20, 2..20, 2..6].map(|range| random.size(range));
        let (d_a, d_b) = (random.array([r, cols]), random.array([out, r]));
        let first = r - 1;
        let trained = First { r: first }.trained(Gradients {
            pair: Some([d_a.tensor(), d_b.tensor()]),
            scale: None,
        });
        let [first_a, first_b] = <[Tensor<2>; 2]>::try_from(trained).unwrap();
        Array::from_fn([first, cols], |i| d_a.values[i]).assert_close("A", first_a, 1e-5);
        Array::from_fn([out, first], |i| d_b.at(i / first, i % first))
            .assert_close("B", first_b, 1e-5);
    }
}
