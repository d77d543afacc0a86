//! Attention and its gradients.

use engine::kernels::{Heads, Visibility, attention, attention_backward};

use super::{Numbers, values, variants};
use crate::{
    device::{device, random},
    reference::{Array, Random},
};

/// Output, and gradients of `q`, `k` and `v`, by the formulas: `q` `[b t, h hd]`, `k` and `v` `[b keys, kv hd]`.
struct Reference {
    output: Array<2>,
    gradients: [Array<2>; 3],
}

/// What a query sees of the keys before it.
enum Layout {
    Rows,
    /// The lengths of the segments that the only row consists of.
    Segments(Vec<usize>),
    /// The parent of each token of the only row; trees are in depth-first order.
    Trees(Vec<Option<usize>>),
}

struct Case {
    heads: Heads,
    layout: Layout,
    window: Option<usize>,
    q: Array<2>,
    k: Array<2>,
    v: Array<2>,
    dy: Array<2>,
}

impl Case {
    fn draw(
        numbers: Numbers,
        random: &mut Random,
        tokens: usize,
        past: usize,
        head_dim: usize,
    ) -> Self {
        let [batch, key_value_heads, group] = [1..3, 1..3, 1..4].map(|range| random.size(range));
        let heads = Heads {
            batch,
            tokens,
            past,
            query_heads: key_value_heads * group,
            key_value_heads,
            head_dim,
        };
        let keys = [batch * heads.keys(), key_value_heads * head_dim];
        let queries = [batch * tokens, heads.query_heads * head_dim];
        Self {
            q: numbers.round(random.array(queries).times(3.0)),
            k: numbers.round(random.array(keys).times(3.0)),
            v: numbers.array(random, keys),
            dy: numbers.array(random, queries),
            heads,
            layout: Layout::Rows,
            window: None,
        }
    }

    /// One row of `num_segments` segments of up to `longest` tokens.
    fn draw_packed(
        numbers: Numbers,
        random: &mut Random,
        num_segments: usize,
        longest: usize,
        head_dim: usize,
    ) -> Self {
        let segments: Vec<usize> = (0..num_segments)
            .map(|_| random.size(1..longest + 1))
            .collect();
        let tokens = segments.iter().sum();
        let case = Self::draw_row(numbers, random, tokens, head_dim);
        let layout = Layout::Segments(segments);
        Self { layout, ..case }
    }

    /// One row of trees, whose branches have up to `longest` tokens.
    fn draw_trees(
        numbers: Numbers,
        random: &mut Random,
        tokens: usize,
        longest: usize,
        head_dim: usize,
    ) -> Self {
        let mut parents: Vec<Option<usize>> = Vec::new();
        while parents.len() < tokens {
            // A branch leaves the path to the last token anywhere, or begins a tree.
            let last = parents.len().checked_sub(1);
            let path: Vec<Option<usize>> =
                std::iter::successors(Some(last), |&token| token.map(|token| parents[token]))
                    .collect();
            parents.push(path[random.size(0..path.len())]);
            for _ in 1..random.size(1..longest + 1) {
                parents.push(Some(parents.len() - 1));
            }
        }
        let case = Self::draw_row(numbers, random, parents.len(), head_dim);
        let layout = Layout::Trees(parents);
        Self { layout, ..case }
    }

    fn draw_row(numbers: Numbers, random: &mut Random, tokens: usize, head_dim: usize) -> Self {
        // The first row of a random batch.
        let mut case = Self::draw(numbers, random, tokens, 0, head_dim);
        case.heads.batch = 1;
        for x in [&mut case.q, &mut case.k, &mut case.v, &mut case.dy] {
            x.values.truncate(tokens * x.shape[1]);
            x.shape[0] = tokens;
        }
        case
    }

    fn within(self, window: usize) -> Self {
        let window = Some(window);
        Self { window, ..self }
    }

    /// The keys that a query of a row sees.
    fn visible(&self, query: usize) -> Vec<usize> {
        let last = self.heads.past + query;
        let mut visible: Vec<usize> = match &self.layout {
            Layout::Rows => (0..=last).collect(),
            Layout::Segments(lengths) => {
                let mut start = 0;
                for &length in lengths {
                    if query < start + length {
                        break;
                    }
                    start += length;
                }
                (start..=last).collect()
            }
            Layout::Trees(parents) => {
                let mut path: Vec<usize> =
                    std::iter::successors(Some(query), |&token| parents[token]).collect();
                path.reverse();
                path
            }
        };
        let window = self.window.unwrap_or(visible.len());
        visible.drain(..visible.len().saturating_sub(window));
        visible
    }

