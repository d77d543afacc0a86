//! Which split each file is: by its name, or as the user says.

use protocol::{DatasetSummary, Side};

use super::form::Form;

/// A file and what its rows are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSplit {
    pub name: String,
    pub num_rows: usize,
    /// What its name says.
    pub by_name: Option<Side>,
    pub side: Side,
}

/// The files of a dataset that has several, in their order.
pub fn file_splits(dataset: &DatasetSummary, form: &Form) -> Vec<FileSplit> {
    if dataset.files.len() < 2 {
        return Vec::new();
    }
    let files = dataset.files.iter().map(|file| {
        let chosen = form
            .settings
            .run
            .data
            .file_sides
            .iter()
            .find(|known| known.file == file.name);
        let side = chosen.map(|known| known.side).or(file.split);
        FileSplit {
            name: file.name.clone(),
            num_rows: file.num_rows,
            by_name: file.split,
            side: side.unwrap_or(Side::Train),
        }
    });
    files.collect()
}

/// Whether a name or the user tells the files apart.
pub fn are_told_apart(files: &[FileSplit]) -> bool {
    let is_told = |file: &FileSplit| file.by_name.is_some() || file.side != Side::Train;
    files.iter().any(is_told)
}

/// What becomes of the settings that split by shares.
pub fn about_shares(files: &[FileSplit]) -> &'static str {
    let has = |side| files.iter().any(|file| file.side == side);
    match (has(Side::Validation), has(Side::Test)) {
        (false, false) => {
            "Validation and test rows are drawn from all files, as set under Validation split and Test split."
        }
        (true, false) => {
            "Validation split isn't used, since a file holds the validation rows. Test rows are drawn from the training files."
        }
        (false, true) => {
            "Test split isn't used, since a file holds the test rows; these are never trained on. Validation rows are drawn from the training files."
        }
        (true, true) => {
            "Validation split and Test split aren't used, since files hold these rows. Test rows are never trained on."
        }
    }
}

/// A split as the page names it.
pub fn side_name(side: Side) -> &'static str {
    match side {
        Side::Train => "Train",
        Side::Validation => "Validation",
        Side::Test => "Test",
    }
}
