//! Causal attention with grouped queries, a block of queries at a time.
//!
//! Keys and values are packed into panels once; then every thread takes a head and a block of its queries, whose scores
//! `[block, keys]` are all that it holds. The backward computes the scores again from the saved log-sum-exps (Dao et
//! al., arXiv 2205.14135); the gradients of a key head are summed over its query heads at the end, in their order.

use super::{
    gemm::{Into, Output, multiply_panels, pack},
    matrix::Strided,
    panel::{Right, WIDTH},
    parallel::{self, Shared},
    row,
};
use crate::kernels::Heads;

/// Queries of a block.
const BLOCK: usize = 32;
/// Up to so many queries are taken one by one.
const FEW: usize = 4;

/// Widths of a token's queries, and of its keys and values.
fn widths(heads: Heads) -> [usize; 2] {
    [
        heads.query_heads * heads.head_dim,
        heads.key_value_heads * heads.head_dim,
    ]
}

/// The rows of one head as a matrix `[rows, hd]`.
fn head_rows<'a>(
    data: &'a [f32],
    width: usize,
    first_row: usize,
    rows: usize,
    head: usize,
    hd: usize,
) -> Strided<'a> {
    Strided::new(
        &data[first_row * width + head * hd..],
        [rows, hd],
        [width, 1],
    )
}

/// The panels of every key head's matrix, of its transpose where `transposed`: `[b kv]` of equal length.
struct HeadPanels {
    panels: Vec<f32>,
    each: usize,
}

impl HeadPanels {
    fn new(data: &[f32], heads: Heads, transposed: bool) -> Self {
        let (keys, hd, [_, width]) = (heads.keys(), heads.head_dim, widths(heads));
        let each = if transposed {
            hd * keys.next_multiple_of(WIDTH)
        } else {
            keys * hd.next_multiple_of(WIDTH)
        };
        let num = heads.batch * heads.key_value_heads;
        let mut panels = vec![0.0; num * each];
        let shared = Shared::new(&mut panels);
        parallel::for_each(num, num * each, |index| {
            let (batch, head) = (index / heads.key_value_heads, index % heads.key_value_heads);
            let matrix = head_rows(data, width, batch * keys, keys, head, hd);
            let matrix = if transposed {
                matrix.transposed()
            } else {
                matrix
            };
            // SAFETY: every index has panels of its own.
            let out = unsafe { shared.part(index * each..(index + 1) * each) };
            pack(Right::Dense(matrix), out);
        });
        Self { panels, each }
    }

    fn of(&self, batch: usize, head: usize, heads: Heads) -> &[f32] {
        let index = batch * heads.key_value_heads + head / heads.group();
        &self.panels[index * self.each..(index + 1) * self.each]
    }
}

/// A block of one head's queries.
#[derive(Clone, Copy)]
struct Block {
    batch: usize,
    head: usize,
    /// The first query, in its row of the batch.
    start: usize,
    rows: usize,
    /// Keys that the last query sees.
    visible: usize,
}

impl Block {
    fn new(heads: Heads, batch: usize, head: usize, start: usize) -> Self {
        let rows = BLOCK.min(heads.tokens - start);
        Self {
            batch,
            head,
            start,
            rows,
            visible: heads.past + start + rows,
        }
    }

    /// The first query among all positions.
    fn first_row(self, heads: Heads) -> usize {
        self.batch * heads.tokens + self.start
    }

    /// Distance of two rows of scores.
    fn stride(self) -> usize {
        self.visible.next_multiple_of(WIDTH)
    }

    /// This block's rows of a tensor `[b t, h hd]`.
    fn rows_of<'a>(self, data: &'a [f32], heads: Heads) -> Strided<'a> {
        let [width, _] = widths(heads);
        let first = self.first_row(heads);
        head_rows(data, width, first, self.rows, self.head, heads.head_dim)
    }

    /// Where this block's rows lie in a tensor `[b t, h hd]` of which each block writes its own.
    fn output<'a>(self, slice: Shared<'a>, heads: Heads) -> Output<'a> {
        let [width, _] = widths(heads);
        Output {
            slice,
            start: self.first_row(heads) * width + self.head * heads.head_dim,
            stride: width,
        }
    }

    /// `lhs B^T` against all visible keys, into rows of scores.
    fn against_keys(self, lhs: Strided<'_>, panels: &[f32], scores: &mut [f32]) {
        let out = Output {
            slice: Shared::new(scores),
            start: 0,
            stride: self.stride(),
        };
        // SAFETY: the scores are this thread's own.
        unsafe { multiply_panels(lhs, panels, lhs.cols, self.visible, out, Into::Replace) };
    }

    /// A matrix of scores as the left side of a product.
    fn scores_matrix<'a>(self, scores: &'a [f32]) -> Strided<'a> {
        Strided::new(scores, [self.rows, self.visible], [self.stride(), 1])
    }

    /// Keys that the query in this row sees.
    fn visible_to(self, row: usize, heads: Heads) -> usize {
        heads.past + self.start + row + 1
    }
}

