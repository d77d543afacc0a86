//! What the formats give, as it comes.

use std::io::Cursor;

use protocol::TextSplit;
use reader::{
    DatasetError, Input, read,
    record::{Fault, Place, Record, Sink},
};
use serde_json::Value;

/// All that a reading gave.
#[derive(Default)]
pub struct Records {
    /// Name, format and encoding.
    pub files: Vec<(String, String, String)>,
    pub rows: Vec<(Place, Result<Value, Fault>)>,
    pub notes: Vec<(String, String)>,
    /// Files that could not be read among others, with their reasons.
    pub refused: Vec<(String, DatasetError)>,
    done: u64,
}

impl Sink for Records {
    fn file(&mut self, name: &str, format: &str, encoding: &str) {
        self.files
            .push((name.to_owned(), format.to_owned(), encoding.to_owned()));
    }

    fn record(&mut self, record: Record<'_>) {
        let object = Value::Object(record.fields.into_iter().collect());
        self.rows.push((record.place, Ok(object)));
    }

    fn encoding(&mut self, encoding: &str) {
        self.files.last_mut().unwrap().2 = encoding.to_owned();
    }

    fn note(&mut self, file: &str, note: &str) {
        self.notes.push((file.to_owned(), note.to_owned()));
    }

    fn refused(&mut self, file: &str, error: &DatasetError) {
        self.refused.push((file.to_owned(), error.clone()));
    }

    fn fault(&mut self, place: Place, fault: Fault) {
        assert!(!fault.what.is_empty() && !fault.remedy.is_empty());
        self.rows.push((place, Err(fault)));
    }

    fn progress(&mut self, done: u64) {
        assert!(done >= self.done, "{done} after {}", self.done);
        self.done = done;
    }
}

pub fn inputs(files: &[(&str, &[u8])]) -> Vec<Input> {
    files
        .iter()
        .map(|(name, bytes)| Input {
            name: (*name).to_owned(),
            num_bytes: bytes.len() as u64,
            source: Box::new(Cursor::new(bytes.to_vec())),
        })
        .collect()
}

pub fn read_split(files: &[(&str, &[u8])], split: TextSplit) -> Result<Records, DatasetError> {
    let mut records = Records::default();
    read(&mut inputs(files), split, &mut records)?;
    let total: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(records.done, total as u64, "the progress ends at the end");
    Ok(records)
}

pub fn read_one(name: &str, bytes: impl AsRef<[u8]>) -> Result<Records, DatasetError> {
    read_split(&[(name, bytes.as_ref())], TextSplit::Automatic)
}

/// A file of `tests/fixtures/datasets`.
pub fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/datasets");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

/// What was noted, whichever file it was about.
pub fn notes(records: &Records) -> Vec<&str> {
    let notes = records.notes.iter();
    notes.map(|(_, note)| note.as_str()).collect()
}

impl Records {
    /// The rows that could be read.
    pub fn values(&self) -> Vec<&Value> {
        let values = self.rows.iter().filter_map(|(_, row)| row.as_ref().ok());
        values.collect()
    }

    /// One field of every row that could be read.
    pub fn field(&self, name: &str) -> Vec<&str> {
        let values = self.values().into_iter();
        values.map(|row| row[name].as_str().unwrap()).collect()
    }

    /// Line, column and a part of the reason of every fault.
    pub fn assert_faults(&self, expected: &[(usize, usize, &str)]) {
        let faults: Vec<_> = self
            .rows
            .iter()
            .filter_map(|(place, row)| Some((place, row.as_ref().err()?)))
            .collect();
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for ((place, fault), (line, column, what)) in faults.iter().zip(expected) {
            assert_eq!(
                (place.line, place.column),
                (Some(*line), Some(*column)),
                "{fault:?}"
            );
            assert!(fault.what.contains(what), "{fault:?}");
        }
    }

    /// The format and encoding of the only file.
    pub fn kind(&self) -> (&str, &str) {
        let [(_, format, encoding)] = self.files.as_slice() else {
            panic!("{:?}", self.files);
        };
        (format, encoding)
    }
}
