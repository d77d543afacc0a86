//! Attention with grouped queries, a block of one sequence's queries at a time.
//!
//! Keys and values are packed into panels once; then every thread takes a head and a block of its queries, and holds
//! only their scores `[block, keys]`. The backward recomputes the scores from the saved log-sum-exps (Dao et al., arXiv
//! 2205.14135); the gradients of a key head are summed over its query heads at the end, in their order.

mod block;
mod sequence;

pub use sequence::Sequences;

use super::{
    gemm::{Accumulation, Output, multiply_panels, pack},
    matrix::Strided,
    panel::{Right, WIDTH},
    parallel::{self, Shared},
    row,
};
use crate::Heads;
use block::{BLOCK, Block};
use sequence::Sequence;

/// Up to this many queries are handled one by one.
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

/// The panels of every sequence's and key head's matrix, of its transpose where `transposed`: `[b, kv]`.
struct HeadPanels {
    panels: Vec<f32>,
    /// Where each of them begins, and the end.
    starts: Vec<usize>,
}

impl HeadPanels {
    fn new(data: &[f32], sequences: &Sequences, transposed: bool) -> Self {
        let heads = sequences.heads;
        let (hd, kv, [_, width]) = (heads.head_dim, heads.key_value_heads, widths(heads));
        let mut starts = vec![0];
        for sequence in &sequences.list {
            let each = if transposed {
                hd * sequence.keys.next_multiple_of(WIDTH)
            } else {
                sequence.keys * hd.next_multiple_of(WIDTH)
            };
            let first = starts[starts.len() - 1];
            starts.extend((1..=kv).map(|head| first + head * each));
        }
        let num = starts.len() - 1;
        let mut panels = vec![0.0; starts[num]];
        let shared = Shared::new(&mut panels);
        parallel::for_each(num, starts[num], |index| {
            let Sequence {
                first_key, keys, ..
            } = sequences.list[index / kv];
            let matrix = head_rows(data, width, first_key, keys, index % kv, hd);
            let matrix = if transposed {
                matrix.transposed()
            } else {
                matrix
            };
            // SAFETY: every index has panels of its own.
            let out = unsafe { shared.part(starts[index]..starts[index + 1]) };
            pack(Right::Dense(matrix), out);
        });
        Self { panels, starts }
    }

    fn of(&self, block: Block<'_>, heads: Heads) -> &[f32] {
        let index = block.index * heads.key_value_heads + block.head / heads.group();
        &self.panels[self.starts[index]..self.starts[index + 1]]
    }
}

/// See [`crate::KernelOps::attention`]: the output and the log-sum-exps.
pub fn forward(q: &[f32], k: &[f32], v: &[f32], sequences: &Sequences) -> (Vec<f32>, Vec<f32>) {
    if sequences.heads.tokens <= FEW {
        forward_few(q, k, v, sequences)
    } else {
        forward_blocks(q, k, v, sequences)
    }
}

/// For a few queries, as in generation, panels of all keys would take longer than the attention itself.
fn forward_few(q: &[f32], k: &[f32], v: &[f32], sequences: &Sequences) -> (Vec<f32>, Vec<f32>) {
    let heads = sequences.heads;
    let (h, hd, [width, key_width]) = (heads.query_heads, heads.head_dim, widths(heads));
    let num_rows = sequences.num_queries();
    let (mut output, mut log_sums) = (vec![0.0; num_rows * width], vec![0.0; num_rows * h]);
    let (out, sums) = (Shared::new(&mut output), Shared::new(&mut log_sums));
    let scale = heads.scale() as f32;
    parallel::for_each(num_rows * h, sequences.work(), |index| {
        let (row, head) = (index / h, index % h);
        let after = sequences
            .list
            .partition_point(|other| other.first_query <= row);
        let of_row = sequences.list[after - 1];
        let position = of_row.keys - of_row.tokens + row - of_row.first_query;
        let first = sequences.first_visible(of_row, position);
        let query = &q[row * width + head * hd..][..hd];
        let at = |key: usize| (of_row.first_key + key) * key_width + head / heads.group() * hd;
        let mut scores: Vec<f32> = (first..=position)
            .map(|key| row::dot(query, &k[at(key)..][..hd]))
            .collect();
        sequences.hide_branches(of_row, position, first, &mut scores);
        let log_sum = row::softmax(&mut scores, 0..position + 1 - first, scale);
        // SAFETY: this query and head are this piece's alone.
        let (out, sum) = unsafe {
            let start = row * width + head * hd;
            (out.part(start..start + hd), sums.part(index..index + 1))
        };
        sum[0] = log_sum;
        for (key, weight) in (first..).zip(scores) {
            row::add_scaled(&v[at(key)..][..hd], weight, out);
        }
    });
    (output, log_sums)
}

