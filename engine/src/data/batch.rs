//! Turns sequences into batches, in an order determined by a seed.
//!
//! ```text
//! rows [1 2 3 4 5], [6 7]     padded      1 2 3 4 5 0 0 0       b = 2, t = 8
//!                                         6 7 0 0 0 0 0 0
//!                             packed      1 2 3 4 5 6 7 0       b = 1, t = 8, segments 5 2 1
//!                             positions   0 1 2 3 4 0 1 0
//! ```
//!
//! Batches are plain vectors on the host; the model makes tensors of them.

use protocol::RunSpec;

use super::{
    TokenSequence,
    pack::Bins,
    shuffle::{grouped_by_length, permutation},
};

/// Rows are padded to a multiple of this, so that the columns of attention's matrices fit the GPU's vectors of four.
const TOKEN_MULTIPLE: usize = 4;
/// The id of padding, which no real token attends to and which is never scored.
const PADDING_ID: u32 = 0;

/// Some rows, padded on the right to the longest; or packed into a single row, one after the other, where they do not
/// see each other and positions restart with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The number of rows; 1 if they are packed.
    pub b: usize,
    /// The tokens of a padded row, or of all packed rows, a multiple of 4.
    pub t: usize,
    /// `[b t]`, row by row; 0 where there is padding.
    pub ids: Vec<u32>,
    /// `[b t]`; see [`TokenSequence::loss_mask`]. False where there is padding.
    pub loss_mask: Vec<bool>,
    /// Tokens of each row without padding; of each packed row, too.
    pub lengths: Vec<usize>,
    /// Row numbers in the dropped file, in the order of `lengths`.
    pub rows: Vec<usize>,
    /// Whether the rows are segments of a single one, which do not see each other.
    pub is_packed: bool,
}

impl Batch {
    /// Pads `sequences` to one batch.
    ///
    /// # Shapes
    /// - returns ids and mask `[b, t]`, with `b` sequences and `t` the longest, rounded up to a multiple of 4
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
            is_packed: false,
        }
    }

    /// Packs `sequences` into one row, one after the other.
    ///
    /// # Shapes
    /// - returns ids and mask `[1, t]`, with `t` the sum of their lengths, rounded up to a multiple of 4
    pub fn packed(sequences: &[&TokenSequence]) -> Self {
        let parts = sequences
            .iter()
            .map(|sequence| (sequence.row, &*sequence.ids, &*sequence.loss_mask));
        Self::pack(parts)
    }

    /// Packs rows given by their numbers, ids and masks.
    fn pack<'a>(parts: impl Iterator<Item = (usize, &'a [u32], &'a [bool])>) -> Self {
        let mut packed = Self {
            b: 1,
            t: 0,
            ids: Vec::new(),
            loss_mask: Vec::new(),
            lengths: Vec::new(),
            rows: Vec::new(),
            is_packed: true,
        };
        for (row, ids, loss_mask) in parts {
            packed.rows.push(row);
            packed.lengths.push(ids.len());
            packed.ids.extend_from_slice(ids);
            packed.loss_mask.extend_from_slice(loss_mask);
        }
        packed.t = packed.ids.len().next_multiple_of(TOKEN_MULTIPLE);
        packed.ids.resize(packed.t, PADDING_ID);
        packed.loss_mask.resize(packed.t, false);
        packed
    }

    /// Returns the same rows with unscored tokens before each of them: the virtual tokens of a learned prompt.
    ///
    /// # Shapes
    /// - `prompt`: `[p]`
    /// - returns rows of `p` more tokens, padded or packed as before
    pub fn prompted(&self, prompt: &[u32]) -> Self {
        let rows = self.starts().into_iter().zip(&self.lengths);
        let rows = rows.zip(&self.rows).map(|((start, length), &row)| {
            let tokens = start..start + length;
            TokenSequence {
                row,
                ids: [prompt, &self.ids[tokens.clone()]].concat(),
                loss_mask: [&vec![false; prompt.len()], &self.loss_mask[tokens]].concat(),
            }
        });
        let rows: Vec<TokenSequence> = rows.collect();
        let rows: Vec<&TokenSequence> = rows.iter().collect();
        if self.is_packed {
            Self::packed(&rows)
        } else {
            Self::new(&rows)
        }
    }

    /// Splits a packed batch into batches of at most `max_tokens`, or of one longer row; together they have the same
    /// loss and gradient. `None` if the batch is not larger than that or is not packed.
    ///
    /// Rows are assigned to passes by first-fit decreasing, so their order changes.
    pub fn passes(&self, max_tokens: usize) -> Option<Vec<Self>> {
        if !self.is_packed || self.num_tokens() <= max_tokens {
            return None;
        }
        let bins = Bins::in_order(&self.lengths, max_tokens.max(1));
        let starts = self.starts();
        let part = |&row: &usize| {
            let tokens = starts[row]..starts[row] + self.lengths[row];
            let (ids, mask) = (&self.ids[tokens.clone()], &self.loss_mask[tokens]);
            (self.rows[row], ids, mask)
        };
        let passes = (0..bins.len()).map(|bin| Self::pack(bins.rows(bin, 1).iter().map(part)));
        Some(passes.collect())
    }

    /// Returns the lengths of the segments of a packed batch, including the padding at the end, which is a segment of
    /// its own. `None` if the batch is not packed.
    pub fn segments(&self) -> Option<Vec<usize>> {
        let padding = self.t - self.num_tokens().min(self.t);
        let lengths = self.lengths.iter().copied();
        let segments = lengths.chain([padding]).filter(|&length| length > 0);
        self.is_packed.then(|| segments.collect())
    }

    /// Returns where each row's tokens begin among `ids`.
    pub fn starts(&self) -> Vec<usize> {
        let mut end = 0;
        let start = |(row, length): (usize, &usize)| {
            let start = if self.is_packed { end } else { row * self.t };
            end = start + length;
            start
        };
        self.lengths.iter().enumerate().map(start).collect()
    }

    /// Returns the number of tokens without padding.
    pub fn num_tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Returns the number of tokens with padding, which is what is computed.
    pub fn num_padded(&self) -> usize {
        self.ids.len()
    }

    /// Returns the number of tokens that the loss covers.
    pub fn num_scored(&self) -> usize {
        self.loss_mask.iter().filter(|&&scored| scored).count()
    }
}

