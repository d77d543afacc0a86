//! OLoRA (Büyükakyüz, arXiv 2406.01775): LoRA that starts from `W = Q R`: `B0` the first `r` columns of the orthonormal
//! `Q`, `A0` the first `r` rows of `R`, and the base is `W - s B0 A0`; see [`super::pissa`] for how this is
//! represented.
//!
//! The first columns of `Q` depend only on the first columns of `W`, and `R = Q^T W`. So three steps are enough:
//!
//! 1. the first `r` columns of `W`, as products of `W` with unit vectors, on the device;
//! 2. their orthonormalization, on the host: `B0`;
//! 3. `B0^T W`, on the device: `A0`.
//!
//! A QR decomposition may give a column of `Q` and its row of `R` the other sign; `B0 A0` is the same.

use std::rc::Rc;

use protocol::{Failure, TargetModule};
use rand_chacha::ChaCha8Rng;

use super::{
    Adaptation, ModuleOnDevice, ModuleOnHost, Projections, Start, Started,
    lora::{self, LoraConfig},
    pissa,
};
use crate::adapter::{
    Matrix,
    linalg::Rows,
    peft::PeftConfig,
    slot::{ModulePart, ModuleSlots},
};

/// OLoRA as [`super::of`] returns it.
pub(super) struct Olora;

impl Adaptation for Olora {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(self)
    }

    fn config(&self) -> &dyn PeftConfig {
        &LoraConfig::PLAIN
    }
}

impl Projections for Olora {
    fn parts(&self, r: usize, _: TargetModule, features: (usize, usize)) -> Vec<ModulePart> {
        lora::parts(r, features)
    }

    fn scaling(&self, alpha: f64, r: usize) -> f64 {
        lora::scaling(alpha, r)
    }

    fn start<'a>(&self, start: Start<'a>, _: &'a mut ChaCha8Rng) -> Started<'a> {
        Box::pin(started(start))
    }

    fn to_merge(
        &self,
        _: &ModuleSlots<'_>,
        _: &[Rc<Matrix>],
    ) -> Result<Rc<dyn ModuleOnHost>, Failure> {
        Err(pissa::without_base())
    }
}

/// Computes `A0` and `B0` and makes the module that starts from them.
///
/// Nothing is random. The rank must not exceed the module's features; plans check this.
///
/// # Errors
/// The device's failure.
async fn started(start: Start<'_>) -> Result<Rc<dyn ModuleOnDevice>, Failure> {
    let (r, out_features, in_features) = (start.slots.r, start.weight.rows(), start.weight.cols());
    let unit = |i: usize| usize::from(i % in_features == i / in_features) as f64;
    let units = Rows::new((0..r * in_features).map(unit).collect(), in_features);
    let mut q = Rows::from_f32(&start.times_transposed(&units).await?, out_features);
    q.orthonormalize();
    let a = start.times(&q).await?;
    pissa::residual(start, a, q.to_f32_columns())
}
