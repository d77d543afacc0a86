//! Rows on their way from the reader to the engine: a file of rows that is read in slices.
//!
//! ```text
//! JSON of a StoredRow, for each usable row, one after the other
//! (start u64, row number u64), for each of them        all little-endian
//! number of them u64, MAGIC
//! ```
//!
//! The file never outlives the page, so it has no version.

use std::ops::Range;

use protocol::{FindingKind, Message, RowShape, RowSummary, TrainOn};
use serde::{Deserialize, Serialize};

use crate::{
    chunks::Chunks,
    row::{ASSISTANT, Example, Row, USER},
};

const MAGIC: &[u8; 8] = b"inlayrow";
const ENTRY_BYTES: usize = 16;
const TRAILER_BYTES: usize = 16;
/// The number of characters of a text shown in the table.
const SUMMARY_CHARS: usize = 300;
/// The number of bytes of rows read at once, unless a single row has more.
const SLICE_BYTES: u64 = 1 << 20;

/// A usable row, and what is known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredRow {
    pub row: Row,
    pub facts: RowFacts,
}

impl StoredRow {
    pub fn shape(&self) -> RowShape {
        match (&self.facts, &self.row.example) {
            (RowFacts { label: Some(_), .. }, _) => RowShape::Classification,
            (
                RowFacts {
                    rejected: Some(_), ..
                }
                | RowFacts {
                    is_good: Some(_), ..
                },
                _,
            ) => RowShape::Preference,
            (_, Example::Conversation { shape, .. }) => *shape,
            (_, Example::Pair { .. }) => RowShape::PromptCompletion,
            (_, Example::Text(_)) => RowShape::Text,
        }
    }

    /// The row for the page's table.
    pub fn summary(&self) -> RowSummary {
        let (prompt, completion, num_turns) = match &self.row.example {
            Example::Pair { prompt, completion } => (prompt.as_str(), completion.as_str(), 2),
            Example::Text(text) => ("", text.as_str(), 1),
            Example::Conversation { messages, .. } => {
                // What the row is there for: its last learned turn.
                let learned = self.row.example.learned_messages(TrainOn::LastTurn);
                let is_answer = |message: &Message| message.role == ASSISTANT;
                let last = learned.first().copied();
                let last = last
                    .or_else(|| messages.iter().rposition(is_answer))
                    .unwrap_or(0);
                let asked = messages[..last]
                    .iter()
                    .rfind(|message| message.role == USER);
                (
                    asked.map_or("", |message| message.content.as_str()),
                    messages.get(last).map_or("", |message| &message.content),
                    messages.len(),
                )
            }
        };
        RowSummary {
            row: self.row.row,
            shape: self.shape(),
            prompt: cut(prompt),
            completion: cut(completion),
            num_turns,
            findings: self.facts.findings.clone(),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SUMMARY_CHARS).collect()
}

/// What is known about a row besides its text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RowFacts {
    /// Index of its file in [`protocol::DatasetSummary::files`].
    pub file: usize,
    /// 1-based, if the format has lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingKind>,
    /// Rows with the same number stay on one side of every split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u64>,
    /// The label of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The rejected answer of a preference, which is not learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// Whether the answer is marked as a good one or as a bad one, where it is marked at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_good: Option<bool>,
}

impl RowFacts {
    /// Whether the answer is marked as a bad one, so that the row must never be trained.
    pub fn is_bad(&self) -> bool {
        self.is_good == Some(false)
    }
}

/// Where the rows are in a file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowIndex {
    /// The lower halves of where a row starts, and its number; ascending in both.
    entries: Chunks<(u32, u32)>,
    /// The indices of the rows at which the upper half of the start grows by one.
    carries: Vec<usize>,
    /// Where the last row ends.
    end: u64,
}

/// A damaged file of rows, or a damaged row in it: it was cut off or has another format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file of rows is damaged")]
pub struct Damaged;

impl RowIndex {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of the rows in `range`, as far as they exist.
    pub fn bytes(&self, range: Range<usize>) -> Range<u64> {
        self.start(range.start)..self.start(range.end.max(range.start))
    }

    /// Where the row of that index starts; the end, if there is none.
    fn start(&self, index: usize) -> u64 {
        match self.entries.get(index) {
            Some((low, _)) => {
                let high = self.carries.partition_point(|&carry| carry <= index);
                (high as u64) << 32 | u64::from(low)
            }
            None => self.end,
        }
    }

