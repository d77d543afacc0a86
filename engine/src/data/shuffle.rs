//! Orders drawn from a seed, the same on every machine and in every version of the crates below.

use std::cmp::Reverse;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// The numbers `0..len` in an order that depends on `seed` and `stream` alone.
///
/// Fisher-Yates from the end: for `i` from `len - 1` down to 1, `i` changes places with `(u64 * (i + 1)) >> 64`, where
/// `u64` is the next number of ChaCha8, seeded by `seed_from_u64(seed)`, on its stream `stream`.
pub fn permutation(len: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        let scaled = u128::from(random.next_u64()) * (last as u128 + 1);
        order.swap(last, (scaled >> 64) as usize);
    }
    order
}

/// The rows of an epoch so that rows of like length come together: transformers' `LengthGroupedSampler`, drawn from
/// [`permutation`].
///
/// The epoch's permutation is cut into groups of 50 batches, or of as many as make four groups, at least one; a `batch` is
/// what a step takes. Each group is sorted by length, the longest first, rows of one length staying in their order. Then
/// the longest row of all (of the first group that has one) changes places with the first, so that a step that cannot fit
/// fails at once.
pub fn grouped_by_length(lengths: &[usize], batch: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut order = permutation(lengths.len(), seed, stream);
    let batch = batch.max(1);
    let batches = (lengths.len() / batch.saturating_mul(4)).clamp(1, 50);
    let group = batch.saturating_mul(batches);
    for rows in order.chunks_mut(group) {
        rows.sort_by_key(|&row| Reverse(lengths[row]));
    }
    let firsts = (0..order.len()).step_by(group);
    // Of equals the first, as `argmax` has it; `max_by_key` would give the last.
    if let Some(longest) = firsts.min_by_key(|&first| Reverse(lengths[order[first]])) {
        order.swap(0, longest);
    }
    order
}

/// Which of `len` rows are held out: the first of a permutation on stream 0. Their number is `ratio` of the rows,
/// rounded, but at least one and at most all but one where `ratio` is above 0 and there are two rows or more.
pub fn hold_out(len: usize, ratio: f64, seed: u64) -> Vec<bool> {
    let mut is_held_out = vec![false; len];
    if len < 2 || ratio <= 0.0 {
        return is_held_out;
    }
    let count = ((len as f64 * ratio).round() as usize).clamp(1, len - 1);
    for index in permutation(len, seed, 0).into_iter().take(count) {
        is_held_out[index] = true;
    }
    is_held_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_permutations_that_depend_on_seed_and_stream() {
        let order = permutation(1000, 7, 3);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_eq!(order, permutation(1000, 7, 3));
        assert_ne!(order, permutation(1000, 8, 3));
        assert_ne!(order, permutation(1000, 7, 4));
    }

    /// Every order of four comes about equally often.
    #[test]
    fn orders_are_even() {
        let mut counts = std::collections::HashMap::new();
        for seed in 0..24_000 {
            *counts.entry(permutation(4, seed, 1)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| (850..1150).contains(count)));
    }

    /// Lengths by the rules of `transformers.trainer_pt_utils.get_length_grouped_indices`, group by group.
    #[test]
    fn rows_are_grouped_as_in_transformers() {
        for (rows, batch, group) in [(1000, 2, 100), (100, 4, 24), (30, 8, 8), (3, 8, 8)] {
            let lengths: Vec<usize> = (0..rows).map(|row| 5 + row * 7919 % 101).collect();
            let order = grouped_by_length(&lengths, batch, 3, 2);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..rows).collect::<Vec<_>>());
            let longest = lengths.iter().max().unwrap();
            assert_eq!(lengths[order[0]], *longest);
            // But for the row that gave its place to the longest, groups hold the permutation's rows, sorted.
            let drawn = permutation(rows, 3, 2);
            let mut moved = 0;
            for (group, drawn) in order.chunks(group).zip(drawn.chunks(group)) {
                let mut expected = drawn.to_vec();
                expected.sort_by_key(|&row| Reverse(lengths[row]));
                moved += group.iter().zip(&expected).filter(|(a, b)| a != b).count();
            }
            assert!(moved == 0 || moved == 2, "{moved} rows are elsewhere");
        }
    }

    #[test]
    fn some_row_is_held_out_and_some_is_not() {
        for len in 0..40 {
            for ratio in [0.0, 0.01, 0.1, 0.5, 0.9] {
                let held_out = hold_out(len, ratio, 1).iter().filter(|held| **held).count();
                let expected = match (len, ratio) {
                    (0 | 1, _) | (_, 0.0) => 0,
                    _ => ((len as f64 * ratio).round() as usize).clamp(1, len - 1),
                };
                assert_eq!(held_out, expected);
            }
        }
    }
}