/// About how many multiplications a forward takes.
fn work(heads: Heads) -> usize {
    heads.batch * heads.query_heads * heads.tokens * heads.keys() * heads.head_dim
}

/// See [`crate::kernels::KernelOps::attention`]: the output and the log-sum-exps.
pub fn forward(q: &[f32], k: &[f32], v: &[f32], heads: Heads) -> (Vec<f32>, Vec<f32>) {
    if heads.tokens <= FEW {
        forward_few(q, k, v, heads)
    } else {
        forward_blocks(q, k, v, heads)
    }
}

/// For a few queries, as in generation, panels of all keys would take longer than the attention itself.
fn forward_few(q: &[f32], k: &[f32], v: &[f32], heads: Heads) -> (Vec<f32>, Vec<f32>) {
    let (h, hd, [width, key_width]) = (heads.query_heads, heads.head_dim, widths(heads));
    let num_rows = heads.batch * heads.tokens;
    let (mut output, mut log_sums) = (vec![0.0; num_rows * width], vec![0.0; num_rows * h]);
    let (out, sums) = (Shared::new(&mut output), Shared::new(&mut log_sums));
    let scale = heads.scale() as f32;
    parallel::for_each(num_rows * h, work(heads), |index| {
        let (row, head) = (index / h, index % h);
        let (batch, visible) = (row / heads.tokens, heads.past + row % heads.tokens + 1);
        let query = &q[row * width + head * hd..][..hd];
        let at = |key: usize| (batch * heads.keys() + key) * key_width + head / heads.group() * hd;
        let mut scores: Vec<f32> = (0..visible)
            .map(|key| row::dot(query, &k[at(key)..][..hd]))
            .collect();
        let log_sum = row::softmax(&mut scores, visible, scale);
        // SAFETY: this query and head are this piece's alone.
        let (out, sum) = unsafe {
            let start = row * width + head * hd;
            (out.part(start..start + hd), sums.part(index..index + 1))
        };
        sum[0] = log_sum;
        for (key, weight) in scores.into_iter().enumerate() {
            row::add_scaled(&v[at(key)..][..hd], weight, out);
        }
    });
    (output, log_sums)
}

fn forward_blocks(q: &[f32], k: &[f32], v: &[f32], heads: Heads) -> (Vec<f32>, Vec<f32>) {
    let (h, hd) = (heads.query_heads, heads.head_dim);
    let num_rows = heads.batch * heads.tokens;
    let keys = HeadPanels::new(k, heads, true);
    let values = HeadPanels::new(v, heads, false);
    let (mut output, mut log_sums) = (vec![0.0; num_rows * h * hd], vec![0.0; num_rows * h]);
    let (out, sums) = (Shared::new(&mut output), Shared::new(&mut log_sums));
    let blocks = heads.tokens.div_ceil(BLOCK);
    let scale = heads.scale() as f32;
    parallel::for_each(heads.batch * h * blocks, work(heads), |index| {
        // The last blocks see most keys; they come first, so that none of them is left for the end.
        let (rest, start) = (index % (heads.batch * h), index / (heads.batch * h));
        let start = (blocks - 1 - start) * BLOCK;
        let block = Block::new(heads, rest / h, rest % h, start);
        let mut scores = vec![0.0; block.rows * block.stride()];
        let panels = keys.of(block.batch, block.head, heads);
        block.against_keys(block.rows_of(q, heads), panels, &mut scores);
        for (row, scores) in scores.chunks_exact_mut(block.stride()).enumerate() {
            let log_sum = row::softmax(scores, block.visible_to(row, heads), scale);
            let at = (block.first_row(heads) + row) * h + block.head;
            // SAFETY: this query and head are this block's alone.
            unsafe { sums.part(at..at + 1)[0] = log_sum };
        }
        let weights = block.scores_matrix(&scores);
        let panels = values.of(block.batch, block.head, heads);
        // SAFETY: these rows and columns are this block's alone.
        unsafe {
            let to = block.output(out, heads);
            multiply_panels(weights, panels, heads.keys(), hd, to, Into::Replace);
        }
    });
    (output, log_sums)
}

/// What [`backward`] starts from, in the layout of [`crate::kernels::KernelOps::attention_backward`].
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    pub d_output: &'a [f32],
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub output: &'a [f32],
    pub log_sums: &'a [f32],
}

/// Panels of keys and values as the backward needs them.
struct BackwardPanels {
    keys_transposed: HeadPanels,
    values_transposed: HeadPanels,
    keys: HeadPanels,
}

