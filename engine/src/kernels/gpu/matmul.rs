//! Register-blocked batched matmul: a thread holds `rows_per_thread` rows by one vector of columns of the result.

use burn_cubecl::{
    kernel::into_contiguous, ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor,
};
use cubecl::prelude::*;

/// Threads of a workgroup along columns and rows.
const CUBE_X: u32 = 8;
const CUBE_Y: u32 = 4;

/// `out[z, r.., c] = sum_k lhs[z, r.., k] rhs[z, k, c]`; `columns` counts vectors of `N`.
#[cube(launch_unchecked)]
fn matmul_kernel<N: Size>(
    lhs: &Tensor<f32>,
    rhs: &Tensor<Vector<f32, N>>,
    out: &mut Tensor<Vector<f32, N>>,
    m: usize,
    k: usize,
    columns: usize,
    #[comptime] rows_per_thread: usize,
) {
    let column = ABSOLUTE_POS_X as usize;
    let row = ABSOLUTE_POS_Y as usize * rows_per_thread;
    let batch = ABSOLUTE_POS_Z as usize;
    if column >= columns || row >= m {
        terminate!();
    }
    let lhs_base = batch * m * k;
    let rhs_base = batch * k * columns + column;
    let mut sums = Array::<Vector<f32, N>>::new(rows_per_thread);
    let mut lhs_rows = Array::<usize>::new(rows_per_thread);
    #[unroll]
    for i in 0..rows_per_thread {
        sums[i] = Vector::cast_from(0.0f32);
        // Rows past the end read the last row again and are not written.
        lhs_rows[i] = lhs_base + select(row + i < m, row + i, m - 1) * k;
    }
    for kk in 0..k {
        let right = rhs[rhs_base + kk * columns];
        #[unroll]
        for i in 0..rows_per_thread {
            sums[i] += Vector::cast_from(lhs[lhs_rows[i] + kk]) * right;
        }
    }
    #[unroll]
    for i in 0..rows_per_thread {
        if row + i < m {
            out[(batch * m + row + i) * columns + column] = sums[i];
        }
    }
}

/// `[batch, m, k] x [batch, k, n] -> [batch, m, n]`, or both without `batch`; transposed views are copied first.
pub fn matmul(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
    let lhs = into_contiguous(lhs);
    let rhs = into_contiguous(rhs);
    let mut shape = lhs.meta.shape().clone();
    let rank = shape.num_dims();
    let batch = if rank == 3 { shape[0] } else { 1 };
    let [m, k] = [shape[rank - 2], shape[rank - 1]];
    let n = rhs.meta.shape()[rank - 1];
    shape[rank - 1] = n;
    let out =
        empty_device_contiguous_dtype(lhs.client.clone(), lhs.device.clone(), shape, lhs.dtype);
    let vector = if n.is_multiple_of(4) { 4 } else { 1 };
    let rows_per_thread = match m {
        0..=1 => 1,
        2..=4 => 4,
        5..=8 => 8,
        _ => 16,
    };
    let columns = n / vector;
    let count = CubeCount::Static(
        (columns as u32).div_ceil(CUBE_X),
        m.div_ceil(rows_per_thread * CUBE_Y as usize) as u32,
        batch as u32,
    );
    let client = out.client.clone();
    // SAFETY: every index is below the sizes of the three contiguous tensors: columns and rows are checked in the
    // kernel, `k` is shared by both operands.
    unsafe {
        matmul_kernel::launch_unchecked(
            &client,
            count,
            CubeDim::new_2d(CUBE_X, CUBE_Y),
            vector,
            lhs.into_tensor_arg(),
            rhs.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            m,
            k,
            columns,
            rows_per_thread,
        );
    }
    out
}
