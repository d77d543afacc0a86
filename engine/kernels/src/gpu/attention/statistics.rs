//! What the backward needs to know of each query.

use burn::tensor::DType;
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::super::{
    operand::{Four, load},
    rows::{elements, empty, launch_size, row_of_unit},
};
use crate::Heads;

/// The number of statistics of each head of each row, without and with a table.
pub const fn num_statistics(has_table: bool) -> usize {
    if has_table { 4 } else { 2 }
}

/// Writes, for each head of each row, the log-sum-exp and `sum(d_out out)` next to each other, and if there is a table the
/// token's row of it (exact up to 2^24). This way the kernels that read them need fewer of the eight bindings that every
/// GPU has.
#[cube(launch_unchecked)]
fn statistics_kernel<E: Float>(
    d_out: &Tensor<Vector<E, Four>>,
    out: &Tensor<Vector<E, Four>>,
    log_sums: &Tensor<f32>,
    statistics: &mut Tensor<f32>,
    table: &Tensor<i32>,
    len: usize,
    heads: usize,
    #[comptime] vectors: usize,
    #[comptime] has_table: bool,
    #[define(E)] _element: ElemType,
) {
    let head = row_of_unit(1usize);
    if head >= len {
        terminate!();
    }
    let mut sum = 0.0f32;
    for at in 0..vectors {
        let of_out = load(out, head * vectors + at);
        sum += load(d_out, head * vectors + at).dot(of_out);
    }
    let at = head * comptime!(num_statistics(has_table));
    statistics[at] = log_sums[head];
    statistics[at + 1] = sum;
    if comptime!(has_table) {
        let token = head / heads;
        statistics[at + 2] = f32::cast_from(table[token * 2]);
        statistics[at + 3] = f32::cast_from(table[token * 2 + 1]);
    }
}

/// See [`statistics_kernel`]: `[b t h, ..]`.
pub fn statistics(
    d_out: &CubeTensor,
    out: CubeTensor,
    log_sums: CubeTensor,
    table: Option<CubeTensor>,
    heads: Heads,
) -> CubeTensor {
    let len = heads.batch * heads.tokens * heads.query_heads;
    let has_table = table.is_some();
    let shape = [len, num_statistics(has_table)];
    let statistics = empty(&log_sums, shape, DType::F32);
    // A kernel without a table never reads what is bound in its place.
    let table = table.map_or_else(|| out.clone(), into_contiguous);
    let element = elements(d_out);
    let client = statistics.client.clone();
    let (cubes, dim) = launch_size(len, 1);
    // SAFETY: heads are checked, and each has as many vectors and statistics; every token has a row in the table.
    unsafe {
        statistics_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            d_out.clone().into_tensor_arg(),
            out.into_tensor_arg(),
            log_sums.into_tensor_arg(),
            statistics.clone().into_tensor_arg(),
            table.into_tensor_arg(),
            len,
            heads.query_heads,
            heads.head_dim / 4,
            has_table,
            element,
        );
    }
    statistics
}
