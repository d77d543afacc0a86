//! Output and log-sum-exp of attention.

use burn::tensor::DType;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::{
    super::{
        calibration::Variant,
        operand::Four,
        rows::{elements, empty, empty_like},
    },
    Limits, Plan, ROWS, add_weighted, columns_of_unit, first_of_group, first_visible, group, lane,
    no_sums, rows_of_group, scores,
};
use crate::{
    Heads,
    operand::{HIDDEN, Sight},
};

/// The first key that a query of a row sees.
#[cube]
fn first_key(
    table: &Tensor<i32>,
    query: usize,
    past: usize,
    window: usize,
    #[comptime] limits: Limits,
) -> usize {
    let mut of_table = 0usize.runtime();
    if comptime!(limits.table) {
        of_table = usize::cast_from(table[query * 2]);
    }
    first_visible(of_table, past + query, window, limits)
}

#[cube(launch_unchecked)]
fn forward_kernel<E: Float>(
    q: &Tensor<Vector<E, Four>>,
    k: &Tensor<Vector<E, Four>>,
    v: &Tensor<Vector<E, Four>>,
    out: &mut Tensor<Vector<E, Four>>,
    log_sums: &mut Tensor<f32>,
    table: &Tensor<i32>,
    tokens: usize,
    past: usize,
    heads: usize,
    key_value_heads: usize,
    window: usize,
    scale: f32,
    #[comptime] plan: Plan,
    #[comptime] limits: Limits,
    #[define(E)] _element: ElemType,
) {
    let lanes = comptime!(plan.lanes);
    let lane = lane(plan);
    let group = group(plan);
    let block = comptime!(plan.block());
    let head = CUBE_POS_Y as usize;
    let batch = CUBE_POS_Z as usize;
    let keys = past + tokens;
    let vectors = comptime!(plan.vectors);
    let first_row = CUBE_POS_X as usize * comptime!(plan.rows());
    let key_stride = key_value_heads * vectors;
    let key_head = (batch * keys * key_value_heads + head / (heads / key_value_heads)) * vectors;

    let rows = rows_of_group(tokens, plan);
    let mut queries = Sequence::<usize>::new();
    let mut firsts = Sequence::<usize>::new();
    #[unroll]
    for r in 0..ROWS {
        queries.push(((batch * tokens + rows[r]) * heads + head) * vectors);
        firsts.push(first_key(table, rows[r], past, window, limits));
    }

    let mut sums = no_sums(plan);
    let mut maxima = Array::<f32>::new(ROWS);
    let mut totals = Array::<f32>::new(ROWS);
    #[unroll]
    for r in 0..ROWS {
        maxima[r] = HIDDEN;
        totals[r] = 0.0;
    }
    let mut tile = Array::<f32>::new(comptime!(ROWS * plan.columns));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(plan.rows() * plan.block()));
    let mut parts = Shared::<[f32]>::new_slice(comptime!(plan.rows() * plan.lanes));

    // The first and the last key that any row of the workgroup sees.
    let mut first = first_key(table, first_row, past, window, limits);
    let last = past + min(first_row + comptime!(plan.rows()), tokens) - 1;
    if comptime!(limits.path) {
        // Elsewhere the first row sees the first key.
        for row in first_row + 1..last + 1 {
            first = min(first, first_key(table, row, past, window, limits));
        }
    }
    for step in first / block..last / block + 1 {
        let start = step * block;
        let columns = columns_of_unit(key_head, start, last, key_stride, plan);
        scores(q, &queries, k, &columns, &mut tile, vectors);
        let mut ends = Sequence::<usize>::new();
        if comptime!(limits.path) {
            #[unroll]
            for c in 0..comptime!(plan.columns) {
                let column = min(start + lane + c * lanes, last);
                ends.push(usize::cast_from(table[column * 2 + 1]));
            }
        }
        #[unroll]
        for r in 0..ROWS {
            let mut largest = HIDDEN.runtime();
            #[unroll]
            for c in 0..comptime!(plan.columns) {
                let at = comptime!(r * plan.columns + c);
                let column = start + lane + c * lanes;
                let visible = column <= past + rows[r];
                let mut score = select(visible, tile[at] * scale, HIDDEN.runtime());
                if comptime!(limits.any()) {
                    score = select(column >= firsts[r], score, HIDDEN.runtime());
                }
                if comptime!(limits.path) {
                    score = select(rows[r] < ends[c], score, HIDDEN.runtime());
                }
                tile[at] = score;
                largest = max(largest, score);
            }
            parts[(group * ROWS + r) * lanes + lane] = largest;
        }
        sync_cube();
        #[unroll]
        for r in 0..ROWS {
            let mut largest = maxima[r];
            #[unroll]
            for other in 0..lanes {
                largest = max(largest, parts[(group * ROWS + r) * lanes + other]);
            }
            let shrink = (maxima[r] - largest).exp();
            maxima[r] = largest;
            let mut total = totals[r] * shrink;
            #[unroll]
            for c in 0..comptime!(plan.columns) {
                let weight = (tile[comptime!(r * plan.columns + c)] - largest).exp();
                total += weight;
                weights[(group * ROWS + r) * block + lane + c * lanes] = weight;
            }
            totals[r] = total;
            #[unroll]
            for i in 0..comptime!(plan.share()) {
                let at = comptime!(r * plan.share() + i);
                sums[at] = sums[at] * Vector::new(shrink);
            }
        }
        sync_cube();
        let share = key_head + lane * comptime!(plan.share());
        add_weighted(
            &mut sums, &weights, group, v, share, key_stride, start, last, plan,
        );
    }

    // Each unit summed its own columns' weights.
    #[unroll]
    for r in 0..ROWS {
        parts[(group * ROWS + r) * lanes + lane] = totals[r];
    }
    sync_cube();
    #[unroll]
    for r in 0..ROWS {
        let mut total = 0.0f32;
        #[unroll]
        for other in 0..lanes {
            total += parts[(group * ROWS + r) * lanes + other];
        }
        if first_of_group(plan) + r < tokens {
            #[unroll]
            for i in 0..comptime!(plan.share()) {
                let mean = sums[comptime!(r * plan.share() + i)] / Vector::new(total);
                out[queries[r] + lane * comptime!(plan.share()) + i] = Vector::cast_from(mean);
            }
            if lane == 0 {
                log_sums[queries[r] / vectors] = maxima[r] + total.ln();
            }
        }
    }
}

