//! Token sequences to batches, in an order that depends on the seed alone.

use serde::{Deserialize, Serialize};

use super::{TokenSequence, shuffle::permutation};

/// Rows of one micro-batch, right-padded to the longest: `b` rows of `t` tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// rows
    pub b: usize,
    /// tokens of the longest row
    pub t: usize,
    /// `[b, t]`; 0 behind a row's end
    pub ids: Vec<u32>,
    /// `[b, t]`; false behind a row's end
    pub loss_mask: Vec<bool>,
    /// `[b]`
    pub lengths: Vec<usize>,
    /// `[b]`, 0-based row numbers in the dropped file
    pub rows: Vec<usize>,
}

impl Batch {
    /// Pads sequences to one length.
    pub fn new(sequences: &[&TokenSequence]) -> Self {
        let b = sequences.len();
        let t = sequences.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let mut ids = vec![0; b * t];
        let mut loss_mask = vec![false; b * t];
        for (index, row) in sequences.iter().enumerate() {
            let place = index * t..index * t + row.ids.len();
            ids[place.clone()].copy_from_slice(&row.ids);
            loss_mask[place].copy_from_slice(&row.loss_mask);
        }
        Self {
            b,
            t,
            ids,
            loss_mask,
            lengths: sequences.iter().map(|row| row.ids.len()).collect(),
            rows: sequences.iter().map(|row| row.row).collect(),
        }
    }

    /// Tokens without the padding.
    pub fn num_tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Tokens that the loss is taken on.
    pub fn num_scored(&self) -> usize {
        self.loss_mask.iter().filter(|&&learnt| learnt).count()
    }
}

/// Batches of `batch_size` rows in the rows' order, the last one smaller: for evaluation.
pub fn in_order(
    sequences: &[TokenSequence],
    batch_size: usize,
) -> impl Iterator<Item = Batch> + '_ {
    sequences
        .chunks(batch_size.max(1))
        .map(|rows| Batch::new(&rows.iter().collect::<Vec<_>>()))
}

/// Where a run stands in its data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// 0-based
    pub epoch: u64,
    /// Rows of the epoch that were used.
    pub position: usize,
}

/// Which rows each optimizer step takes.
///
/// Every epoch takes all rows once, in the order of [`permutation`] with the epoch's number plus one as the stream. The
/// last micro-batch of an epoch and the last step of an epoch may be smaller, as with HF's `Trainer`.
#[derive(Debug, Clone)]
pub struct BatchSchedule {
    num_rows: usize,
    batch_size: usize,
    accumulation: usize,
    seed: u64,
    cursor: Cursor,
    /// Order of the cursor's epoch.
    order: Vec<usize>,
}

impl BatchSchedule {
    /// Sizes of 0 count as 1.
    pub fn new(
        num_rows: usize,
        per_device_train_batch_size: usize,
        gradient_accumulation_steps: usize,
        seed: u64,
    ) -> Self {
        let mut schedule = Self {
            num_rows,
            batch_size: per_device_train_batch_size.max(1),
            accumulation: gradient_accumulation_steps.max(1),
            seed,
            cursor: Cursor::default(),
            order: Vec::new(),
        };
        schedule.seek(Cursor::default());
        schedule
    }

    pub fn steps_per_epoch(&self) -> u64 {
        self.num_rows
            .div_ceil(self.batch_size)
            .div_ceil(self.accumulation) as u64
    }

    /// Optimizer steps of a run, counted as HF does: `max_steps` where it is above 0, else the epochs' steps, rounded up.
    pub fn num_steps(&self, num_train_epochs: f64, max_steps: u64) -> u64 {
        match max_steps {
            0 => (num_train_epochs.max(0.0) * self.steps_per_epoch() as f64).ceil() as u64,
            steps => steps,
        }
    }

    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Continues from a cursor of the same schedule.
    pub fn seek(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        self.order = permutation(self.num_rows, self.seed, cursor.epoch.wrapping_add(1));
    }

    /// Epochs done, as a fraction.
    pub fn epoch(&self) -> f64 {
        self.cursor.epoch as f64 + self.cursor.position as f64 / self.num_rows.max(1) as f64
    }

    /// Rows of the next step as indices into the training rows, one list for each micro-batch; never empty but where
    /// there are no rows.
    pub fn next_step(&mut self) -> Vec<Vec<usize>> {
        if self.num_rows == 0 {
            return Vec::new();
        }
        if self.cursor.position >= self.num_rows {
            self.seek(Cursor {
                epoch: self.cursor.epoch.wrapping_add(1),
                position: 0,
            });
        }
        let rows = &self.order[self.cursor.position..];
        let rows = &rows[..rows
            .len()
            .min(self.batch_size.saturating_mul(self.accumulation))];
        self.cursor.position += rows.len();
        rows.chunks(self.batch_size)
            .map(<[usize]>::to_vec)
            .collect()
    }
}