/// The gradients of queries, keys and values.
pub fn backward(operands: Operands<'_>, heads: Heads) -> [Vec<f32>; 3] {
    let (h, hd, keys) = (heads.query_heads, heads.head_dim, heads.keys());
    let panels = BackwardPanels {
        keys_transposed: HeadPanels::new(operands.k, heads, true),
        values_transposed: HeadPanels::new(operands.v, heads, true),
        keys: HeadPanels::new(operands.k, heads, false),
    };
    let each = keys * hd;
    let mut d_q = vec![0.0; heads.batch * heads.tokens * h * hd];
    // Of every query head by itself.
    let mut d_k = vec![0.0; heads.batch * h * each];
    let mut d_v = vec![0.0; heads.batch * h * each];
    let [q_out, k_out, v_out] = [&mut d_q, &mut d_k, &mut d_v].map(|out| Shared::new(out));
    parallel::for_each(heads.batch * h, work(heads), |index| {
        // SAFETY: every head has parts of its own.
        let [d_k, d_v] =
            [k_out, v_out].map(|out| unsafe { out.part(index * each..(index + 1) * each) });
        for start in (0..heads.tokens).step_by(BLOCK) {
            let block = Block::new(heads, index / h, index % h, start);
            block_backward(
                block,
                operands,
                &panels,
                heads,
                q_out,
                [&mut *d_k, &mut *d_v],
            );
        }
    });
    [d_q, sum_groups(&d_k, heads), sum_groups(&d_v, heads)]
}

fn block_backward(
    block: Block,
    operands: Operands<'_>,
    panels: &BackwardPanels,
    heads: Heads,
    d_q: Shared<'_>,
    [d_k, d_v]: [&mut [f32]; 2],
) {
    let (hd, stride, scale) = (heads.head_dim, block.stride(), heads.scale() as f32);
    let queries = block.rows_of(operands.q, heads);
    let d_output = block.rows_of(operands.d_output, heads);
    let output = block.rows_of(operands.output, heads);
    let mut weights = vec![0.0; block.rows * stride];
    let mut d_scores = vec![0.0; block.rows * stride];
    let key_panels = panels.keys_transposed.of(block.batch, block.head, heads);
    block.against_keys(queries, key_panels, &mut weights);
    let value_panels = panels.values_transposed.of(block.batch, block.head, heads);
    block.against_keys(d_output, value_panels, &mut d_scores);
    for row in 0..block.rows {
        let at = (block.first_row(heads) + row) * heads.query_heads + block.head;
        let projection = row::dot(
            d_output.rows_from(row, 1).first_row(),
            output.rows_from(row, 1).first_row(),
        );
        let range = row * stride..(row + 1) * stride;
        row::softmax_backward(
            &mut weights[range.clone()],
            &mut d_scores[range],
            block.visible_to(row, heads),
            scale,
            operands.log_sums[at],
            projection,
        );
    }
    let d_scores = block.scores_matrix(&d_scores);
    let weights = block.scores_matrix(&weights);
    let key_panels = panels.keys.of(block.batch, block.head, heads);
    // SAFETY: these rows and columns are this block's alone.
    unsafe {
        let to = block.output(d_q, heads);
        multiply_panels(d_scores, key_panels, heads.keys(), hd, to, Into::Replace);
    }
    for (scores, rows, sum) in [(d_scores, queries, d_k), (weights, d_output, d_v)] {
        let mut panels = vec![0.0; block.rows * hd.next_multiple_of(WIDTH)];
        pack(Right::Dense(rows), &mut panels);
        let to = Output {
            slice: Shared::new(sum),
            start: 0,
            stride: hd,
        };
        // SAFETY: the sums are this thread's own.
        unsafe {
            let add = Into::Add { factor: 1.0 };
            multiply_panels(scores.transposed(), &panels, block.rows, hd, to, add);
        }
    }
}

/// `[b, h, keys, hd] -> [b keys, kv hd]`, summed over the query heads of a group.
fn sum_groups(parts: &[f32], heads: Heads) -> Vec<f32> {
    let (keys, hd, group, [_, width]) =
        (heads.keys(), heads.head_dim, heads.group(), widths(heads));
    let mut sums = vec![0.0; heads.batch * keys * width];
    let shared = Shared::new(&mut sums);
    parallel::for_ranges(heads.batch * keys, group * width, |rows| {
        for row in rows {
            let (batch, key) = (row / keys, row % keys);
            // SAFETY: every row is summed once.
            let out = unsafe { shared.part(row * width..(row + 1) * width) };
            for (head, out) in out.chunks_exact_mut(hd).enumerate() {
                for member in 0..group {
                    let head = batch * heads.query_heads + head * group + member;
                    row::add(&parts[(head * keys + key) * hd..][..hd], out);
                }
            }
        }
    });
    sums
}
