//! Combines rows into long ones, so that no token is padding: first-fit decreasing, and how an epoch draws from it.
//!
//! In epoch `e`, counted from 1: the training rows in the order of [`permutation`]`(rows, seed, e)` are sorted by
//! length, longest first; rows of equal length stay in that order. Each goes into the first bin of `max_seq_length`
//! tokens that has room for it. The epoch hands out bin `p[0]`, `p[1]` and so on, with `p` the permutation of the bins
//! on stream `2^63 + e`. Rows of a bin stay in the order in which they were added.
//!
//! ```text
//! lengths 7 2 5 3 1, bins of 8:   7 -> bin 0   5 -> bin 1   3 -> bin 1   2 -> bin 2   1 -> bin 0
//! bins [7 1] [5 3] [2]
//! ```
//!
//! The number of bins depends only on the lengths, so every epoch has the same number of steps. First-fit decreasing
//! needs at most 11/9 of the fewest possible bins, and 6/9 of a bin (Dósa, 2007). A tree over the bins finds the first
//! one with room in logarithmic time.

use std::cmp::Reverse;

use super::shuffle::permutation;

/// The stream of the bins' order is the epoch's with this bit set.
const BINS_STREAM: u64 = 1 << 63;

/// Row numbers, bin by bin. Rows are indices into the sequences, not their numbers in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bins {
    /// All rows, the first bin's first.
    rows: Vec<usize>,
    /// Where each bin ends among the rows.
    ends: Vec<usize>,
}

impl Bins {
    /// Makes bins of one row each, in the given order.
    pub fn singles(rows: Vec<usize>) -> Self {
        let ends = (1..=rows.len()).collect();
        Self { rows, ends }
    }

    /// Makes the bins of an epoch, in the order in which it hands them out, as the module's documentation defines it.
    pub fn of_epoch(lengths: &[usize], capacity: usize, seed: u64, epoch: u64) -> Self {
        let bins = first_fit(lengths, permutation(lengths.len(), seed, epoch), capacity);
        let order = permutation(bins.len(), seed, BINS_STREAM | epoch);
        Self::collect(order.iter().map(|&bin| bins[bin].as_slice()))
    }

    /// Makes bins by first-fit decreasing with rows of equal length in their given order; the bins are in the order in
    /// which they were opened.
    pub fn in_order(lengths: &[usize], capacity: usize) -> Self {
        let bins = first_fit(lengths, (0..lengths.len()).collect(), capacity);
        Self::collect(bins.iter().map(Vec::as_slice))
    }

    /// Joins bins into one list.
    fn collect<'a>(bins: impl Iterator<Item = &'a [usize]>) -> Self {
        let mut all = Self::default();
        for bin in bins {
            all.rows.extend_from_slice(bin);
            all.ends.push(all.rows.len());
        }
        all
    }

    /// Returns the number of bins.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no bins.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the rows of `count` bins from `start` on, or of fewer at the end.
    pub fn rows(&self, start: usize, count: usize) -> &[usize] {
        let end = |bins: usize| match bins.min(self.len()) {
            0 => 0,
            bins => self.ends[bins - 1],
        };
        &self.rows[end(start)..end(start.saturating_add(count))]
    }
}

/// Returns the number of bins of `capacity` tokens that rows of these lengths fill, in any epoch.
pub fn num_bins(lengths: &[usize], capacity: usize) -> usize {
    Bins::in_order(lengths, capacity).len()
}

/// Assigns rows to bins by first-fit decreasing; a row longer than `capacity` has its own bin. `order` breaks ties
/// between rows of equal length.
fn first_fit(lengths: &[usize], mut order: Vec<usize>, capacity: usize) -> Vec<Vec<usize>> {
    order.sort_by_key(|&row| Reverse(lengths[row]));
    let mut bins: Vec<Vec<usize>> = Vec::new();
    // The largest free space among the bins below each node of a binary tree, whose leaves are the bins, opened or not.
    let num_leaves = order.len().next_power_of_two();
    let mut room = vec![capacity; 2 * num_leaves];
    for row in order {
        let needed = lengths[row].min(capacity);
        // Down to the leftmost leaf with room; there are as many leaves as rows, so one always has.
        let mut node = 1;
        while node < num_leaves {
            node *= 2;
            node += usize::from(room[node] < needed);
        }
        let bin = node - num_leaves;
        if bin == bins.len() {
            bins.push(Vec::new());
        }
        bins[bin].push(row);
        room[node] -= needed;
        while node > 1 {
            node /= 2;
            room[node] = room[2 * node].max(room[2 * node + 1]);
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bins(all: &Bins) -> Vec<Vec<usize>> {
        (0..all.len())
            .map(|bin| all.rows(bin, 1).to_vec())
            .collect()
    }

    /// First-fit decreasing by its definition: every bin is tried in turn.
    fn in_turn(lengths: &[usize], capacity: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&row| Reverse(lengths[row]));
        let mut bins: Vec<Vec<usize>> = Vec::new();
        for row in order {
            let filled = |bin: &[usize]| bin.iter().map(|&row| lengths[row]).sum::<usize>();
            match bins
                .iter_mut()
                .find(|bin| filled(bin) + lengths[row] <= capacity)
            {
                Some(bin) => bin.push(row),
                None => bins.push(vec![row]),
            }
        }
        bins
    }

    proptest! {
        #[test]
        fn each_row_goes_into_the_first_bin_with_room(lengths in prop::collection::vec(1usize..40, 0..120)) {
            let all = Bins::in_order(&lengths, 40);
            prop_assert_eq!(bins(&all), in_turn(&lengths, 40));
            prop_assert_eq!(num_bins(&lengths, 40), all.len());
        }

        #[test]
        fn epochs_hold_every_row_once_in_as_many_bins(
            lengths in prop::collection::vec(1usize..30, 1..60), seed: u64, epoch in 1u64..9
        ) {
            let all = Bins::of_epoch(&lengths, 32, seed, epoch);
            prop_assert_eq!(all.len(), num_bins(&lengths, 32));
            for bin in bins(&all) {
                prop_assert!(bin.iter().map(|&row| lengths[row]).sum::<usize>() <= 32);
            }
            let mut rows = all.rows(0, usize::MAX).to_vec();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_differ_and_repeat_from_their_seed() {
        let lengths: Vec<usize> = (0..40).map(|row| 3 + row % 5).collect();
        let first = Bins::of_epoch(&lengths, 32, 7, 1);
        assert_eq!(first, Bins::of_epoch(&lengths, 32, 7, 1));
        assert_ne!(first, Bins::of_epoch(&lengths, 32, 7, 2));
        assert_ne!(first, Bins::of_epoch(&lengths, 32, 8, 1));
    }

    #[test]
    fn a_row_that_is_too_long_has_a_bin_of_its_own() {
        assert_eq!(bins(&Bins::in_order(&[3, 50, 2], 8)), [vec![1], vec![0, 2]]);
        assert!(Bins::in_order(&[], 8).is_empty());
    }
}
