//! Parquet to records.

use super::{error::DatasetError, open::Seekable, output::Output};

pub(super) fn read(
    name: &str,
    _stored: &'static str,
    _file: &mut dyn Seekable,
    _num_bytes: u64,
    _output: &mut Output,
) -> Result<(), DatasetError> {
    Err(DatasetError::Parquet {
        file: name.to_owned(),
        what: "it is not read yet".to_owned(),
        remedy: "Convert it to JSONL.",
    })
}
