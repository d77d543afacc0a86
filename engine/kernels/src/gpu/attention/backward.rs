//! Gradients of attention: weights are recomputed from the log-sum-exps, once by queries and once by keys.

use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::{
    super::{
        calibration::Variant,
        operand::Four,
        rows::{elements, empty_like},
    },
    Limits, Plan, ROWS, add_weighted, columns_of_unit, first_of_group, first_visible, group, lane,
    no_sums, rows_of_group, scores,
    statistics::{num_statistics, statistics},
};
use crate::{Heads, operand::Sight};

/// The first key that a query sees, whose statistics are those of the row and head `at`.
#[cube]
fn first_key(
    statistics: &Tensor<f32>,
    at: usize,
    position: usize,
    window: usize,
    #[comptime] limits: Limits,
) -> usize {
    let mut of_table = 0usize.runtime();
    if comptime!(limits.table) {
        of_table = usize::cast_from(statistics[at * comptime!(num_statistics(true)) + 2]);
    }
    first_visible(of_table, position, window, limits)
}

/// The first token after those that may see a key, whose statistics are those of the row and head `at`.
#[cube]
fn end_of_key(statistics: &Tensor<f32>, at: usize) -> usize {
    usize::cast_from(statistics[at * comptime!(num_statistics(true)) + 3])
}

/// `d_q = sum_k ds k` with `ds = scale p (d_out v - projection)`.
#[cube(launch_unchecked)]
fn query_kernel<E: Float>(
    d_out: &Tensor<Vector<E, Four>>,
    q: &Tensor<Vector<E, Four>>,
    k: &Tensor<Vector<E, Four>>,
    v: &Tensor<Vector<E, Four>>,
    statistics: &Tensor<f32>,
    d_q: &mut Tensor<Vector<E, Four>>,
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
    let mut logs = Sequence::<f32>::new();
    let mut projected = Sequence::<f32>::new();
    let mut firsts = Sequence::<usize>::new();
    let width = comptime!(num_statistics(limits.table));
    #[unroll]
    for r in 0..ROWS {
        let at = (batch * tokens + rows[r]) * heads + head;
        queries.push(at * vectors);
        logs.push(statistics[at * width]);
        projected.push(statistics[at * width + 1]);
        firsts.push(first_key(statistics, at, past + rows[r], window, limits));
    }
    let mut sums = no_sums(plan);
    let mut tile = Array::<f32>::new(comptime!(ROWS * plan.columns));
    let mut d_tile = Array::<f32>::new(comptime!(ROWS * plan.columns));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(plan.rows() * plan.block()));

    let at = first_row * heads + head;
    let mut first = first_key(statistics, at, past + first_row, window, limits);
    let last = past + min(first_row + comptime!(plan.rows()), tokens) - 1;
    if comptime!(limits.path) {
        // Elsewhere the first row sees the first key.
        for row in first_row + 1..last + 1 {
            let at = row * heads + head;
            first = min(first, first_key(statistics, at, row, window, limits));
        }
    }
    for step in first / block..last / block + 1 {
        let start = step * block;
        let columns = columns_of_unit(key_head, start, last, key_stride, plan);
        scores(q, &queries, k, &columns, &mut tile, vectors);
        scores(d_out, &queries, v, &columns, &mut d_tile, vectors);
        let mut ends = Sequence::<usize>::new();
        if comptime!(limits.path) {
            #[unroll]
            for c in 0..comptime!(plan.columns) {
                let column = min(start + lane + c * lanes, last);
                ends.push(end_of_key(statistics, column * heads));
            }
        }
        #[unroll]
        for r in 0..ROWS {
            #[unroll]
            for c in 0..comptime!(plan.columns) {
                let at = comptime!(r * plan.columns + c);
                let column = start + lane + c * lanes;
                let weight = (tile[at] * scale - logs[r]).exp();
                let mut d_score = weight * (d_tile[at] - projected[r]) * scale;
                if comptime!(limits.any()) {
                    d_score = select(column >= firsts[r], d_score, 0.0f32);
                }
                if comptime!(limits.path) {
                    d_score = select(rows[r] < ends[c], d_score, 0.0f32);
                }
                weights[(group * ROWS + r) * block + lane + c * lanes] =
                    select(column <= past + rows[r], d_score, 0.0f32);
            }
        }
        sync_cube();
        let share = key_head + lane * comptime!(plan.share());
        add_weighted(
            &mut sums, &weights, group, k, share, key_stride, start, last, plan,
        );
        sync_cube();
    }
    #[unroll]
    for r in 0..ROWS {
        if first_of_group(plan) + r < tokens {
            #[unroll]
            for i in 0..comptime!(plan.share()) {
                d_q[queries[r] + lane * comptime!(plan.share()) + i] =
                    Vector::cast_from(sums[comptime!(r * plan.share() + i)]);
            }
        }
    }
}

