//! Orders drawn from a seed, the same on every machine and in every version of the crates below.

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
