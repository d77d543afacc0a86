//! Sequences to batches, in an order that a seed fixes.

use super::{TokenSequence, shuffle::permutation};
use crate::protocol::RunSpec;

/// Rows are padded to a multiple of this, so that attention's matrices have columns for the GPU's vectors of four.
const TOKEN_MULTIPLE: usize = 4;
/// What padding holds; it is never attended to by a real token and never scored.
const PADDING_ID: u32 = 0;

/// Some rows side by side, padded on the right to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Rows.
    pub b: usize,
    /// Tokens of a padded row.
    pub t: usize,
    /// `[b t]`
    pub ids: Vec<u32>,
    /// `[b t]`; see [`TokenSequence::loss_mask`].
    pub loss_mask: Vec<bool>,
    /// Tokens of each row without padding.
    pub lengths: Vec<usize>,
    /// Row numbers in the dropped file.
    pub rows: Vec<usize>,
}

impl Batch {
    /// Pads `sequences` to one batch.
    pub fn new(sequences: &[&TokenSequence]) -> Self {
        let lengths: Vec<usize> = sequences
            .iter()
            .map(|sequence| sequence.ids.len())
            .collect();
        let t = lengths
            .iter()
            .copied()
            .max()
            .unwrap_or(0)
            .next_multiple_of(TOKEN_MULTIPLE);
        let mut ids = Vec::with_capacity(sequences.len() * t);
        let mut loss_mask = Vec::with_capacity(sequences.len() * t);
        for (row, sequence) in sequences.iter().enumerate() {
            ids.extend_from_slice(&sequence.ids);
            ids.resize((row + 1) * t, PADDING_ID);
            loss_mask.extend_from_slice(&sequence.loss_mask);
            loss_mask.resize((row + 1) * t, false);
        }
        let rows = sequences.iter().map(|sequence| sequence.row).collect();
        Self {
            b: sequences.len(),
            t,
            ids,
            loss_mask,
            lengths,
            rows,
        }
    }

    /// Tokens without padding.
    pub fn num_tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Tokens that the loss is taken on.
    pub fn num_scored(&self) -> usize {
        self.loss_mask.iter().filter(|&&scored| scored).count()
    }
}

/// Hands out the batches of each optimizer step, epoch after epoch, each epoch in an order of its own.
///
/// As in transformers' `Trainer`, an epoch's last micro-batch may be short of rows and its last step short of
/// micro-batches; neither reaches into the next epoch.
#[derive(Debug, Clone)]
pub struct BatchSchedule<'a> {
    sequences: &'a [TokenSequence],
    batch_size: usize,
    accumulation_steps: usize,
    seed: u64,
    order: Vec<usize>,
    /// Epochs begun.
    num_epochs: u64,
    /// Rows of the present epoch that were handed out.
    position: usize,
}

impl<'a> BatchSchedule<'a> {
    /// The schedule of `spec` over `sequences`, of which there is at least one.
    pub fn new(sequences: &'a [TokenSequence], spec: &RunSpec) -> Self {
        Self {
            sequences,
            batch_size: spec.per_device_train_batch_size.max(1),
            accumulation_steps: spec.gradient_accumulation_steps.max(1),
            seed: spec.seed,
            order: Vec::new(),
            num_epochs: 0,
            position: 0,
        }
    }

    /// The micro-batches of the next optimizer step.
    pub fn next_step(&mut self) -> Vec<Batch> {
        if self.position >= self.order.len() {
            self.num_epochs += 1;
            // Stream 0 is the split's.
            self.order = permutation(self.sequences.len(), self.seed, self.num_epochs);
            self.position = 0;
        }
        let end = (self.position + self.batch_size * self.accumulation_steps).min(self.order.len());
        let rows: Vec<&TokenSequence> = self.order[self.position..end]
            .iter()
            .map(|&index| &self.sequences[index])
            .collect();
        self.position = end;
        rows.chunks(self.batch_size).map(Batch::new).collect()
    }

    /// Epochs done, as a fraction.
    pub fn epoch(&self) -> f64 {
        match self.order.len() {
            0 => 0.0,
            len => (self.num_epochs - 1) as f64 + self.position as f64 / len as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sequence(row: usize, len: usize) -> TokenSequence {
        let loss_mask = (0..len).map(|index| index > len / 2).collect();
        TokenSequence {
            row,
            ids: (1..=len as u32).collect(),
            loss_mask,
        }
    }

    #[test]
    fn rows_are_padded_on_the_right_and_padding_is_not_scored() {
        let rows = [sequence(3, 5), sequence(9, 2)];
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>());
        assert_eq!((batch.b, batch.t), (2, 8));
        assert_eq!(batch.ids, [1, 2, 3, 4, 5, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            batch.num_scored(),
            rows.iter().map(TokenSequence::num_scored).sum::<usize>()
        );
        assert_eq!((batch.num_tokens(), batch.rows), (7, vec![3, 9]));
    }

    #[test]
    fn every_epoch_hands_out_every_row_once_in_another_order() {
        let rows: Vec<_> = (0..23).map(|row| sequence(row, 3 + row % 4)).collect();
        let spec = RunSpec {
            per_device_train_batch_size: 3,
            gradient_accumulation_steps: 2,
            ..RunSpec::default()
        };
        let mut schedule = BatchSchedule::new(&rows, &spec);
        let mut orders = Vec::new();
        for epoch in 1..=3 {
            let mut order = Vec::new();
            for _ in 0..4 {
                for batch in schedule.next_step() {
                    assert!(batch.b <= 3);
                    order.extend(batch.rows);
                }
            }
            assert_eq!(schedule.epoch(), f64::from(epoch));
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 23);
            orders.push(order);
        }
        assert_ne!(orders[0], orders[1]);
        let mut again = BatchSchedule::new(&rows, &spec);
        assert_eq!(again.next_step()[0].rows, orders[0][..3]);
    }
}
