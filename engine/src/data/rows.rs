//! The engine's side of a file of rows: read in slices, never held whole.

use std::ops::Range;

use crate::weights::source::{ByteSource, SourceError};
use formats::row_file::{Damaged, RowIndex, StoredRow};
use protocol::{Failure, FailureKind};

/// An opened file of rows; see [`formats::row_file`].
pub struct RowFile {
    source: Box<dyn ByteSource>,
    index: RowIndex,
}

/// Why a file of rows cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowFileError {
    #[error("the rows could not be read: {0}")]
    Source(#[from] SourceError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl From<RowFileError> for Failure {
    fn from(error: RowFileError) -> Self {
        Self::new(FailureKind::Dataset, error.to_string()).remedy("Drop the dataset again.")
    }
}

impl RowFile {
    /// # Errors
    /// If the source is not a file of rows, or cannot be read.
    pub async fn open(source: Box<dyn ByteSource>) -> Result<Self, RowFileError> {
        let num_bytes = source.num_bytes();
        let trailer = read(&*source, RowIndex::trailer(num_bytes)?).await?;
        let place = RowIndex::range(&trailer, num_bytes)?;
        let bytes = read(&*source, place.clone()).await?;
        let index = RowIndex::parse(&bytes, place.start)?;
        Ok(Self { source, index })
    }

    pub fn num_rows(&self) -> usize {
        self.index.len()
    }

    /// The ranges of rows to read at once, in order.
    pub fn slices(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.index.slices()
    }

    /// The rows in `range`, counted over usable rows.
    ///
    /// # Errors
    /// Those of the source, or damaged rows.
    pub async fn read(&self, range: Range<usize>) -> Result<Vec<StoredRow>, RowFileError> {
        let bytes = read(&*self.source, self.index.bytes(range.clone())).await?;
        Ok(self.index.rows(range, &bytes)?)
    }

    /// The usable row with this number and its index among the usable rows, if it exists.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn row(&self, row: usize) -> Result<Option<(usize, StoredRow)>, RowFileError> {
        match self.index.find(row) {
            Some(index) => {
                let stored = self.read(index..index + 1).await?.pop();
                Ok(stored.map(|stored| (index, stored)))
            }
            None => Ok(None),
        }
    }
}

async fn read(source: &dyn ByteSource, range: Range<u64>) -> Result<Vec<u8>, SourceError> {
    source
        .read(range.start, (range.end - range.start) as usize)
        .await
}
