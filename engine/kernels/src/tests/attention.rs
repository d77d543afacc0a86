//! Compares attention and its gradients with the formula in f64.

use burn::tensor::Device;

use super::super::{Heads, Visibility, attention, attention_backward};
use crate::testing::{Array, Random};

/// `q` `[b t, h hd]`, `k` and `v` `[b keys, kv hd]`.
fn reference(heads: Heads, q: &Array<2>, k: &Array<2>, v: &Array<2>) -> Array<2> {
    reference_within(usize::MAX, heads, q, k, v)
}

/// Like [`reference`], where a query sees `window` keys at most.
fn reference_within(
    window: usize,
    heads: Heads,
    q: &Array<2>,
    k: &Array<2>,
    v: &Array<2>,
) -> Array<2> {
    let (t, hd, keys) = (heads.tokens, heads.head_dim, heads.keys());
    Array::from_fn(q.shape, |index| {
        let (row, column) = (index / q.shape[1], index % q.shape[1]);
        let (batch, query, head, l) = (row / t, row % t, column / hd, column % hd);
        let of_key = |array: &Array<2>, key: usize, l: usize| {
            array.at(batch * keys + key, head / heads.group() * hd + l)
        };
        let last = heads.past + query;
        let first = (last + 1).saturating_sub(window);
        let scores: Vec<f64> = (first..=last)
            .map(|key| {
                let dot: f64 = (0..hd)
                    .map(|l| q.at(row, head * hd + l) * of_key(k, key, l))
                    .sum();
                (dot / (hd as f64).sqrt()).exp()
            })
            .collect();
        let total: f64 = scores.iter().sum();
        let weighted = (first..).zip(&scores);
        weighted
            .map(|(key, score)| score / total * of_key(v, key, l))
            .sum()
    })
}

struct Case {
    heads: Heads,
    q: Array<2>,
    k: Array<2>,
    v: Array<2>,
}

fn case(random: &mut Random, tokens: std::ops::Range<usize>, past: usize) -> Case {
    let [batch, key_value_heads, group, head_dim] =
        [1..3, 1..3, 1..4, 1..10].map(|range| random.size(range));
    let heads = Heads {
        batch,
        tokens: random.size(tokens),
        past,
        query_heads: key_value_heads * group,
        key_value_heads,
        head_dim,
    };
    let keys = [batch * heads.keys(), key_value_heads * head_dim];
    Case {
        q: random
            .array([batch * heads.tokens, heads.query_heads * head_dim])
            .times(3.0),
        k: random.array(keys).times(3.0),
        v: random.array(keys),
        heads,
    }
}

#[test]
fn both_passes_equal_the_formula() {
    let mut random = Random::new();
    for _ in 0..8 {
        let Case { heads, q, k, v } = case(&mut random, 1..8, 0);
        let dy = random.array(q.shape);
        let (y, log_sums) = attention(
            [&q, &k, &v].map(Array::tensor),
            &Visibility::causal(),
            heads,
        );
        reference(heads, &q, &k, &v).assert_close("forward", y.clone(), 1e-5);
        let operands = [q.tensor(), k.tensor(), v.tensor()];
        let [d_q, d_k, d_v] = attention_backward(
            dy.tensor(),
            operands,
            y,
            log_sums,
            &Visibility::causal(),
            heads,
        );
        let expected = q.gradient(&dy, |q| reference(heads, q, &k, &v));
        expected.assert_close("queries", d_q, 1e-4);
        let expected = k.gradient(&dy, |k| reference(heads, &q, k, &v));
        expected.assert_close("keys", d_k, 1e-4);
        let expected = v.gradient(&dy, |v| reference(heads, &q, &k, v));
        expected.assert_close("values", d_v, 1e-4);
    }
}

/// The rows of a sequence among packed ones.
fn part(array: &Array<2>, start: usize, len: usize) -> Array<2> {
    let [_, width] = array.shape;
    let values = &array.values[start * width..(start + len) * width];
    Array {
        shape: [len, width],
        values: values.to_vec(),
    }
}

#[test]
fn packed_sequences_are_as_each_by_itself() {
    let mut random = Random::new();
    for (longest, is_within) in [4, 20, 90]
        .into_iter()
        .flat_map(|n| [(n, false), (n, true)])
    {
        let window = is_within.then(|| random.size(1..longest + 1));
        let lengths: Vec<usize> = (0..random.size(1..12))
            .map(|_| random.size(1..longest + 1))
            .collect();
        let tokens: usize = lengths.iter().sum();
        let Case { mut heads, .. } = case(&mut random, tokens..tokens + 1, 0);
        heads.batch = 1;
        let [queries, keys] = [heads.query_heads, heads.key_value_heads]
            .map(|num_heads| [tokens, num_heads * heads.head_dim]);
        let (q, k) = (
            random.array(queries).times(3.0),
            random.array(keys).times(3.0),
        );
        let (v, dy) = (random.array(keys), random.array(queries));
        let segments = Visibility::segments(&lengths, &Device::flex()).within(window);
        let (y, log_sums) = attention([&q, &k, &v].map(Array::tensor), &segments, heads);
        let operands = [q.tensor(), k.tensor(), v.tensor()];
        let gradients =
            attention_backward(dy.tensor(), operands, y.clone(), log_sums, &segments, heads);
        let mut start = 0;
        for len in lengths {
            let alone = Heads {
                tokens: len,
                ..heads
            };
            let [q, k, v, dy] = [&q, &k, &v, &dy].map(|x| part(x, start, len));
            let rows = |x: burn::tensor::Tensor<2>| x.slice_dim(0, start..start + len);
            let expected = reference_within(window.unwrap_or(tokens), alone, &q, &k, &v);
            expected.assert_close("forward", rows(y.clone()), 1e-5);
            let operands = [q.tensor(), k.tensor(), v.tensor()];
            let within = Visibility::causal().within(window);
            let (y, log_sums) = attention(operands.clone(), &within, alone);
            let expected = attention_backward(dy.tensor(), operands, y, log_sums, &within, alone);
            for (expected, gradient) in expected.into_iter().zip(&gradients) {
                let shape = expected.dims();
                let values: Vec<f32> = expected.into_data().try_into_vec().unwrap();
                let values = values.into_iter().map(f64::from).collect();
                let expected = Array { shape, values };
                expected.assert_close("gradient", rows(gradient.clone()), 1e-5);
            }
            start += len;
        }
    }
}

