//! A whole reading: files to a file of rows and its summary.

mod collector;

use std::io::{Read, Seek, SeekFrom};

use formats::{chunks::Chunks, row_file::RowIndex, text::hex};
use protocol::{DatasetSummary, FindingKind, ReadSpec, RowFilter};
use sha2::{Digest, Sha256};

use self::collector::Collector;
use super::{DatasetError, Input, read};

/// Bytes that are hashed at once.
const SLICE_BYTES: usize = 1 << 20;

/// Who watches a reading.
pub trait Observer {
    /// Bytes of the files, read and in all.
    fn progress(&mut self, done: u64, total: u64);
    /// The first rows are there.
    fn preview(&mut self, dataset: DatasetSummary);
    /// The next part of the file of rows.
    fn rows(&mut self, part: Vec<u8>);
}

/// What a reading leaves besides the file of rows.
pub struct ReadDataset {
    pub summary: DatasetSummary,
    pub index: RowIndex,
    /// What was found of each usable row, a bit for each kind.
    findings: Chunks<u16>,
}

impl ReadDataset {
    /// Indices of the rows that pass `filter`: `count` of them from the `start`th on, and how many there are in all.
    pub fn select(&self, start: usize, count: usize, filter: RowFilter) -> (Vec<usize>, usize) {
        let RowFilter::Finding(kind) = filter else {
            let total = self.index.len();
            let end = start.saturating_add(count).min(total);
            return ((start.min(end)..end).collect(), total);
        };
        let findings = self.findings.iter().enumerate();
        let passing = || {
            let has_it = |(_, found): &(usize, u16)| *found & bit(kind) != 0;
            findings.clone().filter(has_it).map(|(index, _)| index)
        };
        let rows = passing().skip(start).take(count).collect();
        (rows, passing().count())
    }
}

fn bit(kind: FindingKind) -> u16 {
    1 << kind as u8
}

/// Reads files in order. If one of several files cannot be read, it is skipped and reported in the summary.
///
/// # Errors
/// If no file can be read, or the dataset has no usable row.
pub fn read_dataset(
    inputs: &mut [Input],
    spec: &ReadSpec,
    observer: &mut dyn Observer,
) -> Result<ReadDataset, DatasetError> {
    if inputs.is_empty() {
        return Err(DatasetError::NoFiles);
    }
    let mut collector = Collector::new(inputs, spec, observer);
    read(inputs, spec.text_split, &mut collector)?;
    let sha256 = sha256_hex(inputs)?;
    collector.finish(sha256)
}

/// The hash of the files' bytes, one file after the other.
fn sha256_hex(inputs: &mut [Input]) -> Result<String, DatasetError> {
    let mut hash = Sha256::new();
    let mut slice = vec![0; SLICE_BYTES];
    for input in inputs {
        let mut read = || {
            input.source.seek(SeekFrom::Start(0))?;
            loop {
                match input.source.read(&mut slice)? {
                    0 => return Ok(()),
                    num_bytes => hash.update(&slice[..num_bytes]),
                }
            }
        };
        read().map_err(|error: std::io::Error| DatasetError::Source {
            file: input.name.clone(),
            what: error.to_string(),
        })?;
    }
    let hash = hash.finalize();
    Ok(hex(&hash))
}
