//! The rows that the table shows: a window onto many, which are requested from the reader a few at a time.

use std::collections::BTreeMap;

use protocol::{DatasetSummary, RowFilter, RowSummary};

use super::reading::ReaderId;

/// The number of rows requested at once.
pub const BLOCK: usize = 64;
/// The number of rows kept; those farthest from the latest are dropped first.
const MAX_KEPT: usize = 1024;

/// The known rows of the table, by their index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    pub filter: RowFilter,
    /// The number of rows that pass the filter, known or not.
    pub total: usize,
    known: BTreeMap<usize, RowSummary>,
    /// The reader that has the others; `None` if there are no others, as while files are still being read.
    pub reader: Option<ReaderId>,
    /// The block requested from the reader.
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

    /// Shows other rows; their number is known once the reader answers.
    pub fn set_filter(&mut self, filter: RowFilter, total: usize) {
        self.filter = filter;
        self.total = total;
        self.known.clear();
        self.asked = None;
    }

    /// The start of a block with missing rows of the window, if one should be requested now.
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

    /// Stops requesting rows, because the reader has no more.
    pub fn stop_asking(&mut self) {
        self.reader = None;
    }

    /// Takes an answer of the reader; an answer to an earlier filter is too late.
    pub fn take(&mut self, start: usize, total: usize, filter: RowFilter, rows: Vec<RowSummary>) {
        if filter != self.filter {
            return;
        }
        // A short block ends the table; otherwise it would be requested again and again.
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
