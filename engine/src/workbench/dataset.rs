//! The loaded dataset, and its latest encoding.
//!
//! The rows stay in the file that the reader wrote, which the browser holds; they are read in slices each time they are
//! encoded. Only the tokens are in memory. They depend on the model's tokenizer and on the settings, so they are made
//! when a command first needs them and kept until either changes.
//!
//! ```text
//! RowFile --slices--> StoredRow --Preparation--> TokenSequence --split--> Prepared{train, validation, test}
//! ```

use std::rc::Rc;

use protocol::{DataSpec, DatasetSummary, Event, Failure, FailureKind, Phase, RowPreview};

use super::{model::LoadedModel, run::HeldOut};
use crate::{
    data::{
        RowFile,
        prepare::{Preparation, Prepared},
    },
    host::Host,
    weights::checkpoint::NamedSource,
};

/// The number of rows encoded before yielding, so that the page hears of the progress and a cancellation arrives.
const ROWS_PER_TURN: usize = 64;

/// The loaded dataset.
pub struct LoadedDataset {
    /// What the reader found, without the rows.
    summary: DatasetSummary,
    /// Shared with the runs, which outlive the dataset.
    rows: Rc<RowFile>,
    encoded: Option<Encoded>,
}

/// The encoding for the current model, with the settings in its summary.
struct Encoded {
    prepared: Rc<Prepared>,
    held_out: Rc<HeldOut>,
}

impl LoadedDataset {
    /// Opens the file of rows that the reader wrote.
    ///
    /// The first of `files` is the file of rows; `summary` is what the reader told the page of it.
    ///
    /// # Errors
    /// [`FailureKind::Dataset`] for a damaged file.
    pub async fn open(summary: DatasetSummary, files: Vec<NamedSource>) -> Result<Self, Failure> {
        let Some(file) = files.into_iter().next() else {
            let what = "The dataset arrived without its rows.";
            return Err(Failure::new(FailureKind::Internal, what).remedy("Drop the dataset again."));
        };
        Ok(Self {
            summary,
            rows: Rc::new(RowFile::open(file.source).await?),
            encoded: None,
        })
    }

    /// What the reader found in the files.
    pub fn summary(&self) -> &DatasetSummary {
        &self.summary
    }

    /// The rows that the latest encoding holds out; `None` before there is one.
    pub fn held_out(&self) -> Option<&Rc<HeldOut>> {
        Some(&self.encoded.as_ref()?.held_out)
    }

    /// Drops the encoding, because the model and thus its tokens changed.
    pub fn forget_prepared(&mut self) {
        self.encoded = None;
    }

    /// The dataset encoded for `model` with `spec`; kept until either changes. Progress is in rows. If the encoding is
    /// cancelled or fails, the one before it stays.
    ///
    /// # Errors
    /// [`FailureKind::Dataset`] if no row can be learned.
    pub async fn prepare(
        &mut self,
        spec: &DataSpec,
        model: &LoadedModel,
        host: &dyn Host,
    ) -> Result<Rc<Prepared>, Failure> {
        let known = self.encoded.as_ref();
        if let Some(known) = known.filter(|known| known.prepared.summary.spec == *spec) {
            return Ok(known.prepared.clone());
        }
        let mut preparation = Preparation::new(model.encoder(), spec, &self.summary.files);
        let mut done = 0;
        for slice in self.rows.slices() {
            for rows in self.rows.read(slice).await?.chunks(ROWS_PER_TURN) {
                rows.iter().for_each(|row| preparation.add(row));
                done += rows.len() as u64;
                host.emit(Event::Progress {
                    phase: Phase::EncodingData,
                    done,
                    total: Some(self.rows.num_rows() as u64),
                });
                host.yield_now().await;
            }
        }
        let prepared = Rc::new(preparation.finish()?);
        self.encoded = Some(Encoded {
            held_out: Rc::new(HeldOut::new(&self.summary, &prepared, &self.rows)),
            prepared: prepared.clone(),
        });
        Ok(prepared)
    }

    /// One row as the model sees it, with the side of the split that the latest encoding put it on.
    ///
    /// # Errors
    /// [`FailureKind::WrongState`] for a row that does not exist, [`FailureKind::Dataset`] for one that cannot be
    /// rendered.
    pub async fn preview(
        &self,
        row: usize,
        spec: &DataSpec,
        model: &LoadedModel,
    ) -> Result<RowPreview, Failure> {
        let (_, found) = self.rows.row(row).await?.ok_or_else(|| {
            Failure::new(
                FailureKind::WrongState,
                format!("The dataset has no usable row {}.", row + 1),
            )
        })?;
        let encoded = self.encoded.as_ref();
        let side = encoded.and_then(|encoded| encoded.prepared.side(row));
        model
            .encoder()
            .preview(&found, spec, side)
            .map_err(|error| {
                Failure::new(FailureKind::Dataset, error.to_string())
                    .at(format!("row {}", row + 1))
                    .remedy(error.remedy())
            })
    }
}
