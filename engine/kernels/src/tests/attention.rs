//! Compares attention and its gradients with the formula in f64.

use burn::tensor::Device;

use super::super::{Heads, Segments, attention, attention_backward};
use crate::testing::{Array, Random};

/// `q` `[b t, h hd]`, `k` and `v` `[b keys, kv hd]`.
fn reference(heads: Heads, q: &Array<2>, k: &Array<2>, v: &Array<2>) -> Array<2> {
    let (t, hd, keys) = (heads.tokens, heads.head_dim, heads.keys());
    Array::from_fn(q.shape, |index| {
        let (row, column) = (index / q.shape[1], index % q.shape[1]);
        let (batch, query, head, l) = (row / t, row % t, column / hd, column % hd);
        let of_key = |array: &Array<2>, key: usize, l: usize| {
            array.at(batch * keys + key, head / heads.group() * hd + l)
        };
        let scores: Vec<f64> = (0..=heads.past + query)
            .map(|key| {
                let dot: f64 = (0..hd)
                    .map(|l| q.at(row, head * hd + l) * of_key(k, key, l))
                    .sum();
                (dot / (hd as f64).sqrt()).exp()
            })
            .collect();
        let total: f64 = scores.iter().sum();
        let weighted = scores.iter().enumerate();
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
        let (y, log_sums) = attention(q.tensor(), k.tensor(), v.tensor(), None, heads);
        reference(heads, &q, &k, &v).assert_close("forward", y.clone(), 1e-5);
        let operands = [q.tensor(), k.tensor(), v.tensor()];
        let [d_q, d_k, d_v] = attention_backward(dy.tensor(), operands, y, log_sums, None, heads);
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
    for longest in [4, 20, 90] {
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
        let segments = Segments::new(&lengths, &Device::flex());
        let (y, log_sums) = attention(q.tensor(), k.tensor(), v.tensor(), Some(&segments), heads);
        let operands = [q.tensor(), k.tensor(), v.tensor()];
        let gradients = attention_backward(
            dy.tensor(),
            operands,
            y.clone(),
            log_sums,
            Some(&segments),
            heads,
        );
        let mut start = 0;
        for len in lengths {
            let alone = Heads {
                tokens: len,
                ..heads
            };
            let [q, k, v, dy] = [&q, &k, &v, &dy].map(|x| part(x, start, len));
            let rows = |x: burn::tensor::Tensor<2>| x.slice_dim(0, start..start + len);
            reference(alone, &q, &k, &v).assert_close("forward", rows(y.clone()), 1e-5);
            let operands = [q.tensor(), k.tensor(), v.tensor()];
            let [q, k, v] = operands.clone();
            let (y, log_sums) = attention(q, k, v, None, alone);
            let expected = attention_backward(dy.tensor(), operands, y, log_sums, None, alone);
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
        let (y, _) = attention(q.tensor(), k.tensor(), v.tensor(), None, heads);
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
        let (y, _) = attention(q.tensor(), k, v, None, heads);
        expected.assert_close("forward with room", y, 1e-5);
    }
}

/// Covers several blocks of queries, where differences would take too long: a weighted sum of the gradients is the
/// derivative along one direction.
#[test]
fn gradients_of_long_rows_point_the_right_way() {
    const STEP: f64 = 1e-5;
    let mut random = Random::new();
    for _ in 0..3 {
        let Case { heads, q, k, v } = case(&mut random, 60..110, 0);
        let dy = random.array(q.shape);
        let (y, log_sums) = attention(q.tensor(), k.tensor(), v.tensor(), None, heads);
        reference(heads, &q, &k, &v).assert_close("forward", y.clone(), 1e-5);
        let operands = [q.tensor(), k.tensor(), v.tensor()];
        let gradients = attention_backward(dy.tensor(), operands, y, log_sums, None, heads);
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
                let y = reference(heads, &moved(0, &q), &moved(1, &k), &moved(2, &v));
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
