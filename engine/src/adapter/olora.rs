//! OLoRA (Büyükakyüz, arXiv 2406.01775): LoRA that starts from `W = Q R`: `B0` the first `r` columns of the orthonormal
//! `Q`, `A0` the first `r` rows of `R`, and the base is `W - s B0 A0`; see [`super::pissa`] for how this is
//! represented.
//!
//! The first columns of `Q` depend only on the first columns of `W`, and `R = Q^T W`.

use protocol::Failure;

use super::{Fixed, Start, linalg::Rows, pissa};

pub(super) async fn start(start: &mut Start<'_>) -> Result<Fixed, Failure> {
    let (r, out_features, in_features) = (start.rank, start.weight.rows(), start.weight.cols());
    let unit = |i: usize| usize::from(i % in_features == i / in_features) as f64;
    let units = Rows::new((0..r * in_features).map(unit).collect(), in_features);
    let mut q = Rows::from_f32(&start.times_transposed(&units).await?, out_features);
    q.orthonormalise();
    let a = start.times(&q).await?;
    Ok(pissa::residual(start, a, q.to_f32_columns()))
}