#[test]
fn later_queries_see_what_came_before() {
    let mut random = Random::new();
    for _ in 0..8 {
        let past = random.size(1..80);
        let Case { heads, q, k, v } = case(&mut random, 1..8, past);
        let (y, _) = attention(
            [&q, &k, &v].map(Array::tensor),
            &Visibility::causal(),
            heads,
        );
        let expected = reference(heads, &q, &k, &v);
        expected.assert_close("forward", y, 1e-5);
        // A cache has room for further keys.
        let mut room = |array: &Array<2>| {
            let len = random.size(1..9) * array.shape[1];
            let values = array.values.iter().copied();
            Array {
                shape: [array.shape[0] + len / array.shape[1], array.shape[1]],
                values: values.chain(std::iter::repeat_n(f64::NAN, len)).collect(),
            }
        };
        let [k, v] = [&k, &v].map(&mut room).map(|array| array.tensor());
        let (y, _) = attention([q.tensor(), k, v], &Visibility::causal(), heads);
        expected.assert_close("forward with room", y, 1e-5);
    }
}

#[test]
fn windows_end_what_a_token_sees() {
    let mut random = Random::new();
    for tokens in [1..5, 5..9] {
        for window in [1, 2, random.size(3..20), 100] {
            let past = random.size(0..30);
            let Case { heads, q, k, v } = case(&mut random, tokens.clone(), past);
            let visibility = Visibility::causal().within(Some(window));
            let dy = random.array(q.shape);
            let operands = [&q, &k, &v].map(Array::tensor);
            let (y, log_sums) = attention(operands.clone(), &visibility, heads);
            let formula =
                |q: &Array<2>, k: &Array<2>, v: &Array<2>| reference_within(window, heads, q, k, v);
            let what = format!("window {window} of {heads:?}");
            formula(&q, &k, &v).assert_close(&what, y.clone(), 1e-5);
            let [d_q, d_k, d_v] =
                attention_backward(dy.tensor(), operands, y, log_sums, &visibility, heads);
            let expected = q.gradient(&dy, |q| formula(q, &k, &v));
            expected.assert_close(&what, d_q, 1e-4);
            let expected = k.gradient(&dy, |k| formula(&q, k, &v));
            expected.assert_close(&what, d_k, 1e-4);
            let expected = v.gradient(&dy, |v| formula(&q, &k, v));
            expected.assert_close(&what, d_v, 1e-4);
        }
    }
}

/// Covers several blocks of queries, where differences would take too long: a weighted sum of the gradients is the
/// derivative along one direction.
#[test]
fn gradients_of_long_rows_point_the_right_way() {
    const STEP: f64 = 1e-5;
    let mut random = Random::new();
    for window in [usize::MAX, random.size(2..20), random.size(20..110)] {
        let visibility = Visibility::causal().within(Some(window));
        let Case { heads, q, k, v } = case(&mut random, 60..110, 0);
        let dy = random.array(q.shape);
        let (y, log_sums) = attention([&q, &k, &v].map(Array::tensor), &visibility, heads);
        reference_within(window, heads, &q, &k, &v).assert_close("forward", y.clone(), 1e-5);
        let operands = [q.tensor(), k.tensor(), v.tensor()];
        let gradients = attention_backward(dy.tensor(), operands, y, log_sums, &visibility, heads);
        for (which, gradient) in gradients.into_iter().enumerate() {
            let shape = if which == 0 { q.shape } else { k.shape };
            let direction = random.array(shape);
            let product = |step: f64| -> f64 {
                let moved = |index: usize, x: &Array<2>| {
                    if index == which {
                        let change = direction.values.iter().map(|d| step * d);
                        let values = x.values.iter().zip(change).map(|(x, d)| x + d);
                        Array {
                            shape: x.shape,
                            values: values.collect(),
                        }
                    } else {
                        x.clone()
                    }
                };
                let y =
                    reference_within(window, heads, &moved(0, &q), &moved(1, &k), &moved(2, &v));
                y.values.iter().zip(&dy.values).map(|(y, dy)| y * dy).sum()
            };
            let expected = (product(STEP) - product(-STEP)) / (2.0 * STEP);
            let gradient: Vec<f32> = gradient.into_data().try_into_vec().unwrap();
            let terms = gradient.iter().zip(&direction.values);
            let terms: Vec<f64> = terms.map(|(g, d)| f64::from(*g) * d).collect();
            let size: f64 = terms.iter().map(|term| term.abs()).sum();
            let actual: f64 = terms.iter().sum();
            assert!(
                (actual - expected).abs() < 1e-4 * size,
                "operand {which}: {actual}, not {expected}"
            );
        }
    }
}
