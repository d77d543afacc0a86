//! Says which columns are not used, so that nobody misses a label or a text afterward.

use protocol::Mapping;

use super::Collector;
use crate::{mapping::is_weight, path::last_name, recognize::plain};

/// Columns that are named.
const MAX_NAMED: usize = 5;
/// Columns of conversations and answered prompts that nobody misses: they say where a row comes from and what it is about.
const ABOUT: [&str; 44] = [
    "id",
    "uuid",
    "uid",
    "key",
    "index",
    "name",
    "title",
    "source",
    "datasource",
    "origin",
    "dataset",
    "config",
    "split",
    "url",
    "link",
    "file",
    "filename",
    "path",
    "lang",
    "language",
    "date",
    "time",
    "timestamp",
    "created",
    "createdat",
    "updatedat",
    "model",
    "modelname",
    "generator",
    "author",
    "user",
    "username",
    "license",
    "category",
    "subcategory",
    "topic",
    "subject",
    "domain",
    "task",
    "type",
    "tags",
    "difficulty",
    "level",
    "hash",
];
/// Columns that are used without being part of a mapping.
const USED: [&str; 3] = ["tools", "functions", "currentnode"];

impl Collector<'_> {
    /// A sentence about the other columns, where all rows are plain texts, conversations or answered prompts.
    pub(super) fn unused(&self) -> Option<String> {
        if let [(Mapping::Text { text }, _)] = self.mappings.as_slice() {
            let names = self.unused_next_to(text);
            let names = named(&names, "is not", "are not")?;
            return Some(format!(
                "Only \"{text}\" is learned, as plain text; the {names}."
            ));
        }
        let names = named(&self.unused_texts(), "is not used", "are not used")?;
        Some(format!("The {names}."))
    }

    /// The columns with anything in them but for `text`.
    fn unused_next_to(&self, text: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for column in self.columns.summary() {
            let name = first(&column.path).to_owned();
            if column.num_filled > 0 && name != first(text) && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The columns with texts that are part of no conversation and of no answered prompt.
    fn unused_texts(&self) -> Vec<String> {
        let mappings = self.mappings.iter().map(|(mapping, _)| mapping);
        let is_such = |mapping: &Mapping| {
            matches!(
                mapping,
                Mapping::Messages { .. } | Mapping::PromptCompletion { .. }
            )
        };
        // Messages that were gathered have no columns of their own.
        if self.gathered.is_some() || !mappings.clone().all(is_such) {
            return Vec::new();
        }
        let used: Vec<String> = mappings
            .flat_map(Mapping::parts)
            .map(|(_, path)| path)
            .collect();
        // Fields next to those that are used, at the top or in the same object.
        let is_next_to = |path: &str| used.iter().any(|used| parent(used) == parent(path));
        let is_used = |path: &str| {
            let inside = |used: &String| {
                let rest = used.strip_prefix(path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            used.iter().any(inside) || self.spec.group_by.as_deref() == Some(path)
        };
        let is_missed = |path: &&str| {
            let name = plain(last_name(path));
            !is_used(path)
                && is_next_to(path)
                && !ABOUT.contains(&name.as_str())
                && !USED.contains(&name.as_str())
                && !name.ends_with("id")
                && !is_weight(path)
        };
        let texts = self.columns.with_prose().filter(is_missed);
        texts.map(str::to_owned).collect()
    }
}

fn first(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// `column "a" is not`, `columns "a", "b" and 3 more are not`.
fn named(names: &[String], one: &str, many: &str) -> Option<String> {
    let shown: Vec<String> = names
        .iter()
        .take(MAX_NAMED)
        .map(|name| format!("\"{name}\""))
        .collect();
    Some(match (shown.as_slice(), names.len() - shown.len()) {
        ([], _) => return None,
        ([only], _) => format!("column {only} {one}"),
        ([all @ .., last], 0) => format!("columns {} and {last} {many}", all.join(", ")),
        (_, more) => format!("columns {} and {more} more {many}", shown.join(", ")),
    })
}