    fn reference(&self) -> Reference {
        let Self {
            heads, q, k, v, dy, ..
        } = self;
        let (t, hd, keys) = (heads.tokens, heads.head_dim, heads.keys());
        let zeros = |x: &Array<2>| Array::from_fn(x.shape, |_| 0.0);
        let mut output = zeros(q);
        let mut gradients = [zeros(q), zeros(k), zeros(v)];
        let scale = 1.0 / (hd as f64).sqrt();
        for row in 0..heads.batch * t {
            for head in 0..heads.query_heads {
                let query = row * q.shape[1] + head * hd;
                let key =
                    |key: usize| (row / t * keys + key) * k.shape[1] + head / heads.group() * hd;
                let dot = |x: &Array<2>, at: usize, y: &Array<2>, to: usize| -> f64 {
                    (0..hd).map(|l| x.values[at + l] * y.values[to + l]).sum()
                };
                let visible = self.visible(row % t);
                let scores: Vec<f64> = visible
                    .iter()
                    .map(|&i| (dot(q, query, k, key(i)) * scale).exp())
                    .collect();
                let total: f64 = scores.iter().sum();
                let weights: Vec<f64> = scores.iter().map(|score| score / total).collect();
                let d_weights: Vec<f64> =
                    visible.iter().map(|&i| dot(dy, query, v, key(i))).collect();
                let mean: f64 = weights.iter().zip(&d_weights).map(|(w, d)| w * d).sum();
                for (i, (weight, d_weight)) in
                    visible.into_iter().zip(weights.iter().zip(&d_weights))
                {
                    let d_score = weight * (d_weight - mean) * scale;
                    for l in 0..hd {
                        output.values[query + l] += weight * v.values[key(i) + l];
                        gradients[0].values[query + l] += d_score * k.values[key(i) + l];
                        gradients[1].values[key(i) + l] += d_score * q.values[query + l];
                        gradients[2].values[key(i) + l] += weight * dy.values[query + l];
                    }
                }
            }
        }
        Reference { output, gradients }
    }
}

/// How far tokens are from their roots.
fn positions(parents: &[Option<usize>]) -> Vec<usize> {
    let mut positions: Vec<usize> = Vec::new();
    for parent in parents {
        positions.push(parent.map_or(0, |parent| positions[parent] + 1));
    }
    positions
}

async fn check(numbers: Numbers, variant: &str, case: Case) {
    let device = device().await;
    let Reference { output, gradients } = case.reference();
    let heads = case.heads;
    let operands = [&case.q, &case.k, &case.v].map(|x| numbers.tensor(x, &device));
    let what = format!("{variant}: {heads:?}, window {:?}", case.window);
    let visibility = match &case.layout {
        Layout::Rows => Visibility::causal(),
        Layout::Segments(lengths) => Visibility::segments(lengths, &device),
        Layout::Trees(parents) => Visibility::tree(&positions(parents), &device),
    };
    let visibility = visibility.within(case.window);
    let (y, log_sums) = attention(operands.clone(), &visibility, heads);
    let tolerance = numbers.tolerance(1e-5);
    output.assert_values_close(&what, &values(y.clone()).await, tolerance);
    let actual = attention_backward(
        numbers.tensor(&case.dy, &device),
        operands,
        y,
        log_sums,
        &visibility,
        heads,
    );
    for (name, (expected, actual)) in ["q", "k", "v"].iter().zip(gradients.iter().zip(actual)) {
        let what = format!("{what}, gradient of {name}");
        let tolerance = numbers.tolerance(1e-4);
        expected.assert_values_close(&what, &values(actual).await, tolerance);
    }
}

pub async fn both_passes_equal_the_formula(numbers: Numbers) {
    let mut random = random();
    for variant in variants() {
        // Shorter and longer than tiles and blocks; heads that vectors and lanes cut, and heads that they do not.
        for head_dim in [64, 4 * random.size(1..12), random.size(1..10)] {
            for tokens in [random.size(1..8), random.size(30..90)] {
                let case = Case::draw(numbers, &mut random, tokens, 0, head_dim);
                check(numbers, &variant, case).await;
            }
        }
    }
}

pub async fn packed_sequences_do_not_see_each_other(numbers: Numbers) {
    let mut random = random();
    for variant in variants() {
        for head_dim in [64, 4 * random.size(1..12), random.size(1..10)] {
            // Many short ones, and some that are longer than tiles and blocks.
            for (num_segments, longest) in [(random.size(1..30), 9), (random.size(2..5), 90)] {
                let case = Case::draw_packed(numbers, &mut random, num_segments, longest, head_dim);
                check(numbers, &variant, case).await;
            }
        }
    }
}

pub async fn branches_do_not_see_each_other(numbers: Numbers) {
    let mut random = random();
    for variant in variants() {
        for head_dim in [64, 4 * random.size(1..12), random.size(1..10)] {
            // Within a tile and a block, and across several of them; with many branches, and with few long ones.
            for (tokens, longest) in [(random.size(1..9), 3), (90, 5), (150, 60)] {
                let case = Case::draw_trees(numbers, &mut random, tokens, longest, head_dim);
                check(numbers, &variant, case).await;
                let case = Case::draw_trees(numbers, &mut random, tokens, longest, head_dim);
                let window = random.size(1..longest + 1);
                check(numbers, &variant, case.within(window)).await;
            }
        }
    }
}

pub async fn later_queries_see_what_came_before(numbers: Numbers) {
    let mut random = random();
    for variant in variants() {
        for tokens in [1, random.size(2..20)] {
            let past = random.size(1..80);
            let case = Case::draw(numbers, &mut random, tokens, past, 16);
            check(numbers, &variant, case).await;
        }
    }
}

pub async fn windows_end_what_a_token_sees(numbers: Numbers) {
    let mut random = random();
    for variant in variants() {
        for head_dim in [64, 4 * random.size(1..12), random.size(1..10)] {
            // Of one token, within a block, across blocks, and wider than the row.
            for window in [1, random.size(2..9), random.size(9..60), 500] {
                let [tokens, past] = [1..100, 0..50].map(|range| random.size(range));
                let case = Case::draw(numbers, &mut random, tokens, past, head_dim);
                check(numbers, &variant, case.within(window)).await;
                let count = random.size(1..9);
                let case = Case::draw_packed(numbers, &mut random, count, 40, head_dim);
                check(numbers, &variant, case.within(window)).await;
            }
        }
    }
}
