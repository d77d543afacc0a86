//! The dataset on its way from the reader to the engine. What failed to be read changes nothing that was there.

use std::collections::VecDeque;

use protocol::{DatasetSummary, Failure, FailureKind, Phase, ReaderEvent, RowFilter};

use super::failure::Notice;
use super::rows::Rows;
use super::{Resting, State, Step};

/// Names one start of the reader; ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReaderId(pub u64);

/// A dataset, and the reader that can list its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub reader: ReaderId,
    pub dataset: DatasetSummary,
}

/// A reading under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    pub reader: ReaderId,
    /// What was read so far.
    pub partial: Option<DatasetSummary>,
}

/// Every dataset that is not with the engine yet, and where the rows of the one that is can be had.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Readings {
    pub present: Option<Present>,
    /// Read, and not yet taken by the engine, in the order of asking.
    pub handed: VecDeque<Held>,
    /// The reader of the dataset that the engine has.
    pub loaded: Option<ReaderId>,
    /// As far as the last reading came before it failed: its fields can still be mapped by hand.
    pub unusable: Option<DatasetSummary>,
}

impl State {
    /// Files are being read again.
    pub fn begin_reading(&mut self, reader: ReaderId, name: impl Into<String>) {
        self.readings.present = Some(Present {
            reader,
            partial: None,
        });
        self.readings.unusable = None;
        self.data.begin(name);
        self.resting = Resting::Plain;
        self.deaths.forgive();
        self.dismiss(Step::Data);
        self.settle_data();
        self.show_rows();
    }

    /// The engine is given a dataset that was read.
    pub fn hand_over(&mut self, held: Held) {
        if self.data.loading.is_none() {
            self.data.begin(held.dataset.names.join(", "));
        }
        self.readings.handed.push_back(held);
        // It is in the engine's queue after earlier requests.
        self.pending.retain(|&step| step != Step::Data);
        self.settle_data();
        self.show_rows();
    }

    /// The dataset to look at: what is being read once it has rows, else what was read last.
    pub fn shown_dataset(&self) -> Option<&DatasetSummary> {
        let present = self.readings.present.as_ref();
        present
            .and_then(|present| present.partial.as_ref())
            .or_else(|| self.whole_dataset())
    }

    /// The reader that can list the shown rows; `None` while they are still being read.
    pub fn shown_reader(&self) -> Option<ReaderId> {
        let is_partial = self
            .readings
            .present
            .as_ref()
            .is_some_and(|present| present.partial.is_some());
        let last = self.readings.handed.back().map(|held| held.reader);
        if is_partial {
            None
        } else {
            last.or(self.readings.loaded)
        }
    }

    /// The dataset whose fields are mapped: that of the last reading, even if it failed.
    pub fn mapped_dataset(&self) -> Option<&DatasetSummary> {
        self.readings
            .unusable
            .as_ref()
            .or_else(|| self.shown_dataset())
    }

    /// Whether this reader is still of use.
    pub fn needs_reader(&self, reader: ReaderId) -> bool {
        let readings = &self.readings;
        let is_present = readings
            .present
            .as_ref()
            .is_some_and(|present| present.reader == reader);
        let is_handed = readings.handed.iter().any(|held| held.reader == reader);
        is_present || is_handed || readings.loaded == Some(reader)
    }

    fn whole_dataset(&self) -> Option<&DatasetSummary> {
        let handed = self.readings.handed.back().map(|held| &held.dataset);
        handed.or(self.data.loaded.as_ref())
    }

    fn is_present(&self, reader: ReaderId) -> bool {
        let present = self.readings.present.as_ref();
        present.is_some_and(|present| present.reader == reader)
    }

    /// Takes one message of a reader. Gives the dataset that the engine is to be given, where one was read.
    pub fn apply_reader(&mut self, reader: ReaderId, event: ReaderEvent) -> Option<Held> {
        match event {
            ReaderEvent::Ready => {}
            ReaderEvent::Progress { done, total } => {
                let is_present = self.is_present(reader);
                if let Some(loading) = self.data.loading.as_mut().filter(|_| is_present) {
                    loading.advance(Phase::ReadingData, done, Some(total));
                }
            }
            ReaderEvent::Preview { dataset } => self.read_so_far(reader, dataset),
            ReaderEvent::Read { dataset } => return self.read(reader, dataset),
            ReaderEvent::Rows {
                start,
                total,
                filter,
                rows,
            } => {
                if self.shown_reader() == Some(reader) {
                    self.rows.take(start, total, filter, rows);
                }
            }
            ReaderEvent::Failed { failure } => self.reader_failed(reader, failure),
        }
        None
    }