    /// The index of the first row in `range` for which `is_before` no longer holds; its end, if there is none.
    fn partition(range: Range<usize>, is_before: impl Fn(usize) -> bool) -> usize {
        let Range { mut start, mut end } = range;
        while start < end {
            let middle = start + (end - start) / 2;
            match is_before(middle) {
                true => start = middle + 1,
                false => end = middle,
            }
        }
        start
    }

    /// The index of the row with this number.
    pub fn find(&self, row: usize) -> Option<usize> {
        let number = |index: usize| self.entries.get(index).map(|(_, row)| row as usize);
        let found = Self::partition(0..self.len(), |index| number(index) < Some(row));
        (number(found) == Some(row)).then_some(found)
    }

    /// Ranges of rows to be read at once, in order.
    pub fn slices(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let start = next;
            if start >= self.len() {
                return None;
            }
            let limit = self.start(start) + SLICE_BYTES;
            // Each row ends where the next one starts.
            let is_whole = |index: usize| self.start(index + 1) <= limit;
            next = Self::partition(start..self.len(), is_whole).max(start + 1);
            Some(start..next)
        })
    }

    /// The bytes of the trailer, which says how long the index is.
    pub fn trailer(num_bytes: u64) -> Result<Range<u64>, Damaged> {
        let start = num_bytes.checked_sub(TRAILER_BYTES as u64).ok_or(Damaged)?;
        Ok(start..num_bytes)
    }

    /// The bytes of the index of a file with this trailer.
    pub fn range(trailer: &[u8], num_bytes: u64) -> Result<Range<u64>, Damaged> {
        let (count, magic) = trailer.split_first_chunk::<8>().ok_or(Damaged)?;
        if magic != MAGIC {
            return Err(Damaged);
        }
        let end = Self::trailer(num_bytes)?.start;
        let num_bytes = u64::from_le_bytes(*count).checked_mul(ENTRY_BYTES as u64);
        let start = num_bytes
            .and_then(|num_bytes| end.checked_sub(num_bytes))
            .ok_or(Damaged)?;
        Ok(start..end)
    }

    /// Reads the index, which starts at `end`.
    pub fn parse(bytes: &[u8], end: u64) -> Result<Self, Damaged> {
        let word = |bytes: &[u8]| bytes.first_chunk().map(|word| u64::from_le_bytes(*word));
        let mut index = Self::default();
        let mut before = None;
        for entry in bytes.chunks(ENTRY_BYTES) {
            let start = word(entry).ok_or(Damaged)?;
            let row = entry.get(8..).and_then(word).ok_or(Damaged)?;
            let is_further =
                before.is_none_or(|before: (u64, u64)| before.0 < start && before.1 < row);
            if !is_further || start >= end || !index.push_at(start, row) {
                return Err(Damaged);
            }
            before = Some((start, row));
        }
        index.end = end;
        Ok(index)
    }

    /// Adds a row; `false` where it is too far from the one before, or has too large a number.
    fn push_at(&mut self, start: u64, row: u64) -> bool {
        let high = (start >> 32) as usize;
        if high > self.carries.len() {
            self.carries.push(self.len());
        }
        let Ok(row) = u32::try_from(row) else {
            return false;
        };
        self.entries.push((start as u32, row));
        high == self.carries.len()
    }

    /// The rows in `bytes`, which are [`Self::bytes`] of `range`.
    pub fn rows(&self, range: Range<usize>, bytes: &[u8]) -> Result<Vec<StoredRow>, Damaged> {
        let start = self.bytes(range.clone()).start;
        range
            .map(|index| {
                let row = self.bytes(index..index + 1);
                let at = |offset: u64| (offset - start) as usize;
                let json = bytes.get(at(row.start)..at(row.end)).ok_or(Damaged)?;
                serde_json::from_slice(json).map_err(|_| Damaged)
            })
            .collect()
    }

    /// Records a row that was just written at the end.
    fn push(&mut self, row: usize, num_bytes: usize) {
        self.push_at(self.end, row as u64);
        self.end += num_bytes as u64;
    }

    /// The start and the number of every row, then the trailer.
    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        let entries = self.entries.iter().enumerate();
        let words = entries.flat_map(|(index, (_, row))| [self.start(index), u64::from(row)]);
        let magic = u64::from_le_bytes(*MAGIC);
        words.chain([self.len() as u64, magic])
    }
}