/// Makes batches of rows for evaluation, in order: as many rows as a micro-batch has, or, if `spec` asks for packing,
/// one bin at a time.
///
/// They are made one by one, so only one is in memory.
pub fn evaluation_batches<'a>(
    sequences: &'a [TokenSequence],
    spec: &RunSpec,
) -> impl Iterator<Item = Batch> + use<'a> {
    let bins = if spec.packing {
        Bins::in_order(&lengths(sequences), spec.data.max_seq_length)
    } else {
        Bins::singles((0..sequences.len()).collect())
    };
    let is_packed = spec.packing;
    let size = if is_packed {
        1
    } else {
        spec.per_device_train_batch_size.max(1)
    };
    let starts = (0..bins.len()).step_by(size);
    starts.map(move |start| batch(sequences, bins.rows(start, size), is_packed))
}

/// Returns the number of tokens of each row.
fn lengths(sequences: &[TokenSequence]) -> Vec<usize> {
    let lengths = sequences.iter().map(|sequence| sequence.ids.len());
    lengths.collect()
}

/// Makes the batch of the sequences with these indices.
fn batch(sequences: &[TokenSequence], rows: &[usize], is_packed: bool) -> Batch {
    let rows: Vec<&TokenSequence> = rows.iter().map(|&row| &sequences[row]).collect();
    if is_packed {
        Batch::packed(&rows)
    } else {
        Batch::new(&rows)
    }
}

