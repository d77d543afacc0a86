//! The engine's side of a file of rows: read in slices, never held whole.
//!
//! Opening reads the trailer and the index at the end of the file, which stays in memory; each read then takes one
//! range of bytes. The format, its index and what counts as damage are [`formats::row_file`]'s.

use std::ops::Range;

use crate::weights::source::{ByteSource, SourceError};
use formats::row_file::{Damaged, RowIndex, StoredRow};
use protocol::{Failure, FailureKind};

/// An opened file of rows; see [`formats::row_file`].
pub struct RowFile {
    /// The browser's blob, or a file of a native program.
    source: Box<dyn ByteSource>,
    /// Where each row is; read once.
    index: RowIndex,
}

/// Why a file of rows cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowFileError {
    /// The browser or the disk does not give the bytes.
    #[error("the rows could not be read: {0}")]
    Source(#[from] SourceError),
    /// The bytes are not a file of rows, or not a whole one.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl From<RowFileError> for Failure {
    fn from(error: RowFileError) -> Self {
        Self::new(FailureKind::Dataset, error.to_string()).remedy("Drop the dataset again.")
    }
}

impl RowFile {
    /// Opens a file of rows and reads its index.
    ///
    /// # Errors
    /// [`RowFileError::Damaged`] if the source is not a file of rows, [`RowFileError::Source`] if it cannot be read.
    pub async fn open(source: Box<dyn ByteSource>) -> Result<Self, RowFileError> {
        let num_bytes = source.num_bytes();
        let trailer = read(&*source, RowIndex::trailer(num_bytes)?).await?;
        let place = RowIndex::range(&trailer, num_bytes)?;
        let bytes = read(&*source, place.clone()).await?;
        let index = RowIndex::parse(&bytes, place.start)?;
        Ok(Self { source, index })
    }

    /// Returns the number of usable rows.
    pub fn num_rows(&self) -> usize {
        self.index.len()
    }

    /// Returns the ranges of rows to read at once, in order: about a megabyte each, or a single longer row.
    pub fn slices(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.index.slices()
    }

    /// Reads the rows in `range`, counted over usable rows.
    ///
    /// # Errors
    /// Those of the source, or damaged rows.
    pub async fn read(&self, range: Range<usize>) -> Result<Vec<StoredRow>, RowFileError> {
        let bytes = read(&*self.source, self.index.bytes(range.clone())).await?;
        Ok(self.index.rows(range, &bytes)?)
    }

    /// Reads the usable row with the number `row`, counted over all rows of the dataset, and its index among the usable
    /// rows; `None` if that row does not exist or was refused.
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

/// Reads a range of bytes.
async fn read(source: &dyn ByteSource, range: Range<u64>) -> Result<Vec<u8>, SourceError> {
    source
        .read(range.start, (range.end - range.start) as usize)
        .await
}