/// See [`crate::KernelOps::attention`].
pub fn forward(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    sight: Sight<CubeBackend>,
    heads: Heads,
) -> (CubeTensor, CubeTensor) {
    let [q, k, v] = [q, k, v].map(into_contiguous);
    let out = empty_like(&q);
    let queries = [heads.batch * heads.tokens, heads.query_heads];
    let log_sums = empty(&q, queries, DType::F32);
    let element = elements(&q);
    let client = out.client.clone();
    let plan = Plan::new(Variant::of(&client), heads);
    let cubes = CubeCount::Static(
        heads.tokens.div_ceil(plan.rows()) as u32,
        heads.query_heads as u32,
        heads.batch as u32,
    );
    let (limits, table, window) = Limits::of(sight);
    // A kernel without a table never reads what is bound in its place.
    let table = table.map_or_else(|| q.clone(), into_contiguous);
    // SAFETY: rows and keys are clamped to their numbers, which `heads` gives as the tensors have them.
    unsafe {
        forward_kernel::launch_unchecked(
            &client,
            cubes,
            plan.dim(),
            q.into_tensor_arg(),
            k.into_tensor_arg(),
            v.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            log_sums.clone().into_tensor_arg(),
            table.into_tensor_arg(),
            heads.tokens,
            heads.past,
            heads.query_heads,
            heads.key_value_heads,
            window,
            heads.scale() as f32,
            plan,
            limits,
            element,
        );
    }
    (out, log_sums)
}