/// Hands out the batches of each optimizer step, epoch by epoch, each epoch in its own order: rows are shuffled, or
/// grouped by length (see [`grouped_by_length`]), or packed into bins, of which a micro-batch takes as many as it would
/// take rows (see [`super::pack`]).
///
/// As in transformers' `Trainer`, an epoch's last micro-batch may be short of rows and its last step short of
/// micro-batches; neither reaches into the next epoch.
#[derive(Debug, Clone)]
pub struct BatchSchedule<'a> {
    /// The training rows.
    sequences: &'a [TokenSequence],
    /// Bins of a micro-batch, `per_device_train_batch_size`.
    batch_size: usize,
    /// Micro-batches of a step, `gradient_accumulation_steps`.
    accumulation_steps: usize,
    seed: u64,
    /// Whether rows of similar length share a step; without effect if rows are packed.
    group_by_length: bool,
    /// The tokens of a bin, if rows are packed.
    capacity: Option<usize>,
    /// The bins of the current epoch; without packing, each has one row.
    bins: Bins,
    /// The number of epochs begun.
    num_epochs: u64,
    /// The number of bins of the current epoch already handed out.
    position: usize,
    /// The tokens, with padding, of the current epoch from each of its steps on; 0 at its end.
    tokens_from: Vec<usize>,
}

impl<'a> BatchSchedule<'a> {
    /// Makes the schedule of `spec` over `sequences`, which must not be empty. No order is drawn before the first step.
    pub fn new(sequences: &'a [TokenSequence], spec: &RunSpec) -> Self {
        Self {
            sequences,
            batch_size: spec.per_device_train_batch_size.max(1),
            accumulation_steps: spec.gradient_accumulation_steps.max(1),
            seed: spec.seed,
            group_by_length: spec.group_by_length,
            capacity: spec.packing.then_some(spec.data.max_seq_length),
            bins: Bins::default(),
            num_epochs: 0,
            position: 0,
            tokens_from: Vec::new(),
        }
    }

    /// Returns the micro-batches of the next optimizer step; never none, since an epoch is followed by the next.
    pub fn next_step(&mut self) -> Vec<Batch> {
        if self.position >= self.bins.len() {
            self.num_epochs += 1;
            self.bins = self.bins_of_epoch();
            self.position = 0;
            self.tokens_from = self.tokens_of_epoch();
        }
        let start = self.position;
        self.position = (start + self.bins_of_step()).min(self.bins.len());
        let starts = (start..self.position).step_by(self.batch_size);
        starts
            .map(|start| {
                let rows = self.bins.rows(start, self.batch_size);
                batch(self.sequences, rows, self.capacity.is_some())
            })
            .collect()
    }

    /// Draws the bins of the current epoch; epoch `e`, counted from 1, has stream `e` of the seed.
    fn bins_of_epoch(&self) -> Bins {
        // Stream 0 belongs to the split.
        let (seed, stream) = (self.seed, self.num_epochs);
        if let Some(capacity) = self.capacity {
            return Bins::of_epoch(&lengths(self.sequences), capacity, seed, stream);
        }
        Bins::singles(if self.group_by_length {
            let step = self.batch_size * self.accumulation_steps;
            grouped_by_length(&lengths(self.sequences), step, seed, stream)
        } else {
            permutation(self.sequences.len(), seed, stream)
        })
    }

    /// Returns the number of bins of a whole step.
    fn bins_of_step(&self) -> usize {
        self.batch_size * self.accumulation_steps
    }

    /// Returns the tokens, with padding, from each step of the current epoch to its end, and 0 for the end itself.
    ///
    /// ```text
    /// steps of 40, 30 and 20 tokens   ->   90 50 20 0
    /// ```
    fn tokens_of_epoch(&self) -> Vec<usize> {
        let length = |row: &usize| self.sequences[*row].ids.len();
        let tokens = |start: usize| {
            let rows = self.bins.rows(start, self.batch_size);
            if self.capacity.is_some() {
                let sum: usize = rows.iter().map(length).sum();
                sum.next_multiple_of(TOKEN_MULTIPLE)
            } else {
                let longest = rows.iter().map(length).max().unwrap_or(0);
                rows.len() * longest.next_multiple_of(TOKEN_MULTIPLE)
            }
        };
        let of_step = |start: usize| -> usize {
            let end = (start + self.bins_of_step()).min(self.bins.len());
            (start..end).step_by(self.batch_size).map(tokens).sum()
        };
        let starts = (0..self.bins.len()).step_by(self.bins_of_step());
        let mut tokens_from: Vec<usize> = starts.map(of_step).chain([0]).collect();
        for step in (1..tokens_from.len()).rev() {
            tokens_from[step - 1] += tokens_from[step];
        }
        tokens_from
    }

