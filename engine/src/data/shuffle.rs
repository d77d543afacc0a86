//! Orders drawn from a seed, the same on every machine and with every version of the crates used.
//!
//! All randomness of a dataset is ChaCha8 of the run's seed, on one stream for each purpose, so that others can repeat
//! it:
//!
//! | stream | what |
//! |---|---|
//! | 0 | the split into training, validation and test rows |
//! | `e` = 1, 2, ... | the order of rows in epoch `e` |
//! | `2^63 + e` | the order of packed bins in epoch `e` |

use std::{cmp::Reverse, collections::HashMap};

use protocol::{DataSpec, Side};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// Returns the numbers `0..len` in an order that depends only on `seed` and `stream`.
///
/// Fisher-Yates from the end: for `i` from `len - 1` down to 1, `i` is swapped with `(u64 * (i + 1)) >> 64`, where
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

/// Returns the rows of an epoch, with rows of similar length together: transformers' `LengthGroupedSampler`, drawn from
/// [`permutation`].
///
/// The epoch's permutation is cut into groups of 50 batches, or of as many as make four groups, at least one; a `batch`
/// is the rows of one step. Each group is sorted by length, longest first; rows of equal length stay in order. Then the
/// longest row of all (of the first group that has one) is swapped with the first, so that a step that does not fit
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
    // The first of equals, as in `argmax`; `max_by_key` would return the last.
    if let Some(longest) = firsts.min_by_key(|&first| Reverse(lengths[order[first]])) {
        order.swap(0, longest);
    }
    order
}

/// Returns the side of each row: training, validation or test. `groups` holds each row's group number; rows of the same
/// group are on the same side, and a row without a number is its own group.
///
/// Rows whose file is for validation or testing, as `of_files` says, stay there; only the others are drawn from. Their
/// groups, in the order of their first rows, are shuffled by [`permutation`] on stream 0. The first of them are for
/// validation, until they have `validation_split` of these rows, rounded; the next are for testing, until they have
/// `test_split`. A share above 0 gets at least one group, as long as one is left for training. Nothing is drawn for a
/// side that has a file of its own.
///
/// A group is taken whole, so a side may get more than its share. Rows beyond the end of `of_files` are free.
pub fn split(groups: &[Option<u64>], of_files: &[Side], spec: &DataSpec) -> Vec<Side> {
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<u64, usize> = HashMap::new();
    let mut sides = of_files.to_vec();
    sides.resize(groups.len(), Side::Train);
    let is_free = |&(row, _): &(usize, &Option<u64>)| sides[row] == Side::Train;
    let mut num_free = 0;
    for (row, group) in groups.iter().enumerate().filter(is_free) {
        num_free += 1;
        let fresh = members.len();
        let index = match group {
            Some(group) => *known.entry(*group).or_insert(fresh),
            None => fresh,
        };
        match members.get_mut(index) {
            Some(rows) => rows.push(row),
            None => members.push(vec![row]),
        }
    }
    let mut order = permutation(members.len(), spec.seed, 0).into_iter();
    let shares = [
        (spec.validation_split, Side::Validation),
        (spec.test_split, Side::Test),
    ];
    for (ratio, side) in shares {
        if ratio <= 0.0 || of_files.contains(&side) {
            continue;
        }
        let wanted = ((num_free as f64 * ratio).round() as usize).max(1);
        let mut taken = 0;
        while taken < wanted && order.len() > 1 {
            let Some(group) = order.next() else { break };
            taken += members[group].len();
            members[group].iter().for_each(|&row| sides[row] = side);
        }
    }
    sides
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

    /// Every order of four occurs about equally often.
    #[test]
    fn orders_are_even() {
        let mut counts = std::collections::HashMap::new();
        for seed in 0..24_000 {
            *counts.entry(permutation(4, seed, 1)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| (850..1150).contains(count)));
    }

    fn spec(validation_split: f64, test_split: f64) -> DataSpec {
        DataSpec {
            validation_split,
            test_split,
            ..DataSpec::default()
        }
    }

    fn count(sides: &[Side], side: Side) -> usize {
        sides.iter().filter(|&&other| other == side).count()
    }

    /// Checks lengths by the rules of `transformers.trainer_pt_utils.get_length_grouped_indices`, group by group.
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
            // Except for the row swapped with the longest, groups hold the permutation's rows, sorted.
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
                let sides = split(&vec![None; len], &[], &spec(ratio, 0.0));
                let expected = match (len, ratio) {
                    (0 | 1, _) | (_, 0.0) => 0,
                    _ => ((len as f64 * ratio).round() as usize).clamp(1, len - 1),
                };
                assert_eq!(count(&sides, Side::Validation), expected);
                assert_eq!(count(&sides, Side::Train), len - expected);
            }
        }
    }

    /// The rows held out for validation stay the same if a test split is added.
    #[test]
    fn the_test_is_taken_from_what_would_be_trained() {
        let without = split(&[None; 50], &[], &spec(0.2, 0.0));
        let with = split(&[None; 50], &[], &spec(0.2, 0.1));
        assert_eq!(count(&with, Side::Test), 5);
        for (without, with) in without.iter().zip(&with) {
            assert!(without == with || (*without, *with) == (Side::Train, Side::Test));
        }
        assert_eq!(
            count(&split(&[None; 3], &[], &spec(0.9, 0.9)), Side::Train),
            1
        );
    }

    /// Rows of a test file are never drawn for anything else, and a side with a file of its own gets no other row.
    #[test]
    fn files_come_before_shares() {
        let of_files: Vec<Side> = (0..60)
            .map(|row| match row {
                0..40 => Side::Train,
                40..50 => Side::Validation,
                _ => Side::Test,
            })
            .collect();
        assert_eq!(split(&[None; 60], &of_files, &spec(0.5, 0.5)), of_files);
        let without_validation: Vec<Side> = of_files
            .iter()
            .map(|&side| {
                if side == Side::Validation {
                    Side::Train
                } else {
                    side
                }
            })
            .collect();
        for seed in 0..20 {
            let spec = DataSpec {
                seed,
                ..spec(0.2, 0.5)
            };
            let sides = split(&[None; 60], &without_validation, &spec);
            assert_eq!(count(&sides, Side::Validation), 10, "a fifth of 50");
            assert_eq!(count(&sides, Side::Test), 10);
            assert!(sides[50..].iter().all(|&side| side == Side::Test));
        }
    }

    #[test]
    fn groups_are_never_split() {
        let groups: Vec<_> = (0..300u64)
            .map(|row| (row % 7 != 0).then_some(row % 23))
            .collect();
        for seed in 0..20 {
            let spec = DataSpec {
                seed,
                ..spec(0.2, 0.2)
            };
            let sides = split(&groups, &[], &spec);
            let mut known = HashMap::new();
            for (group, side) in groups.iter().zip(&sides) {
                if let Some(group) = group {
                    assert_eq!(known.entry(group).or_insert(side), &side);
                }
            }
            for side in [Side::Validation, Side::Test] {
                assert!((60..85).contains(&count(&sides, side)));
            }
        }
    }
}
