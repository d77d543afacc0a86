//! Says what is not learned of rows that are read as plain texts, so that nobody misses a label afterward.

use super::Collector;
use crate::protocol::Mapping;

/// Columns that are named.
const MAX_NAMED: usize = 5;

impl Collector<'_> {
    /// A sentence about the other columns, where all rows are plain texts.
    pub(super) fn unused(&self) -> Option<String> {
        let [(Mapping::Text { text }, _)] = self.mappings.as_slice() else {
            return None;
        };
        let first = |path: &str| path.split(['.', '[']).next().unwrap_or_default().to_owned();
        let mut names: Vec<String> = Vec::new();
        for column in self.columns.summary() {
            let name = first(&column.path);
            if column.num_filled > 0 && name != first(text) && !names.contains(&name) {
                names.push(name);
            }
        }
        let num_more = names.len().saturating_sub(MAX_NAMED);
        let named: Vec<String> = names
            .iter()
            .take(MAX_NAMED)
            .map(|name| format!("\"{name}\""))
            .collect();
        let named = match (named.as_slice(), num_more) {
            ([], _) => return None,
            ([only], _) => format!("the column {only} is not"),
            (_, 0) => format!("the columns {} are not", named.join(", ")),
            (_, more) => format!("the columns {} and {more} more are not", named.join(", ")),
        };
        Some(format!(
            "Only \"{text}\" is learned, as plain text; {named}."
        ))
    }
}