    fn read_so_far(&mut self, reader: ReaderId, dataset: DatasetSummary) {
        if dataset.first_rows.is_empty() {
            // Nothing to look at, but there may be fields to map should it fail.
            if self.is_present(reader) && !dataset.columns.is_empty() {
                self.readings.unusable = Some(dataset);
            }
        } else if let Some(present) = self
            .readings
            .present
            .as_mut()
            .filter(|present| present.reader == reader)
        {
            present.partial = Some(dataset);
            self.readings.unusable = None;
            self.show_rows();
        }
    }

    fn read(&mut self, reader: ReaderId, dataset: DatasetSummary) -> Option<Held> {
        if !self.is_present(reader) {
            return None;
        }
        if dataset.num_usable_rows == 0 {
            let failure =
                Failure::new(FailureKind::Dataset, "none of its rows can be used").remedy(NO_ROW);
            self.read_so_far(reader, dataset);
            self.reader_failed(reader, failure);
            return None;
        }
        self.readings.present = None;
        self.readings.unusable = None;
        let held = Held { reader, dataset };
        self.hand_over(held.clone());
        Some(held)
    }

    /// The user does not want what is being read; what was there before stays.
    pub fn cancel_reading(&mut self) {
        if self.readings.present.take().is_some() {
            self.readings.unusable = None;
            self.start_when_loaded = false;
            self.settle_data();
            self.show_rows();
        }
    }

    /// A reader could not do what it was asked; one that died can do nothing more.
    pub fn reader_failed(&mut self, reader: ReaderId, failure: Failure) {
        if let Some(present) = self
            .readings
            .present
            .take_if(|present| present.reader == reader)
        {
            let seen = present.partial;
            self.readings.unusable = self.readings.unusable.take().or(seen);
            self.start_when_loaded = false;
            self.resting = Resting::Failed(failure.what.clone());
            self.settle_data();
            self.show_rows();
        } else if self.shown_reader() == Some(reader) {
            self.rows.stop_asking();
        } else {
            return;
        }
        self.notify(Notice::new(Step::Data, failure));
    }

    /// The engine took the dataset that was handed over first.
    pub(super) fn dataset_loaded(&mut self, dataset: DatasetSummary) {
        self.readings.loaded = self.readings.handed.pop_front().map(|held| held.reader);
        self.preview = None;
        self.prepared = None;
        self.plan = None;
        self.trials.first_batch = None;
        self.data.loaded = Some(dataset);
        self.settle_data();
    }

    /// The engine could not take the dataset that was handed over first.
    pub(super) fn dataset_refused(&mut self) {
        self.readings.handed.pop_front();
        self.settle_data();
        self.show_rows();
    }

    /// *Reading data* lasts until the engine has what was read.
    fn settle_data(&mut self) {
        let is_due = self.readings.present.is_some() || !self.readings.handed.is_empty();
        if !is_due {
            self.data.loading = None;
            self.pending.retain(|&step| step != Step::Data);
        } else if !self.pending.contains(&Step::Data) {
            self.pending.push_back(Step::Data);
        }
    }

    /// Shows the rows of the shown dataset from the start, unless they are shown already.
    fn show_rows(&mut self) {
        let reader = self.shown_reader();
        let rows = match self.shown_dataset() {
            Some(dataset) => Rows::of(dataset, reader),
            None => Rows::default(),
        };
        if reader.is_none() || self.rows.reader != reader {
            self.rows = rows;
        }
    }

    /// Shows all rows in the table, or those of a finding.
    pub fn filter_rows(&mut self, filter: RowFilter) {
        let Some(dataset) = self.shown_dataset() else {
            return;
        };
        let found = |kind| {
            let finding = dataset.findings.iter().find(|finding| finding.kind == kind);
            finding.map_or(0, |finding| finding.num_rows)
        };
        let total = match filter {
            RowFilter::All => dataset.num_usable_rows,
            RowFilter::Finding(kind) => found(kind),
        };
        self.rows.set_filter(filter, total);
    }

    pub(super) fn forget_readings(&mut self) {
        // A reading goes on without the engine; what was read is handed over again by the client.
        self.readings.handed.clear();
        self.readings.loaded = None;
        self.settle_data();
        self.show_rows();
    }
}

const NO_ROW: &str = "Choose below which column is the prompt and which is the completion.";
