//! Rows that none of could be used: how they look in the file, and what their columns may be.

use protocol::{DatasetSummary, Mapping};

/// The question that a guess at the columns is put as; `None` for what is never guessed.
pub fn question(mapping: &Mapping) -> Option<String> {
    let quoted = |name: &str| format!("\u{201c}{name}\u{201d}");
    match mapping {
        Mapping::PromptCompletion {
            prompt, completion, ..
        } => Some(format!(
            "Is {} the question and {} the answer?",
            quoted(prompt),
            quoted(completion)
        )),
        Mapping::Classification { text, label } => Some(format!(
            "Is {} the text and {} its label?",
            quoted(text),
            quoted(label)
        )),
        Mapping::Text { text } => Some(format!("Is {} the text to learn?", quoted(text))),
        _ => None,
    }
}

/// Rows as a table: the names of all columns, and the cells of each row in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawTable {
    pub names: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The first rows as they stand in the files.
pub fn raw_table(dataset: &DatasetSummary) -> RawTable {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in dataset.first_records.iter().flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let cell = |record: &[(String, String)], name: &String| {
        let found = record.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let rows = dataset
        .first_records
        .iter()
        .map(|record| names.iter().map(|name| cell(record, name)).collect())
        .collect();
    RawTable { names, rows }
}