/// Writes a file of rows, a part at a time.
#[derive(Default)]
pub struct RowWriter {
    buffer: Vec<u8>,
    index: RowIndex,
}

impl RowWriter {
    /// Adds a row; rows must come in the order of their numbers. Returns the next part of the file whenever one is
    /// full.
    pub fn push(&mut self, row: &StoredRow) -> Option<Vec<u8>> {
        let start = self.buffer.len();
        // Plain data, written to memory: this cannot fail.
        serde_json::to_writer(&mut self.buffer, row).ok()?;
        self.index.push(row.row.row, self.buffer.len() - start);
        let is_full = self.buffer.len() as u64 >= SLICE_BYTES;
        is_full.then(|| std::mem::take(&mut self.buffer))
    }

    /// Gives the last parts, which hold the last rows and the index, and returns the index.
    pub fn finish(mut self, mut give: impl FnMut(Vec<u8>)) -> RowIndex {
        for word in self.index.words() {
            self.buffer.extend(word.to_le_bytes());
            if self.buffer.len() as u64 >= SLICE_BYTES {
                give(std::mem::take(&mut self.buffer));
            }
        }
        give(self.buffer);
        self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(row: usize, text: String) -> StoredRow {
        StoredRow {
            row: Row {
                row,
                example: Example::Text(text),
            },
            facts: RowFacts {
                line: Some(row + 1),
                findings: vec![FindingKind::Secret],
                group: Some(u64::MAX),
                ..RowFacts::default()
            },
        }
    }

    #[test]
    fn rows_come_back_by_slices_and_by_number() {
        let texts = [3, 0, 2 << 20, 5, 600_000, 600_000, 600_000, 1];
        let rows: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(index, &len)| stored(index * 2, "x".repeat(len)))
            .collect();
        let mut writer = RowWriter::default();
        let mut file: Vec<u8> = rows
            .iter()
            .filter_map(|row| writer.push(row))
            .flatten()
            .collect();
        let index = writer.finish(|part| file.extend(part));

        let num_bytes = file.len() as u64;
        let part = |range: Range<u64>| &file[range.start as usize..range.end as usize];
        let trailer = part(RowIndex::trailer(num_bytes).unwrap());
        let place = RowIndex::range(trailer, num_bytes).unwrap();
        let read = RowIndex::parse(part(place.clone()), place.start).unwrap();
        assert_eq!(read, index);

        let mut back = Vec::new();
        for range in read.slices() {
            let bytes = part(read.bytes(range.clone()));
            assert!(bytes.len() as u64 <= SLICE_BYTES || range.len() == 1);
            back.extend(read.rows(range, bytes).unwrap());
        }
        assert_eq!(back, rows);
        assert_eq!((read.find(6), read.find(7), read.len()), (Some(3), None, 8));
    }

    #[test]
    fn rows_lie_beyond_four_gigabytes() {
        let starts = [
            0,
            5,
            u64::from(u32::MAX),
            1 << 32,
            (2 << 32) + 7,
            (2 << 32) + 8,
        ];
        let words = starts
            .into_iter()
            .zip(3u64..)
            .flat_map(|(start, row)| [start, row]);
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let index = RowIndex::parse(&bytes, 3 << 32).unwrap();
        for (at, start) in starts.into_iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(3 << 32);
            assert_eq!(index.bytes(at..at + 1), start..end);
            assert_eq!(index.find(at + 3), Some(at));
        }
        assert!(
            index
                .words()
                .flat_map(u64::to_le_bytes)
                .take(bytes.len())
                .eq(bytes)
        );
    }

    #[test]
    fn a_damaged_file_is_told() {
        assert_eq!(RowIndex::trailer(15), Err(Damaged));
        let mut trailer = u64::MAX.to_le_bytes().to_vec();
        trailer.extend(MAGIC);
        assert_eq!(RowIndex::range(&trailer, 1000), Err(Damaged));
        assert_eq!(RowIndex::range(&trailer[1..], 1000), Err(Damaged));
        assert_eq!(RowIndex::parse(&[0; 32], 9), Err(Damaged));
        assert_eq!(RowIndex::parse(&[0; 17], 9), Err(Damaged));
    }
}