    /// Returns the tokens, with padding, of so many steps ahead: counted in the current epoch; a later one is taken to
    /// have as many as the current one. 0 before the first step.
    pub fn tokens_ahead(&self, num_steps: u64) -> f64 {
        let per_epoch = self.tokens_from.len().saturating_sub(1);
        let done = self.position.div_ceil(self.bins_of_step());
        let Some(&in_epoch) = self.tokens_from.get(done) else {
            return 0.0;
        };
        let beyond = num_steps.saturating_sub((per_epoch - done) as u64);
        if beyond == 0 {
            return (in_epoch - self.tokens_from[done + num_steps as usize]) as f64;
        }
        in_epoch as f64 + beyond as f64 * self.tokens_from[0] as f64 / per_epoch as f64
    }

    /// Returns the number of epochs done, as a fraction; 0 before the first step.
    pub fn epoch(&self) -> f64 {
        match self.bins.len() {
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
    fn packed_rows_lie_one_behind_the_other() {
        let rows = [sequence(3, 5), sequence(9, 2), sequence(4, 3)];
        let batch = Batch::packed(&rows.iter().collect::<Vec<_>>());
        assert_eq!((batch.b, batch.t, batch.num_tokens()), (1, 12, 10));
        assert_eq!(batch.ids, [1, 2, 3, 4, 5, 1, 2, 1, 2, 3, 0, 0]);
        assert_eq!(batch.segments(), Some(vec![5, 2, 3, 2]));
        assert_eq!(batch.starts(), [0, 5, 7]);
        let unpacked = Batch::new(&rows.iter().collect::<Vec<_>>());
        assert_eq!(unpacked.segments(), None);
        assert_eq!(unpacked.starts(), [0, 8, 16]);
        assert_eq!(batch.num_scored(), unpacked.num_scored());
        // Without a remainder there is no padding.
        let whole = Batch::packed(&[&rows[0], &rows[2]]);
        assert_eq!(whole.segments(), Some(vec![5, 3]));
    }

    #[test]
    fn packed_epochs_hand_out_every_row_once_in_full_batches() {
        let rows: Vec<_> = (0..50).map(|row| sequence(row, 3 + row * 7 % 11)).collect();
        let mut spec = RunSpec {
            packing: true,
            per_device_train_batch_size: 2,
            ..RunSpec::default()
        };
        spec.data.max_seq_length = 16;
        let mut schedule = BatchSchedule::new(&rows, &spec);
        let lengths = lengths(&rows);
        let num_steps = crate::data::pack::num_bins(&lengths, 16).div_ceil(2);
        for epoch in 1..=2 {
            let mut seen = BTreeSet::new();
            for _ in 0..num_steps {
                for batch in schedule.next_step() {
                    assert!(batch.is_packed && batch.t <= 32);
                    seen.extend(batch.rows);
                }
            }
            assert_eq!((seen.len(), schedule.epoch()), (50, f64::from(epoch)));
        }
        let scored: usize = rows.iter().map(TokenSequence::num_scored).sum();
        for packing in [true, false] {
            let spec = RunSpec {
                packing,
                ..spec.clone()
            };
            let batches: Vec<Batch> = evaluation_batches(&rows, &spec).collect();
            assert_eq!(batches.iter().map(Batch::num_scored).sum::<usize>(), scored);
            assert_eq!(batches.iter().all(|batch| batch.is_packed), packing);
        }
    }

    #[test]
    fn passes_hold_every_packed_row_once() {
        let lengths = [5, 3, 9, 2, 2, 7, 4];
        let rows: Vec<_> = (0..7).map(|row| sequence(row, lengths[row])).collect();
        let all: Vec<&TokenSequence> = rows.iter().collect();
        assert_eq!(Batch::new(&all).passes(4), None, "padded");
        let packed = Batch::packed(&all);
        assert_eq!(packed.passes(32), None, "all at once");
        for max_tokens in 0..32 {
            let passes = packed.passes(max_tokens).unwrap();
            let mut seen: Vec<usize> = Vec::new();
            for pass in &passes {
                assert!(pass.num_tokens() <= max_tokens || pass.rows.len() == 1);
                let of_pass: Vec<&TokenSequence> =
                    pass.rows.iter().map(|&row| &rows[row]).collect();
                assert_eq!(pass, &Batch::packed(&of_pass));
                seen.extend(&pass.rows);
            }
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6], "{max_tokens} tokens");
        }
    }

