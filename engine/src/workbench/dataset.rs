//! The loaded dataset, and what it was last encoded to.

use std::rc::Rc;

use super::model::LoadedModel;
use crate::{
    data::{
        format::{self, Dataset},
        prepare::{Preparation, Prepared},
    },
    host::Host,
    protocol::{
        DataSpec, DatasetSummary, Event, Failure, FailureKind, Phase, RowPreview, RowSummary,
    },
    weights::checkpoint::NamedSource,
};

/// Rows that are encoded before others get a turn.
const ROWS_PER_TURN: usize = 64;

/// See the module.
pub struct LoadedDataset {
    dataset: Dataset,
    /// For the present model, under the settings in its summary.
    prepared: Option<Rc<Prepared>>,
}

impl LoadedDataset {
    /// Reads files; see [`format::read`].
    ///
    /// # Errors
    /// As [`format::read`].
    pub async fn read(files: Vec<NamedSource>, host: &dyn Host) -> Result<Self, Failure> {
        let dataset = format::read(&files, &mut |done, total| {
            host.emit(Event::Progress {
                phase: Phase::ReadingData,
                done,
                total: Some(total),
            });
        })
        .await?;
        Ok(Self {
            dataset,
            prepared: None,
        })
    }

    /// What was read.
    pub fn summary(&self) -> &DatasetSummary {
        &self.dataset.summary
    }

    /// Rows for the page's table.
    pub fn list(&self, start: usize, count: usize) -> Vec<RowSummary> {
        self.dataset.list(start, count)
    }

    /// The model changed: its tokens are other ones.
    pub fn forget_prepared(&mut self) {
        self.prepared = None;
    }

    /// The dataset encoded for `model` under `spec`; kept until either changes.
    ///
    /// # Errors
    /// [`FailureKind::Dataset`] where no row can be learned.
    pub async fn prepare(
        &mut self,
        spec: &DataSpec,
        model: &LoadedModel,
        host: &dyn Host,
    ) -> Result<Rc<Prepared>, Failure> {
        if let Some(prepared) = self
            .prepared
            .as_ref()
            .filter(|prepared| prepared.summary.spec == *spec)
        {
            return Ok(prepared.clone());
        }
        let rows = &self.dataset.rows;
        let mut preparation =
            Preparation::new(model.encoder(), spec, self.summary().names.join(", "));
        for (turn, chunk) in rows.chunks(ROWS_PER_TURN).enumerate() {
            chunk.iter().for_each(|row| preparation.add(row));
            let done = (turn * ROWS_PER_TURN + chunk.len()) as u64;
            host.emit(Event::Progress {
                phase: Phase::EncodingData,
                done,
                total: Some(rows.len() as u64),
            });
            host.yield_now().await;
        }
        let prepared = Rc::new(preparation.finish()?);
        if prepared.num_leaked > 0 {
            let message = format!(
                "{} of {} held-out rows stand among the training rows too: the validation loss flatters the model.",
                prepared.num_leaked,
                prepared.validation.len()
            );
            host.emit(Event::Warning { message });
        }
        self.prepared = Some(prepared.clone());
        Ok(prepared)
    }

    /// One row as the model sees it.
    ///
    /// # Errors
    /// [`FailureKind::WrongState`] for a row that is not there, [`FailureKind::Dataset`] for one that cannot be
    /// rendered.
    pub fn preview(
        &self,
        row: usize,
        spec: &DataSpec,
        model: &LoadedModel,
    ) -> Result<RowPreview, Failure> {
        let found = self.dataset.row(row).ok_or_else(|| {
            Failure::new(
                FailureKind::WrongState,
                format!("The dataset has no usable row {}.", row + 1),
            )
        })?;
        let is_held_out = self
            .prepared
            .as_ref()
            .is_some_and(|prepared| prepared.is_held_out(row));
        model
            .encoder()
            .preview(found, spec, is_held_out)
            .map_err(|error| {
                Failure::new(FailureKind::Dataset, error.to_string())
                    .at(format!("row {}", row + 1))
                    .remedy(error.remedy())
            })
    }
}
