//! The product of any two matrices in any layout: slow, for the odd shapes that the other kernels do not support.

use cubecl::{ir::ElemType, prelude::*};

/// Units of a workgroup, along columns.
pub const UNITS: u32 = 32;
/// Rows that one unit sums, for one column.
pub const ROWS: usize = 8;

/// `out[z] = lhs[z] rhs[z]`; strides count elements.
#[cube(launch_unchecked)]
pub fn strided_kernel<L: Float, R: Float>(
    lhs: &Tensor<L>,
    rhs: &Tensor<R>,
    out: &mut Tensor<f32>,
    m: usize,
    n: usize,
    k: usize,
    lhs_batch: usize,
    lhs_row: usize,
    lhs_step: usize,
    rhs_batch: usize,
    rhs_column: usize,
    rhs_step: usize,
    #[define(L, R)] _elements: [ElemType; 2],
) {
    let column = ABSOLUTE_POS_X as usize;
    let row = CUBE_POS_Y as usize * ROWS;
    let batch = CUBE_POS_Z as usize;
    if column >= n {
        terminate!();
    }
    let mut sums = Array::<f32>::new(ROWS);
    let mut starts = Sequence::<usize>::new();
    #[unroll]
    for r in 0..ROWS {
        sums[r] = 0.0;
        // Rows past the end read the last row again and are not written.
        starts.push(batch * lhs_batch + min(row + r, m - 1) * lhs_row);
    }
    let start = batch * rhs_batch + column * rhs_column;
    for step in 0..k {
        let right = f32::cast_from(rhs[start + step * rhs_step]);
        #[unroll]
        for r in 0..ROWS {
            sums[r] += f32::cast_from(lhs[starts[r] + step * lhs_step]) * right;
        }
    }
    #[unroll]
    for r in 0..ROWS {
        if row + r < m {
            out[(batch * m + row + r) * n + column] = sums[r];
        }
    }
}