    #[test]
    fn a_prompt_comes_before_every_row() {
        let rows = [sequence(3, 5), sequence(9, 2)];
        let rows: Vec<&TokenSequence> = rows.iter().collect();
        let padded = Batch::new(&rows).prompted(&[100, 101]);
        assert_eq!((padded.t, &*padded.lengths), (8, &[7, 4][..]));
        assert_eq!(padded.ids[..8], [100, 101, 1, 2, 3, 4, 5, 0]);
        assert_eq!(padded.ids[8..12], [100, 101, 1, 2]);
        let packed = Batch::packed(&rows).prompted(&[100, 101]);
        assert_eq!(packed.ids[..11], [100, 101, 1, 2, 3, 4, 5, 100, 101, 1, 2]);
        for batch in [padded, packed] {
            assert_eq!(batch.num_scored(), Batch::new(&rows).num_scored());
            assert_eq!(batch.rows, [3, 9]);
            let scored = (0..batch.ids.len()).filter(|&at| batch.loss_mask[at]);
            assert!(scored.into_iter().all(|at| batch.ids[at] < 100));
        }
    }

    #[test]
    fn rows_of_like_length_come_together_where_asked() {
        let rows: Vec<_> = (0..400)
            .map(|row| sequence(row, 2 + row * 13 % 50))
            .collect();
        let padding = |group_by_length| {
            let spec = RunSpec {
                group_by_length,
                ..RunSpec::default()
            };
            let mut schedule = BatchSchedule::new(&rows, &spec);
            let batches: Vec<Batch> = (0..100).flat_map(|_| schedule.next_step()).collect();
            assert_eq!(schedule.epoch(), 1.0);
            let padded: usize = batches.iter().map(|batch| batch.ids.len()).sum();
            padded - batches.iter().map(Batch::num_tokens).sum::<usize>()
        };
        let (shuffled, grouped) = (padding(false), padding(true));
        assert!(5 * grouped < shuffled, "{grouped} of {shuffled} tokens");
    }

    /// Compares what is ahead with what then comes, in every position of two epochs.
    #[test]
    fn the_tokens_ahead_are_those_of_the_batches_to_come() {
        let rows: Vec<_> = (0..61)
            .map(|row| sequence(row, 2 + row * 13 % 50))
            .collect();
        for (packing, group_by_length) in [(false, false), (false, true), (true, false)] {
            let mut spec = RunSpec {
                packing,
                group_by_length,
                per_device_train_batch_size: 3,
                gradient_accumulation_steps: 2,
                ..RunSpec::default()
            };
            spec.data.max_seq_length = 64;
            let mut schedule = BatchSchedule::new(&rows, &spec);
            let tokens = |schedule: &mut BatchSchedule<'_>| -> usize {
                schedule.next_step().iter().map(Batch::num_padded).sum()
            };
            let mut num_seen = 0;
            while schedule.epoch() < 2.0 || schedule.num_epochs < 2 {
                tokens(&mut schedule);
                let per_epoch = schedule.tokens_from.len() - 1;
                let left = per_epoch - schedule.position.div_ceil(6);
                for num_steps in 0..=left {
                    let mut ahead = schedule.clone();
                    let expected: usize = (0..num_steps).map(|_| tokens(&mut ahead)).sum();
                    let counted = schedule.tokens_ahead(num_steps as u64);
                    assert_eq!(counted, expected as f64, "{num_steps} steps");
                    num_seen += 1;
                }
                let whole = schedule.tokens_ahead((left + per_epoch) as u64);
                let rest = schedule.tokens_ahead(left as u64);
                assert_eq!(
                    whole - rest,
                    schedule.tokens_from[0] as f64,
                    "an epoch more"
                );
            }
            assert!(num_seen > 20, "{num_seen}");
        }
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