/// `d_v = sum_q p d_out` and `d_k = sum_q ds q`, over the queries of all heads that share the key head.
#[cube(launch_unchecked)]
fn key_kernel<E: Float>(
    d_out: &Tensor<Vector<E, Four>>,
    q: &Tensor<Vector<E, Four>>,
    k: &Tensor<Vector<E, Four>>,
    v: &Tensor<Vector<E, Four>>,
    statistics: &Tensor<f32>,
    d_k: &mut Tensor<Vector<E, Four>>,
    d_v: &mut Tensor<Vector<E, Four>>,
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
    let key_head = CUBE_POS_Y as usize;
    let batch = CUBE_POS_Z as usize;
    let keys = past + tokens;
    let vectors = comptime!(plan.vectors);
    let share = comptime!(plan.share());
    let first_row = CUBE_POS_X as usize * comptime!(plan.rows());
    let query_stride = heads * vectors;

    let rows = rows_of_group(keys, plan);
    let mut places = Sequence::<usize>::new();
    let mut ends = Sequence::<usize>::new();
    #[unroll]
    for r in 0..ROWS {
        places.push(((batch * keys + rows[r]) * key_value_heads + key_head) * vectors);
        if comptime!(limits.path) {
            ends.push(end_of_key(statistics, rows[r] * heads));
        }
    }
    let mut key_sums = no_sums(plan);
    let mut value_sums = no_sums(plan);
    let mut tile = Array::<f32>::new(comptime!(ROWS * plan.columns));
    let mut d_tile = Array::<f32>::new(comptime!(ROWS * plan.columns));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(plan.rows() * plan.block()));
    let mut d_scores = Shared::<[f32]>::new_slice(comptime!(plan.rows() * plan.block()));

    // The first query that sees a key of the workgroup.
    let first_query = max(first_row, past) - past;
    let width = comptime!(num_statistics(limits.table));
    // One after the last query that sees a key of the workgroup.
    let mut end = tokens;
    let last_row = min(first_row + comptime!(plan.rows()), keys) - 1;
    if comptime!(limits.table) {
        end = end_of_key(statistics, last_row * heads);
    }
    if comptime!(limits.path) {
        // Elsewhere the last key is seen longest.
        for row in first_row..last_row {
            end = max(end, end_of_key(statistics, row * heads));
        }
    }
    if comptime!(limits.window) {
        end = min(end, max(last_row + window, past) - past);
    }
    // Where no query sees them, the loop below is empty.
    let last = max(end, 1) - 1;
    let per_key = heads / key_value_heads;
    for shared in 0..per_key {
        let head = key_head * per_key + shared;
        let query_head = (batch * tokens * heads + head) * vectors;
        for step in first_query / block..end.div_ceil(block) {
            let start = step * block;
            let columns = columns_of_unit(query_head, start, last, query_stride, plan);
            scores(k, &places, q, &columns, &mut tile, vectors);
            scores(v, &places, d_out, &columns, &mut d_tile, vectors);
            #[unroll]
            for c in 0..comptime!(plan.columns) {
                let query = start + lane + c * lanes;
                let of_query = columns[c] / vectors * width;
                let log = statistics[of_query];
                let projection = statistics[of_query + 1];
                // A query past the end sees no key.
                let seen = select(query <= last, past + query + 1, 0usize.runtime());
                let at = columns[c] / vectors;
                let first = first_key(statistics, at, past + query, window, limits);
                #[unroll]
                for r in 0..ROWS {
                    let at = comptime!(r * plan.columns + c);
                    let exponential = (tile[at] * scale - log).exp();
                    let mut weight = select(rows[r] < seen, exponential, 0.0f32);
                    if comptime!(limits.any()) {
                        weight = select(rows[r] >= first, weight, 0.0f32);
                    }
                    if comptime!(limits.path) {
                        weight = select(query < ends[r], weight, 0.0f32);
                    }
                    let to = (group * ROWS + r) * block + lane + c * lanes;
                    weights[to] = weight;
                    d_scores[to] = weight * (d_tile[at] - projection) * scale;
                }
            }
            sync_cube();
            let first = query_head + lane * share;
            add_weighted(
                &mut value_sums,
                &weights,
                group,
                d_out,
                first,
                query_stride,
                start,
                last,
                plan,
            );
            add_weighted(
                &mut key_sums,
                &d_scores,
                group,
                q,
                first,
                query_stride,
                start,
                last,
                plan,
            );
            sync_cube();
        }
    }
    #[unroll]
    for r in 0..ROWS {
        if first_of_group(plan) + r < keys {
            #[unroll]
            for i in 0..comptime!(plan.share()) {
                let to = places[r] + lane * share + i;
                d_k[to] = Vector::cast_from(key_sums[comptime!(r * plan.share() + i)]);
                d_v[to] = Vector::cast_from(value_sums[comptime!(r * plan.share() + i)]);
            }
        }
    }
}