fn forward_blocks(q: &[f32], k: &[f32], v: &[f32], sequences: &Sequences) -> (Vec<f32>, Vec<f32>) {
    let heads = sequences.heads;
    let (h, hd) = (heads.query_heads, heads.head_dim);
    let num_rows = sequences.num_queries();
    let keys = HeadPanels::new(k, sequences, true);
    let values = HeadPanels::new(v, sequences, false);
    let (mut output, mut log_sums) = (vec![0.0; num_rows * h * hd], vec![0.0; num_rows * h]);
    let (out, sums) = (Shared::new(&mut output), Shared::new(&mut log_sums));
    let all = sequences.list.iter().enumerate();
    let mut blocks: Vec<(usize, usize)> = all
        .flat_map(|(index, sequence)| {
            let starts = (0..sequence.tokens).step_by(BLOCK);
            starts.map(move |start| (start, index))
        })
        .collect();
    // The last blocks see most keys; they come first, so that none of them is left for the end.
    blocks.sort_by_key(|&(start, _)| std::cmp::Reverse(start));
    let scale = heads.scale() as f32;
    parallel::for_each(blocks.len() * h, sequences.work(), |index| {
        let (start, sequence) = blocks[index / h];
        let block = Block::new(sequences, sequence, index % h, start);
        let mut scores = vec![0.0; block.rows * block.stride()];
        block.against_keys(block.rows_of(q, heads), keys.of(block, heads), &mut scores);
        for (row, scores) in scores.chunks_exact_mut(block.stride()).enumerate() {
            let visible = block.visible_of(row, scores);
            let log_sum = row::softmax(scores, visible, scale);
            let at = (block.first_row + row) * h + block.head;
            // SAFETY: this query and head are this block's alone.
            unsafe { sums.part(at..at + 1)[0] = log_sum };
        }
        let weights = block.scores_matrix(&scores);
        let (panels, depth) = (values.of(block, heads), block.sequence.keys);
        // SAFETY: these rows and columns are this block's alone.
        unsafe {
            let to = block.output(out, heads);
            multiply_panels(
                weights,
                panels,
                depth,
                block.skipped,
                hd,
                to,
                Accumulation::Replace,
            );
        }
    });
    (output, log_sums)
}

/// What [`backward`] starts from, in the layout of [`crate::KernelOps::attention_backward`].
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
pub fn backward(operands: Operands<'_>, sequences: &Sequences) -> [Vec<f32>; 3] {
    let heads = sequences.heads;
    let (h, hd, keys) = (heads.query_heads, heads.head_dim, sequences.num_keys());
    let panels = BackwardPanels {
        keys_transposed: HeadPanels::new(operands.k, sequences, true),
        values_transposed: HeadPanels::new(operands.v, sequences, true),
        keys: HeadPanels::new(operands.k, sequences, false),
    };
    let mut d_q = vec![0.0; sequences.num_queries() * h * hd];
    // For each query head separately, `[h, b keys, hd]`.
    let mut d_k = vec![0.0; h * keys * hd];
    let mut d_v = vec![0.0; h * keys * hd];
    let [q_out, k_out, v_out] = [&mut d_q, &mut d_k, &mut d_v].map(|out| Shared::new(out));
    parallel::for_each(sequences.list.len() * h, sequences.work(), |index| {
        let (index, head) = (index / h, index % h);
        let sequence = sequences.list[index];
        let first = (head * keys + sequence.first_key) * hd;
        // SAFETY: every head of a sequence has parts of its own.
        let [d_k, d_v] =
            [k_out, v_out].map(|out| unsafe { out.part(first..first + sequence.keys * hd) });
        for start in (0..sequence.tokens).step_by(BLOCK) {
            let block = Block::new(sequences, index, head, start);
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
    block: Block<'_>,
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
    let key_panels = panels.keys_transposed.of(block, heads);
    block.against_keys(queries, key_panels, &mut weights);
    let value_panels = panels.values_transposed.of(block, heads);
    block.against_keys(d_output, value_panels, &mut d_scores);
    for row in 0..block.rows {
        let at = (block.first_row + row) * heads.query_heads + block.head;
        let projection = row::dot(
            d_output.rows_from(row, 1).first_row(),
            output.rows_from(row, 1).first_row(),
        );
        let range = row * stride..(row + 1) * stride;
        let weights = &mut weights[range.clone()];
        let visible = block.visible_of(row, weights);
        row::softmax_backward(
            weights,
            &mut d_scores[range],
            visible,
            scale,
            operands.log_sums[at],
            projection,
        );
    }
    let d_scores = block.scores_matrix(&d_scores);
    let weights = block.scores_matrix(&weights);
    let (key_panels, depth) = (panels.keys.of(block, heads), block.sequence.keys);
    // SAFETY: these rows and columns are this block's alone.
    unsafe {
        let to = block.output(d_q, heads);
        multiply_panels(
            d_scores,
            key_panels,
            depth,
            block.skipped,
            hd,
            to,
            Accumulation::Replace,
        );
    }
    for (scores, rows, sum) in [(d_scores, queries, d_k), (weights, d_output, d_v)] {
        let mut panels = vec![0.0; block.rows * hd.next_multiple_of(WIDTH)];
        pack(Right::Dense(rows), &mut panels);
        let to = Output {
            slice: Shared::new(sum),
            start: block.skipped * hd,
            stride: hd,
        };
        // SAFETY: the sums are this thread's own.
        unsafe {
            let add = Accumulation::Add { factor: 1.0 };
            multiply_panels(scores.transposed(), &panels, block.rows, 0, hd, to, add);
        }
    }
}

/// `[h, b keys, hd] -> [b keys, kv hd]`, summed over the query heads of a group.
fn sum_groups(parts: &[f32], heads: Heads) -> Vec<f32> {
    let (hd, group, [_, width]) = (heads.head_dim, heads.group(), widths(heads));
    let keys = heads.batch * heads.keys();
    let mut sums = vec![0.0; keys * width];
    let shared = Shared::new(&mut sums);
    parallel::for_ranges(keys, group * width, |rows| {
        for key in rows {
            // SAFETY: every row is summed once.
            let out = unsafe { shared.part(key * width..(key + 1) * width) };
            for (head, out) in out.chunks_exact_mut(hd).enumerate() {
                for member in head * group..(head + 1) * group {
                    row::add(&parts[(member * keys + key) * hd..][..hd], out);
                }
            }
        }
    });
    sums
}
