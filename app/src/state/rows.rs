//! The rows that the table shows: a window onto many, of which the reader is asked for a few at a time.

use std::collections::BTreeMap;

use engine::protocol::{DatasetSummary, RowFilter, RowSummary};

use super::reading::ReaderId;

/// Rows asked for at once.
pub const BLOCK: usize = 64;
/// Rows kept; those farthest from the latest are dropped first.
const MAX_KEPT: usize = 1024;

/// What is known of the rows in the table, by their place in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    pub filter: RowFilter,
    /// Rows that pass the filter in all, known ones or not.
    pub total: usize,
    known: BTreeMap<usize, RowSummary>,
    /// Who has the others; `None` where these are all, as while files are still being read.
    pub reader: Option<ReaderId>,
    /// The block that the reader was asked for.
    asked: Option<usize>,
}

impl Rows {
    pub fn of(dataset: &DatasetSummary, reader: Option<ReaderId>) -> Self {
        let total = match reader {
            Some(_) => dataset.num_usable_rows,
            None => dataset.first_rows.len(),
        };
        Self {
            filter: RowFilter::All,
            total,
            known: dataset.first_rows.iter().cloned().enumerate().collect(),
            reader,
            asked: None,
        }
    }

    pub fn get(&self, index: usize) -> Option<&RowSummary> {
        self.known.get(&index)
    }

    /// Shows other rows; how many there are is known once the reader answers.
    pub fn set_filter(&mut self, filter: RowFilter, total: usize) {
        self.filter = filter;
        self.total = total;
        self.known.clear();
        self.asked = None;
    }

    /// The start of a block that lacks a row of the window, if the reader is to be asked for one now.
    pub fn wanted(&self, first: usize, count: usize) -> Option<usize> {
        if self.asked.is_some() || self.reader.is_none() {
            return None;
        }
        let end = (first + count).min(self.total);
        let missing = (first..end).find(|index| !self.known.contains_key(index))?;
        Some(missing / BLOCK * BLOCK)
    }

    pub fn ask(&mut self, start: usize) {
        self.asked = Some(start);
    }

    /// The reader has no more to give.
    pub fn stop_asking(&mut self) {
        self.reader = None;
    }

    /// Takes an answer of the reader; one to an earlier filter is too late.
    pub fn take(&mut self, start: usize, total: usize, filter: RowFilter, rows: Vec<RowSummary>) {
        if filter != self.filter {
            return;
        }
        // A block that comes back short ends the table, lest it be asked for again and again.
        let end = start + rows.len();
        let is_short = rows.len() < BLOCK && end < total;
        self.total = if is_short { end } else { total };
        self.known
            .extend((start..).zip(rows).filter(|(index, _)| *index < total));
        self.asked = None;
        while self.known.len() > MAX_KEPT {
            let (Some((&low, _)), Some((&high, _))) =
                (self.known.first_key_value(), self.known.last_key_value())
            else {
                return;
            };
            let farthest = if start.abs_diff(low) > start.abs_diff(high) {
                low
            } else {
                high
            };
            self.known.remove(&farthest);
        }
    }
}