/// See [`crate::KernelOps::attention_backward`].
pub fn backward(
    d_out: CubeTensor,
    [q, k, v]: [CubeTensor; 3],
    out: CubeTensor,
    log_sums: CubeTensor,
    sight: Sight<CubeBackend>,
    heads: Heads,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (limits, table, window) = Limits::of(sight);
    let [d_out, q, k, v, out, log_sums] = [d_out, q, k, v, out, log_sums].map(into_contiguous);
    let statistics = statistics(&d_out, out, log_sums, table, heads);
    let (d_q, d_k, d_v) = (empty_like(&q), empty_like(&k), empty_like(&v));
    let client = d_q.client.clone();
    let element = elements(&d_q);
    let plan = Plan::new(Variant::of(&client), heads);
    let count = |rows: usize, heads_: usize| {
        let tiles = rows.div_ceil(plan.rows());
        CubeCount::Static(tiles as u32, heads_ as u32, heads.batch as u32)
    };
    let args = || [&d_out, &q, &k, &v, &statistics].map(|x| x.clone().into_tensor_arg());
    // SAFETY: rows and columns are clamped to their numbers, which `heads` gives as the tensors have them.
    unsafe {
        let [d_out, q, k, v, statistics] = args();
        query_kernel::launch_unchecked(
            &client,
            count(heads.tokens, heads.query_heads),
            plan.dim(),
            d_out,
            q,
            k,
            v,
            statistics,
            d_q.clone().into_tensor_arg(),
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
        let [d_out, q, k, v, statistics] = args();
        key_kernel::launch_unchecked(
            &client,
            count(heads.keys(), heads.key_value_heads),
            plan.dim(),
            d_out,
            q,
            k,
            v,
            statistics,
            d_k.clone().into_tensor_arg(),
            d_v.clone().into_tensor_arg(),
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
    (d_q, d_k, d_v)
}
